"""Evaluate next a neighbour of the best of this climb."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from nas_search.roles import ChoiceWeights
from nas_search.samplers.uniform import Uniform

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["Local"]


@dataclass(frozen=True)
class Local:
    """Local search (White, Nolen and Savani, UAI 2021): climb from a random architecture, and start again on the top.

    Neighbours are evaluated in random order, and the first that is better is moved to. When none is left, the next climb
    begins at a random architecture. Where the climb stands follows from the archive.

    Differs from the paper:
        1. A neighbour that is known from a climb before is passed over, also where it is better.
        2. Where several are scored together, those behind the first better one are of where the climb stood before. They
           are moved to as well if they are better still.
    """

    def __call__(self, state: "SearchState") -> ChoiceWeights:
        """See `Sampler`."""
        (choice,) = self.several(state, 1)
        return choice

    def several(self, state: "SearchState", count: int) -> list[ChoiceWeights]:
        """Different neighbours of where the climb stands; beginnings of climbs where there are less."""
        unknown, choices = sorted(_unknown_neighbors(state)), list[ChoiceWeights]()
        for _ in range(count):
            if not unknown:
                choices.append(Uniform()(state))
                continue
            chosen = state.space.parse(unknown.pop(int(torch.randint(len(unknown), (), generator=state.generator))))
            choices.append(ChoiceWeights(state.space.weights(chosen), chosen.options))
        return choices


def _unknown_neighbors(state: "SearchState") -> set[str]:
    """The neighbours, not evaluated yet, of where the present climb stands; none where the next climb begins."""
    scores: dict[str, float] = {}
    unknown: set[str] = set()
    best = 0.0  # the score of where the climb stands
    for text, score in state.archive:
        scores[text] = score
        if not unknown or score > best:
            best = score
            unknown = {str(near) for near in state.space.neighbors(state.space.parse(text))} - scores.keys()
        else:
            unknown.discard(text)
    return unknown
