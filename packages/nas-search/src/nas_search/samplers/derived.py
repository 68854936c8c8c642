"""Architectures that draws from a relaxation stand for."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_search.errors import ConfigError
from nas_search.paths import architecture_of
from nas_search.relaxations.gumbel import standard_gumbel
from nas_search.roles import ChoiceWeights
from nas_search.samplers.relaxed import Relaxed

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["Categorical", "DrawnArchitecture"]


@dataclass(frozen=True)
class Categorical:
    """An architecture drawn from the relaxation's probabilities, each row on its own (SETN, section 3.3).

    The space's rule of derivation is applied to ``softmax(log p + gumbel)``. Where a space takes one option of every row
    that draws each with its probability. Where rows compete, as the edges of a DARTS node do, it keeps those whose
    drawn options stand out most; equal probabilities draw all edges and operations equally often.
    """

    def __call__(self, state: "SearchState") -> ChoiceWeights:
        """See `Sampler`."""
        if state.relaxation is None:
            raise ConfigError(f"method {state.method.name!r} draws from its relaxation's probabilities, but has none.")
        # In float64 no option that exists has weight 0, as one that does not.
        scores = state.relaxation.probabilities().double().log()
        weights = (scores + standard_gumbel(scores, state.generator)).softmax(dim=1)
        architecture = state.space.discretize(weights)
        return ChoiceWeights(state.space.weights(architecture), architecture.options)


@dataclass(frozen=True)
class DrawnArchitecture:
    """The architecture that a path drawn from the relaxation stands for, see `architecture_of`."""

    def __call__(self, state: "SearchState") -> ChoiceWeights:
        """See `Sampler`."""
        return architecture_of(state, Relaxed()(state))
