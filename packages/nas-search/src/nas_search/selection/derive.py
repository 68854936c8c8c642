"""End with what the architecture parameters say."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_search.errors import ConfigError
from nas_search.ranking import Ranking, by_probability
from nas_spaces import Architecture

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["Derive"]


@dataclass(frozen=True)
class Derive:
    """The space's own rule of derivation, applied to the relaxation's probabilities."""

    def __call__(self, state: "SearchState") -> Architecture:
        """See `Selector`."""
        if state.relaxation is None:
            raise ConfigError(f"method {state.method.name!r} derives from its relaxation, but has none.")
        return state.space.discretize(state.relaxation.probabilities())

    def rank(self, state: "SearchState") -> Ranking:
        """See `Ranks`: by the probability under the relaxation."""
        return by_probability(state)
