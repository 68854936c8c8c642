"""End with the best architecture that was evaluated during the search."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_search.describe import describe
from nas_search.errors import ConfigError
from nas_search.ranking import Ranking, by_score
from nas_search.roles import Evaluator
from nas_spaces import Architecture

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["BestEvaluated"]


@dataclass(frozen=True)
class BestEvaluated:
    """The architecture of the highest score in the archive; the first of equals.

    Args:
        cost: of an architecture; where it is given, only those are looked at that cost no more than `limit`.
        limit: in the unit of the cost.
    """

    cost: Evaluator | None = None
    limit: float = math.inf

    def __call__(self, state: "SearchState") -> Architecture:
        """See `Selector`.

        Raises:
            ConfigError: everything that was evaluated costs more than the limit.
        """
        text, _ = max(self._allowed(state), key=lambda entry: entry[1])
        return state.space.parse(text)

    def rank(self, state: "SearchState") -> Ranking:
        """See `Ranks`: by the score, of those within the limit."""
        # What scored them is a part of an update, such as `EvaluateCandidate`.
        scoring = [describe(update.evaluator) for update in state.method.updates if hasattr(update, "evaluator")]
        return by_score(state.space, self._allowed(state), f"score by {', '.join(scoring) or 'the search'}")

    def _allowed(self, state: "SearchState") -> list[tuple[str, float]]:
        if self.cost is None:
            return state.archive
        costs = [self.cost(state.space.parse(text), state) for text, _ in state.archive]
        allowed = [entry for entry, cost in zip(state.archive, costs, strict=True) if cost <= self.limit]
        if not allowed:
            raise ConfigError(
                f"all {len(costs)} architectures that were evaluated cost more than {self.limit:g}, the least {min(costs):g}: "
                "raise cost_limit, or search for more epochs."
            )
        return allowed
