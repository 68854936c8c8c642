"""The three parts of NAS-Bench-101 that NAS-Bench-1Shot1 covers: which wirings there are, and what is counted."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from nas_spaces.vertex_network import OPERATIONS

__all__ = ["PARTS", "Part"]


@dataclass(frozen=True)
class Part:
    """One of the three spaces.

    Args:
        parents: how many vertices blocks 1, 2, ... and then the output read.
        loose_operations: whether architectures that differ in the operation of a block that nothing reads are two.
    """

    parents: tuple[int, ...]
    loose_operations: bool

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return len(self.parents) - 1

    @cached_property
    def wirings(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """What the blocks and the output read: every possibility."""
        sources = (itertools.combinations(range(vertex), count) for vertex, count in enumerate(self.parents, start=1))
        return tuple(itertools.product(*sources))

    def counted(self, sources: Sequence[Sequence[int]]) -> list[int]:
        """The blocks whose operations are part of an architecture of this wiring."""
        read = {source for inputs in sources for source in inputs}
        return [block for block in range(1, self.blocks + 1) if self.loose_operations or block in read]

    @cached_property
    def totals(self) -> tuple[int, ...]:
        """The number of architectures up to and with each wiring."""
        counts = (len(OPERATIONS) ** len(self.counted(sources)) for sources in self.wirings)
        return tuple(itertools.accumulate(counts))


PARTS = {
    1: Part((1, 2, 2, 2, 2), loose_operations=False),
    2: Part((1, 1, 2, 2, 3), loose_operations=True),
    3: Part((1, 1, 1, 2, 2, 2), loose_operations=False),
}
"""The spaces by their number."""
