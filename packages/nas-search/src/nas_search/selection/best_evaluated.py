"""End with the best architecture that was evaluated during the search."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_spaces import Architecture

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["BestEvaluated"]


@dataclass(frozen=True)
class BestEvaluated:
    """The architecture of the highest score in the archive; the first of equals."""

    def __call__(self, state: "SearchState") -> Architecture:
        """See `Selector`."""
        text, _ = max(state.archive, key=lambda entry: entry[1])
        return state.space.parse(text)
