"""Uniform draws from a generator that is passed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import torch

from nas_spaces.errors import ArchitectureError, InputError

if TYPE_CHECKING:
    from nas_spaces.architecture import Architecture
    from nas_spaces.space import SearchSpace

__all__ = ["draw_below", "draw_distinct", "draw_one"]

Item = TypeVar("Item")


def draw_below(below: int, generator: torch.Generator) -> int:
    """Draw one of 0, 1, ..., ``below - 1``.

    Raises:
        InputError: the generator is none.
    """
    if not isinstance(generator, torch.Generator):
        raise InputError(
            f"the generator is {generator!r:.80}; expected a torch.Generator, such as torch.Generator().manual_seed(0)."
        )
    return int(torch.randint(below, (), generator=generator, device=generator.device))


def draw_one(items: Sequence[Item], generator: torch.Generator, what: str) -> Item:
    """Draw one of the items.

    Args:
        items: to draw from.
        generator: source of the draw.
        what: what an item is, for the error.

    Raises:
        ArchitectureError: there are none.
    """
    if not items:
        raise ArchitectureError(f"there is no {what} to draw; this space has one architecture only.")
    return items[draw_below(len(items), generator)]


def draw_distinct(space: "SearchSpace", count: int, generator: torch.Generator) -> "list[Architecture]":
    """Draw architectures uniformly until there are so many different ones, in the order of their first draw.

    Args:
        space: where they come from.
        count: how many; all of the space where it has less. Close to its size that takes many more draws than `count`.
        generator: source of the draws.
    """
    found: dict[Architecture, None] = {}
    while len(found) < min(count, space.size):
        found[space.sample(generator)] = None
    return list(found)
