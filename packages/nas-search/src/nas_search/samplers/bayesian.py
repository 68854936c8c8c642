"""Evaluate next what a Gaussian process expects the largest improvement of."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_search.errors import ConfigError
from nas_search.roles import ChoiceWeights, Evaluator
from nas_search.samplers.candidates import candidates
from nas_search.samplers.uniform import Uniform
from nas_search.surrogate import ArchitectureKernel, Hamming, suggest, suggest_pareto
from nas_spaces import Architecture

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
        kernel: how alike two architectures are.
        cost: what else an architecture is judged by, smaller being better, such as `nas_search.evaluation.NetworkCost`: then
            the front of score against cost is searched, and not the best score alone. It is asked of every candidate.
    """

    initial: int = 10
    pool: int = 1000
    kernel: ArchitectureKernel = Hamming()
    cost: Evaluator | None = None

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
        architecture = self._suggest(state, scored, pool)
        return ChoiceWeights(state.space.weights(architecture), architecture.options)

    def _suggest(
        self, state: "SearchState", scored: list[tuple[Architecture, float]], pool: list[Architecture]
    ) -> Architecture:
        if self.cost is None:
            (found,) = suggest(state.space, scored, pool, kernel=self.kernel, generator=state.generator)
            return found
        observed = [(architecture, score, self.cost(architecture, state)) for architecture, score in scored]
        priced = [(architecture, self.cost(architecture, state)) for architecture in pool]
        (found,) = suggest_pareto(state.space, observed, priced, kernel=self.kernel, generator=state.generator)
        return found
