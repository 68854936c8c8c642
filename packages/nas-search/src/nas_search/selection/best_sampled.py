"""End with the best of many paths of the trained supernet."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_search.describe import describe
from nas_search.evaluation import SupernetAccuracy
from nas_search.ranking import Ranking, by_score
from nas_search.roles import Evaluator, Sampler
from nas_search.run_state import check_positive
from nas_search.samplers import Uniform
from nas_search.scoring import Candidate, check_evaluator, score
from nas_search.selection.best_evaluated import BestEvaluated
from nas_spaces import Architecture

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["BestSampled"]


@dataclass(frozen=True)
class BestSampled:
    """Score architectures with shared weights, and take the best (Li and Talwalkar, UAI 2019, with uniform ones).

    Args:
        samples: how many are drawn; 100 in NAS-Bench-201's runs. One that is drawn again keeps its score.
        evaluator: what scores them.
        sampler: what draws them, uniformly by default. `Evolution`, `Local` and `Bayesian` learn from the scores so far.
    """

    samples: int = 100
    evaluator: Evaluator = SupernetAccuracy()
    sampler: Sampler = Uniform()

    def __post_init__(self) -> None:
        check_positive(samples=self.samples)

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: what the evaluator does not fit.
        """
        check_evaluator(self.evaluator, state)

    def __call__(self, state: "SearchState") -> Architecture:
        """See `Selector`; the scores are noted in the archive, in the place of what the search may have noted there."""
        scores: dict[Architecture, float] = {}
        state.archive = []
        for _ in range(self.samples):
            architecture = state.space.discretize(self.sampler(state).weights)
            if architecture not in scores:
                (scores[architecture],) = score(state, [Candidate(architecture, self.evaluator, len(state.archive))])
            state.archive.append((str(architecture), scores[architecture]))
        return BestEvaluated()(state)

    def rank(self, state: "SearchState") -> Ranking:
        """See `Ranks`: by the score with shared weights."""
        return by_score(state.space, state.archive, f"score by {describe(self.evaluator)}")
