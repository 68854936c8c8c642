"""What a search ends with."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from torch import nn

from nas_augment import Policy, PolicyError
from nas_search.errors import RunFolderError
from nas_search.files import write_atomically
from nas_search.measure import versions
from nas_search.mixed_space import of_architectures
from nas_search.run_folder import RunFolder
from nas_spaces import Architecture, ArchitectureError, SearchSpace, UnknownSpaceError, catalog

__all__ = ["Candidate", "SearchResult"]


@dataclass(frozen=True)
class Candidate:
    """An architecture that a search has compared with others.

    Args:
        architecture: it.
        score: what it was compared by; larger is better.
        hyperparameters: of the training that it was scored with, where the search varied them.
    """

    architecture: Architecture
    score: float
    hyperparameters: Mapping[str, float] = field(default_factory=dict)


_Kind: TypeAlias = type | tuple[type, ...]
_NUMBER = (int, float)
_KINDS: dict[str, _Kind] = {
    "hyperparameters": dict,
    "metrics": dict,
    "versions": dict,
    "method": str,
    "seed": int,
    "seconds": _NUMBER,
    "peak_memory_mib": (*_NUMBER, type(None)),
}
"""What JSON's reader makes of the values of a result."""
_JSON: dict[_Kind, str] = {dict: "an object", str: "a text", int: "a whole number", _NUMBER: "a number"}


@dataclass(frozen=True)
class SearchResult:
    """What a search ends with, as a value.

    Args:
        architecture: the one that was found.
        policy: the augmentation to train it with.
        hyperparameters: those of training that were learned: the last value of each, such as ``learning_rate`` (of one that a
            `MixedSpace` searched, with which its cosine begins), and under
            ``schedule`` a list of the first one and those after every epoch; empty if none were learned.
        history: one record per epoch: losses, accuracies, entropy of the weights, timings.
        method: name of the method.
        network: that of the architecture, trained, where the search itself trained it; images as they are in the data to
            logits. It is saved as ``model.pt`` of a run folder, see `nas_search.model_file.load_model`, and not by `save`.
        seed: of the search.
        metrics: figures of the result by name.
        candidates: all that the search has compared, each once, the best one first; of a method that derives its architecture
            from probabilities, the most probable ones, where the space has independent choices.
        ranked_by: what the scores of the candidates are; where there are none, why.
        seconds: time that the epochs took.
        peak_memory_mib: the most memory taken, of the GPU or of the process.
        versions: of Python and the packages that the search ran with.
    """

    architecture: Architecture
    policy: Policy
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()
    method: str = ""
    network: nn.Module | None = field(default=None, compare=False, repr=False)
    seed: int = 0
    metrics: Mapping[str, Any] = field(default_factory=dict)
    candidates: tuple[Candidate, ...] = ()
    ranked_by: str = ""
    seconds: float = 0.0
    peak_memory_mib: float | None = None
    versions: Mapping[str, str] = field(default_factory=versions)

    @property
    def images_per_second(self) -> float | None:
        """The median over the epochs; None if the method trains no supernet."""
        rates = sorted(record["images_per_second"] for record in self.history if "images_per_second" in record)
        return rates[len(rates) // 2] if rates else None

    def to_dict(self) -> dict[str, Any]:
        """The content of ``result.json``: everything but the history, in JSON's types."""
        return {
            "method": self.method,
            "space": self.architecture.space,
            "architecture": str(self.architecture),
            "policy": json.loads(self.policy.to_json()),
            "hyperparameters": dict(self.hyperparameters),
            "metrics": dict(self.metrics),
            "ranked_by": self.ranked_by,
            "candidates": [_record(candidate) for candidate in self.candidates],
            "seed": self.seed,
            "epochs": len(self.history),
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "peak_memory_mib": self.peak_memory_mib,
            "versions": dict(self.versions),
        }

    def save(self, directory: str | Path) -> None:
        """Write ``result.json`` and ``events.jsonl`` into a folder, which is made if needed.

        Raises:
            RunFolderError: they could not be written.
        """
        folder = RunFolder(directory)
        try:
            folder.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(f"cannot make {folder.root} ({error.strerror}).") from error
        events = "".join(json.dumps(record) + "\n" for record in self.history)
        if not folder.events.exists() or folder.events.read_text() != events:
            write_atomically(folder.events, events)
        write_atomically(folder.result, json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n")

    @staticmethod
    def load(directory: str | Path, space: SearchSpace | None = None) -> "SearchResult":
        """Read what `save` wrote.

        Args:
            directory: the run folder.
            space: the space of the architecture, or the one that was searched where that is a `MixedSpace`; found by its name
                when left out.

        Raises:
            RunFolderError: there is no result, or it was changed or damaged, or its space is not installed and not given.
        """
        folder = RunFolder(directory)
        record = folder.read_result()
        try:
            space = of_architectures(space) or catalog.space(record["space"])
        except (KeyError, TypeError, AttributeError, UnknownSpaceError) as error:
            raise RunFolderError(
                f"{folder.result} is not a whole result, or of a space that is not installed ({error}); it was changed or damaged, "
                "or is to be read with its own space: SearchResult.load(folder, space), write_report(..., spaces=[space])."
            ) from error
        try:
            architecture = space.parse(record["architecture"])
            policy = Policy.from_json(json.dumps(record["policy"]))
            for name, kind in _KINDS.items():
                if not isinstance(record[name], kind):
                    raise TypeError(f"{name} is {record[name]!r:.100}; expected {_JSON.get(kind, 'a number or null')}")
            return SearchResult(
                architecture=architecture,
                policy=policy,
                hyperparameters=record["hyperparameters"],
                history=tuple(folder.read_events()),
                method=record["method"],
                seed=record["seed"],
                metrics=record["metrics"],
                candidates=tuple(_candidate(each, space) for each in record.get("candidates", [])),
                ranked_by=str(record.get("ranked_by", "")),
                seconds=record["seconds"],
                peak_memory_mib=record["peak_memory_mib"],
                versions=record["versions"],
            )
        except (
            KeyError,
            TypeError,
            AttributeError,
            ArchitectureError,
            PolicyError,
            ValueError,
        ) as error:
            raise RunFolderError(
                f"{folder.result} is not a whole result ({error}); it was changed or damaged."
            ) from error


def _record(candidate: Candidate) -> dict[str, Any]:
    record = {"architecture": str(candidate.architecture), "score": candidate.score}
    return record if not candidate.hyperparameters else {**record, "hyperparameters": dict(candidate.hyperparameters)}


def _candidate(record: Mapping[str, Any], space: SearchSpace) -> Candidate:
    settings = {str(name): float(value) for name, value in record.get("hyperparameters", {}).items()}
    return Candidate(space.parse(record["architecture"]), float(record["score"]), settings)
