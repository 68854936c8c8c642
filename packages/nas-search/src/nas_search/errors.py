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
