"""Architectures as bounded vectors of real numbers, and back."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from nas_spaces import Architecture, RowwiseSpace, SearchSpace

__all__ = ["Encoding", "Integers", "Logits", "behavior"]


class Encoding(Protocol):
    """A map between architectures and real tensors of one shape, for any space; ``decode(encode(a)) == a``."""

    def encode(self, space: SearchSpace, architecture: Architecture) -> Tensor:
        """The tensor of an architecture."""
        ...

    def decode(self, space: SearchSpace, values: Tensor) -> Architecture:
        """The architecture that a tensor of the same shape stands for, whatever is in it."""
        ...

    def bound(self, space: SearchSpace, values: Tensor) -> Tensor:
        """The nearest tensor in the ball or box around all that `encode` gives."""
        ...


@dataclass(frozen=True)
class Logits:
    """One number per option, ``(choices, options)``: 1 for what is taken, -1 for what is not.

    Decoded by the space's rule of derivation, the largest of each row where every row takes one. The bound is a ball, of
    radius ``sqrt(choices options)``: the faces of a box would make options equal, of which the first is taken.
    """

    def encode(self, space: SearchSpace, architecture: Architecture) -> Tensor:
        """See `Encoding`."""
        return (2 * space.weights(architecture) - 1).clamp(max=1.0)

    def decode(self, space: SearchSpace, values: Tensor) -> Architecture:
        """See `Encoding`."""
        return space.discretize(values)

    def bound(self, space: SearchSpace, values: Tensor) -> Tensor:
        """See `Encoding`."""
        return values * (values.numel() ** 0.5 / values.norm()).clamp(max=1.0)


@dataclass(frozen=True)
class Integers:
    """The numbers of what is taken, ``(numbers,)``, decoded by rounding: the released code's encoding of EN2AS.

    A row gives the number of its option. Where rows depend on each other, each connection of a node gives two numbers:
    which edge and which operation. What rounds to two connections of one edge, where the space allows one, is settled by the
    space's rule of derivation. Neighbouring numbers are not alike: the order of the options is arbitrary.
    """

    def encode(self, space: SearchSpace, architecture: Architecture) -> Tensor:
        """See `Encoding`."""
        space.require(architecture)
        numbers: list[int] = []
        for slot in _slots(space):
            taken = [(place, option) for place, row in enumerate(slot.rows) for option in architecture.options[row]]
            # A row that is not used stands for its first option.
            for place, option in [*taken, *[(0, 0)] * (slot.picks - len(taken))]:
                numbers += [place, option] if len(slot.rows) > 1 else [option]
        return torch.tensor(numbers, dtype=torch.float32)

    def decode(self, space: SearchSpace, values: Tensor) -> Architecture:
        """See `Encoding`."""
        numbers = iter(self.bound(space, values).round().int().tolist())
        weights = torch.zeros(space.choices.shape)
        for slot in _slots(space):
            for _ in range(slot.picks):
                row = slot.rows[next(numbers) if len(slot.rows) > 1 else 0]
                weights[row, next(numbers)] += 1.0
        return space.discretize(weights)

    def bound(self, space: SearchSpace, values: Tensor) -> Tensor:
        """See `Encoding`."""
        largest = [
            number
            for slot in _slots(space)
            for _ in range(slot.picks)
            for number in ([len(slot.rows) - 1] if len(slot.rows) > 1 else []) + [slot.options - 1]
        ]
        return values.clamp(min=0.0).minimum(torch.tensor(largest, dtype=values.dtype))


class _Slot(NamedTuple):
    """What is chosen together: `picks` connections of the edges of a node, or options of one row."""

    rows: tuple[int, ...]
    picks: int
    options: int


@lru_cache(maxsize=16)
def _slots(space: SearchSpace) -> tuple[_Slot, ...]:
    choices = space.choices
    # How many edges a node takes is the same in all architectures of a space.
    example = space.sample(torch.Generator().manual_seed(0))
    nodes = () if isinstance(space, RowwiseSpace) else choices.nodes
    slots = [
        _Slot(rows, sum(len(example.options[row]) for row in rows), min(len(choices.options[row]) for row in rows))
        for rows in nodes
    ]
    together = {row for rows in nodes for row in rows}
    slots += [
        _Slot((row,), choices.picks[row], len(names))
        for row, names in enumerate(choices.options)
        if row not in together
    ]
    return tuple(slots)


def behavior(space: SearchSpace, architecture: Architecture) -> Tensor:
    """An architecture as a point, ``(choices options,)``: its weights, with the norm ``1 / sqrt(2)``.

    The Euclidean distance of two points is 0 where they are equal, 1 where they share nothing, and
    ``sqrt(differing / decisions)`` between, where all architectures take as many options.
    """
    weights = space.weights(architecture).flatten()
    return weights / (2**0.5 * weights.norm())
