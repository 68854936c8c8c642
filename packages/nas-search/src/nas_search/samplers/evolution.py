"""Evaluate next a mutation of one of the best of the youngest."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from nas_search.errors import ConfigError
from nas_search.roles import ChoiceWeights
from nas_search.samplers.uniform import Uniform

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["Evolution"]


@dataclass(frozen=True)
class Evolution:
    """Regularised evolution (Real, Aggarwal, Huang and Le, AAAI 2019): the oldest dies, whatever it is worth.

    `population` random architectures first; then each step draws `tournament` of the `population` that were evaluated
    last, with replacement, and mutates the best of them. The archive is all its memory.

    Args:
        population: 10 in NAS-Bench-201's runs, 100 in the paper.
        tournament: 3 there, 25 in the paper.
    """

    population: int = 10
    tournament: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.tournament <= self.population:
            raise ConfigError(
                f"population is {self.population} and tournament {self.tournament}; expected 1 <= tournament <= population."
            )

    def __call__(self, state: "SearchState") -> ChoiceWeights:
        """See `Sampler`."""
        if len(state.archive) < self.population:
            return Uniform()(state)
        alive = state.archive[-self.population :]
        drawn = torch.randint(self.population, (self.tournament,), generator=state.generator).tolist()
        parent, _ = max((alive[place] for place in drawn), key=lambda entry: entry[1])
        child = state.space.mutate(state.space.parse(parent), state.generator)
        return ChoiceWeights(state.space.weights(child), child.options)
