"""What the architecture that was evaluated last costs."""

from dataclasses import dataclass

from nas_search.roles import Evaluator, Event
from nas_search.state import SearchState

__all__ = ["CandidateCost"]


@dataclass(frozen=True)
class CandidateCost:
    """Records the ``candidate`` of a black-box search after each epoch, its ``candidate_cost`` and the ``cost_unit``.

    Beside ``valid_accuracy`` this is what the report draws the front of accuracy against cost from.

    Args:
        cost: of an architecture, such as `nas_search.evaluation.NetworkCost`.
        unit: what it is measured in.
    """

    cost: Evaluator
    unit: str

    def __call__(self, event: Event) -> None:
        """See `Observer`."""
        if event.kind == "epoch" and isinstance(event.state, SearchState) and event.state.archive:
            text, _ = event.state.archive[-1]
            cost = self.cost(event.state.space.parse(text), event.state)
            event.record.update(candidate=text, candidate_cost=cost, cost_unit=self.unit)
