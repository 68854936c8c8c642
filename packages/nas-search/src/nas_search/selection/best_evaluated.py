"""End with the best architecture that was evaluated during the search."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_search.errors import ConfigError
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
        allowed = state.archive
        if self.cost is not None:
            costs = [self.cost(state.space.parse(text), state) for text, _ in allowed]
            allowed = [entry for entry, cost in zip(allowed, costs, strict=True) if cost <= self.limit]
            if not allowed:
                raise ConfigError(
                    f"all {len(costs)} architectures that were evaluated cost more than {self.limit:g}, the least {min(costs):g}: "
                    "raise cost_limit, or search for more epochs."
                )
        text, _ = max(allowed, key=lambda entry: entry[1])
        return state.space.parse(text)
