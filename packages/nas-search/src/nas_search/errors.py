"""What nas-search raises.

SearchError
|-- ConfigError (also ValueError)     a name, a key or a value that does not exist or does not fit
|-- DataError (also ValueError)       images or labels that cannot be used
|-- RunFolderError (also OSError)     a run folder that cannot be read or written, or that holds another run
|-- CheckpointError (also ValueError) a checkpoint that is damaged, not ours, or of another configuration
|-- ExportError (also RuntimeError)   a network that could not be written in another form, or that computes something else there
|-- ConvergenceError (also ArithmeticError)  an iteration that does not reach its tolerance
|-- NonFiniteError (also ArithmeticError)  a loss that became NaN or infinite
|-- LoaderError (also RuntimeError)   a process that reads data died, or gives no sign of life
|-- RankError (also RuntimeError)     a run of several processes that lost one of them, or whose processes differ
|-- WorkerError (also RuntimeError)   a process that should have scored a candidate failed, or died again and again
`-- Interrupted                       stopped on request, after saving
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "WHERE_RUNS_ARE",
    "CheckpointError",
    "ConfigError",
    "ConvergenceError",
    "DataError",
    "ExportError",
    "Interrupted",
    "LoaderError",
    "NonFiniteError",
    "RankError",
    "RunFolderError",
    "SearchError",
    "WorkerError",
    "did_you_mean",
    "nearest",
]

WHERE_RUNS_ARE = "give the folder that `nascli search` has written, runs/... where no --out was given"
"""What to do where there is no run."""


class SearchError(Exception):
    """Base of every error that nas-search raises on purpose."""


class ConfigError(SearchError, ValueError):
    """A name, a key or a value that does not exist or does not fit."""


class DataError(SearchError, ValueError):
    """Images or labels that cannot be used."""


class ExportError(SearchError, RuntimeError):
    """A network could not be written in another form, or computes something else there."""


class RunFolderError(SearchError, OSError):
    """A run folder that cannot be read or written, or that holds another run."""


class CheckpointError(SearchError, ValueError):
    """A checkpoint that is damaged, not ours, or of another configuration."""


class ConvergenceError(SearchError, ArithmeticError):
    """An iteration did not reach its tolerance."""


class NonFiniteError(SearchError, ArithmeticError):
    """A loss became NaN or infinite."""


class LoaderError(SearchError, RuntimeError):
    """A process that reads data died, or gives no sign of life."""


class RankError(SearchError, RuntimeError):
    """A run of several processes lost one of them, or they do not read the same files."""


class WorkerError(SearchError, RuntimeError):
    """A process that should have scored a candidate failed, or died again and again."""


class Interrupted(SearchError):  # noqa: N818 - it is no error
    """The run was asked to stop, and has saved its state."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The name that looks most like `word`, or has it as the initials of its words, or begins with it.

    Example:
        >>> nearest("lr", ["clip", "learning_rate"]), nearest("dart", ["darts", "gdas"]), nearest("arch", ["clip", "archives"])
        ('learning_rate', 'darts', 'archives')
    """
    names = list(known)
    meant = [name for name in names if len(word) > 1 and "".join(part[:1] for part in name.split("_")) == word]
    begun = [name for name in names if len(word) > 2 and name.startswith(word)]
    return (meant or difflib.get_close_matches(word, begun or names, n=1, cutoff=0.0))[0]


def did_you_mean(value: object, known: Iterable[str]) -> str:
    """The end of a message about a value that is none of those known.

    Example:
        >>> did_you_mean("acc", ["accuracy", "loss"])
        "did you mean 'accuracy'?"
    """
    return f"did you mean {nearest(str(value), known)!r}?"
