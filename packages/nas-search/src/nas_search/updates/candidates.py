"""The step of black-box methods."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from nas_search.roles import Evaluator
from nas_search.run_state import check_positive
from nas_search.scoring import Candidate, check_evaluator, propose, score

if TYPE_CHECKING:
    from nas_search.batches import Batch
    from nas_search.state import SearchState

__all__ = ["EvaluateCandidate"]


@dataclass(frozen=True)
class EvaluateCandidate:
    """Score sampled architectures and note them in the archive: the whole step of a black-box method.

    Args:
        evaluator: what scores them.
        count: how many are proposed together, see `nas_search.scoring`.

    Raises:
        ConfigError: a `count` below 1.
    """

    evaluator: Evaluator
    count: int = 1

    uses: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        check_positive(parallel=self.count)

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: what the evaluator does not fit.
        """
        check_evaluator(self.evaluator, state)

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report the mean of the scores as ``valid_accuracy``, and the largest so far as ``best_accuracy``."""
        first = len(state.archive)
        candidates = [
            Candidate(architecture, self.evaluator, first + place)
            for place, architecture in enumerate(propose(state, self.count))
        ]
        scores = score(state, candidates)
        state.archive += [(str(each.architecture), found) for each, found in zip(candidates, scores, strict=True)]
        best = max(score for _, score in state.archive)
        return {"valid_accuracy": torch.tensor(scores).mean(), "best_accuracy": torch.tensor(best)}
