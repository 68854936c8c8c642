"""What the architectures cost that were evaluated last."""

from dataclasses import dataclass

from nas_search.roles import Evaluator, Event
from nas_search.state import SearchState

__all__ = ["CandidateCost"]


@dataclass(frozen=True)
class CandidateCost:
    """Records the ``candidates`` of a black-box search after each epoch, with the score and the cost of each, and ``cost_unit``.

    It is what the report draws the front of accuracy against cost from.

    Args:
        cost: of an architecture, such as `nas_search.evaluation.NetworkCost`.
        unit: what it is measured in.
        count: how many an epoch evaluates.
    """

    cost: Evaluator
    unit: str
    count: int = 1

    def __call__(self, event: Event) -> None:
        """See `Observer`."""
        state = event.state
        if event.kind == "epoch" and isinstance(state, SearchState):
            priced = [
                [text, score, self.cost(state.space.parse(text), state)] for text, score in state.archive[-self.count :]
            ]
            event.record.update(candidates=priced, cost_unit=self.unit)
