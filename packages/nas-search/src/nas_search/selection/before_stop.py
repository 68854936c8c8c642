"""End with what the architecture parameters said some epochs before the search was stopped."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_search.ranking import Ranking
from nas_search.run_state import check_positive
from nas_search.selection.derive import Derive
from nas_spaces import Architecture

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["BeforeStop"]


@dataclass(frozen=True)
class BeforeStop:
    """The architecture derived `lag` epochs before a stop rule ended the search; that of the end if none did.

    Args:
        lag: how many epochs before.
    """

    lag: int = 5

    def __post_init__(self) -> None:
        check_positive(lag=self.lag)

    def __call__(self, state: "SearchState") -> Architecture:
        """See `Selector`."""
        if not state.stop(state.history):
            return Derive()(state)
        return state.space.parse(state.history[max(0, len(state.history) - 1 - self.lag)]["architecture"])

    def rank(self, state: "SearchState") -> Ranking:
        """See `Ranks`: as `Derive`, unless a rule ended the search; the relaxation of `lag` epochs before is not kept."""
        if not state.stop(state.history):
            return Derive().rank(state)
        return Ranking((), f"the search was stopped, and ends with what it would have derived {self.lag} epochs before")
