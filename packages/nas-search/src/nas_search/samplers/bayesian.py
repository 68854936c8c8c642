"""Evaluate next what a Gaussian process expects the largest improvement of."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas_search.errors import ConfigError
from nas_search.roles import ChoiceWeights, Evaluator
from nas_search.samplers.candidates import candidates
from nas_search.samplers.uniform import Uniform
from nas_search.surrogate import ArchitectureKernel, BySpace, suggest, suggest_pareto
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
    kernel: ArchitectureKernel = BySpace()
    cost: Evaluator | None = None

    def __post_init__(self) -> None:
        if self.initial < 2 or self.pool < 1:
            raise ConfigError(
                f"initial is {self.initial} and pool {self.pool}; expected 2 or more architectures to begin with, and "
                "1 or more to choose from."
            )

    def __call__(self, state: "SearchState") -> ChoiceWeights:
        """See `Sampler`."""
        (choice,) = self.several(state, 1)
        return choice

    def several(self, state: "SearchState", count: int) -> list[ChoiceWeights]:
        """Different ones, by the improvement that is expected of all of them together: see `suggest`."""
        scored = [(state.space.parse(text), score) for text, score in state.archive]
        if len(scored) < self.initial:
            return [Uniform()(state) for _ in range(count)]
        pool = candidates(state.space, scored, self.pool, state.generator)
        suggested = self._suggest(state, scored, pool, min(count, len(pool))) if pool else []
        choices = [ChoiceWeights(state.space.weights(each), each.options) for each in suggested]
        # Everything else that was drawn is known: the space is small, and as good as exhausted.
        return choices + [Uniform()(state) for _ in range(count - len(choices))]

    def _suggest(
        self, state: "SearchState", scored: list[tuple[Architecture, float]], pool: list[Architecture], count: int
    ) -> list[Architecture]:
        shared: dict[str, Any] = {"count": count, "kernel": self.kernel, "generator": state.generator}
        if self.cost is None:
            return suggest(state.space, scored, pool, **shared)
        observed = [(architecture, score, self.cost(architecture, state)) for architecture, score in scored]
        priced = [(architecture, self.cost(architecture, state)) for architecture in pool]
        return suggest_pareto(state.space, observed, priced, **shared)
