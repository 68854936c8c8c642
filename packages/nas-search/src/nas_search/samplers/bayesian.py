"""Evaluate next what a Gaussian process expects the largest improvement of."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_search.errors import ConfigError
from nas_search.roles import ChoiceWeights
from nas_search.samplers.candidates import candidates
from nas_search.samplers.uniform import Uniform
from nas_search.surrogate import suggest

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["Bayesian"]


@dataclass(frozen=True)
class Bayesian:
    """Bayesian optimisation: see `nas_search.surrogate`.

    It reads the scores from the archive, so that an interrupted search goes on as it would have.

    Args:
        initial: random architectures that are evaluated first.
        pool: how many candidates the acquisition function is computed for (see `candidates`).
    """

    initial: int = 10
    pool: int = 1000

    def __post_init__(self) -> None:
        if self.initial < 2 or self.pool < 1:
            raise ConfigError(
                f"initial is {self.initial} and pool {self.pool}; expected 2 or more architectures to begin with, and "
                "1 or more to choose from."
            )

    def __call__(self, state: "SearchState") -> ChoiceWeights:
        """See `Sampler`."""
        scored = [(state.space.parse(text), score) for text, score in state.archive]
        if len(scored) < self.initial:
            return Uniform()(state)
        pool = candidates(state.space, scored, self.pool, state.generator)
        if not pool:  # everything that was drawn is known: the space is small, and as good as exhausted
            return Uniform()(state)
        (architecture,) = suggest(scored, pool, generator=state.generator)
        return ChoiceWeights(state.space.weights(architecture), architecture.options)
