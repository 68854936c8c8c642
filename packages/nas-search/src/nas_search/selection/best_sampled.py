"""End with the best of many random paths of the trained supernet."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_search.evaluation import SupernetAccuracy
from nas_search.roles import Evaluator
from nas_search.run_state import check_positive
from nas_spaces import Architecture

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["BestSampled"]


@dataclass(frozen=True)
class BestSampled:
    """Score uniformly random architectures with shared weights, and take the best (Li and Talwalkar, UAI 2019).

    Args:
        samples: how many; 100 in NAS-Bench-201's runs.
        evaluator: what scores them.
    """

    samples: int = 100
    evaluator: Evaluator = SupernetAccuracy()

    def __post_init__(self) -> None:
        check_positive(samples=self.samples)

    def __call__(self, state: "SearchState") -> Architecture:
        """See `Selector`; the scores are noted in the archive."""
        drawn = dict.fromkeys(state.space.sample(state.generator) for _ in range(self.samples))
        scores = {architecture: self.evaluator(architecture, state) for architecture in drawn}
        state.archive.extend((str(architecture), score) for architecture, score in scores.items())
        return max(scores, key=lambda architecture: scores[architecture])
