"""Train one architecture, or that which a search has ended with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from nas_search.errors import ConfigError
from nas_search.roles import ChoiceWeights, Sampler
from nas_spaces import Architecture

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["Fixed", "Settled"]


@dataclass(frozen=True)
class Fixed:
    """The same architecture all the time.

    Args:
        architecture: its text; may be left empty in a space that has only one.
    """

    architecture: str = ""

    def of(self, state: "SearchState") -> Architecture:
        """The architecture in the space that is searched.

        Raises:
            ConfigError: it is left empty, and the space has several.
            ArchitectureError: it is none of the space.
        """
        space = state.space
        if self.architecture:
            return space.parse(self.architecture)
        if space.size > 1:
            raise ConfigError(
                f"method {state.method.name!r} searches for a given network, and space {space.name!r} has {space.size:,}: name "
                "one (--set network=TEXT), or search in nas_spaces.single(...), a space of a network of your own."
            )
        return space.sample(state.generator)

    def check(self, state: "SearchState") -> None:
        """See `Checked`; raises what `of` does."""
        before = state.generator.get_state()
        self.of(state)
        state.generator.set_state(before)

    def __call__(self, state: "SearchState") -> ChoiceWeights:
        """See `Sampler`."""
        architecture = self.of(state)
        return ChoiceWeights(state.space.weights(architecture), architecture.options)


@dataclass(frozen=True)
class Settled:
    """Another sampler's weights at first; from `start` on those of the architecture that the relaxation stands for.

    Args:
        start: the progress from which on the architecture is fixed, in [0, 1]; nothing should learn it any more then.
        before: what is drawn until then.
    """

    start: float
    before: Sampler

    def __call__(self, state: "SearchState") -> ChoiceWeights:
        """See `Sampler`."""
        if state.progress < self.start:
            return self.before(state)
        if state.relaxation is None:
            raise ConfigError(f"method {state.method.name!r} settles for what its relaxation says, but has none.")
        with torch.no_grad():
            architecture = state.space.discretize(state.relaxation.probabilities())
        return ChoiceWeights(state.space.weights(architecture), architecture.options)
