"""End with the architecture that was given."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_search.samplers import Fixed
from nas_spaces import Architecture

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["Given"]


@dataclass(frozen=True)
class Given:
    """The architecture that a `Fixed` sampler trains.

    Args:
        sampler: it.
    """

    sampler: Fixed

    def __call__(self, state: "SearchState") -> Architecture:
        """See `Selector`."""
        return self.sampler.of(state)
