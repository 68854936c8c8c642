"""Uniform draws from a generator that is passed."""

from collections.abc import Sequence
from typing import TypeVar

import torch

from nas_spaces.errors import ArchitectureError

__all__ = ["draw_below", "draw_one"]

Item = TypeVar("Item")


def draw_below(below: int, generator: torch.Generator) -> int:
    """Draw one of 0, 1, ..., ``below - 1``."""
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
