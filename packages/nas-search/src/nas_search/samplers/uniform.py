"""Train a uniformly random path."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_search.roles import ChoiceWeights

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["Uniform"]


@dataclass(frozen=True)
class Uniform:
    """A uniformly random architecture of the space (Li and Talwalkar, "Random search and reproducibility", UAI 2019)."""

    def __call__(self, state: "SearchState") -> ChoiceWeights:
        """See `Sampler`."""
        architecture = state.space.sample(state.generator)
        return ChoiceWeights(state.space.weights(architecture), architecture.options)
