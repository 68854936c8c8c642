"""The cells of NAS-Bench-101 as graphs: which there are, how many, and one numbering of the vertices for each.

A cell has its input at vertex 0, up to five vertices with an operation from 1 on, and its output at vertex `OUTPUT`.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "EDGES",
    "INTERIOR",
    "MOST_EDGES",
    "OUTPUT",
    "DagCell",
    "Edge",
    "Shape",
    "all_shapes",
    "canonical",
    "cycles",
    "numberings",
    "placed",
    "prune",
    "shapes",
    "totals",
]

Edge: TypeAlias = tuple[int, int]
Permutation: TypeAlias = tuple[int, ...]

INTERIOR = 5
"""The most vertices that carry an operation."""

OUTPUT = INTERIOR + 1
MOST_EDGES = 9

EDGES = tuple((source, target) for target in range(1, OUTPUT + 1) for source in range(target))
"""Every edge there can be, target by target."""

_BIT = {edge: 1 << index for index, edge in enumerate(EDGES)}


class DagCell(NamedTuple):
    """A cell.

    Attributes:
        edges: ``(source, target)`` in the order of `EDGES`.
        operations: those of vertices 1, 2, ..., as numbers.
    """

    edges: tuple[Edge, ...]
    operations: tuple[int, ...]


def prune(edges: Iterable[Edge]) -> tuple[Edge, ...]:
    """The edges that lie on a path from input to output; none if there is no path."""
    edges = tuple(edges)
    reached = _reachable(0, edges)
    leading = _reachable(OUTPUT, [(target, source) for source, target in edges])
    return tuple((s, t) for s, t in edges if s in reached and t in leading)


def _reachable(start: int, edges: Iterable[Edge]) -> set[int]:
    edges = list(edges)
    found, waiting = {start}, [start]
    while waiting:
        vertex = waiting.pop()
        for source, target in edges:
            if source == vertex and target not in found:
                found.add(target)
                waiting.append(target)
    return found


def canonical(edges: Iterable[Edge], operations: Mapping[int, int]) -> DagCell | None:
    """The same cell with its vertices numbered as the benchmark numbers them; None if it has a cycle.

    Of all numberings in which every edge leads to a larger number, the one that comes first when matrices are counted
    as binary numbers, edge ``(s, t)`` being bit ``s + t (t - 1) / 2``, and then operations in their order: the first one
    that the benchmark's own enumeration meets, and therefore the one that it trained. Two cells are isomorphic exactly
    if this makes them equal.

    Args:
        edges: every vertex on a path from input to output.
        operations: the operation of each vertex between them.
    """
    edges = tuple(edges)
    before = {vertex: {s for s, t in edges if t == vertex and s != 0} for vertex in operations}
    best: tuple[int, tuple[int, ...]] | None = None
    for order in _orders((), before):
        place = {0: 0, OUTPUT: OUTPUT, **{vertex: number for number, vertex in enumerate(order, start=1)}}
        bits = sum(_BIT[place[s], place[t]] for s, t in edges)
        if best is None or bits <= best[0]:
            taken = (bits, tuple(operations[vertex] for vertex in order))
            best = taken if best is None else min(best, taken)
    return None if best is None else DagCell(_edges(best[0]), best[1])


def _orders(done: tuple[int, ...], before: Mapping[int, set[int]]) -> Iterator[tuple[int, ...]]:
    """Every order in which each vertex comes after those `before` it, that begins with `done`."""
    if len(done) == len(before):
        yield done
    for vertex, needed in before.items():
        if vertex not in done and needed <= set(done):
            yield from _orders((*done, vertex), before)


def _edges(bits: int) -> tuple[Edge, ...]:
    return tuple(edge for edge in EDGES if bits & _BIT[edge])


@dataclass(frozen=True)
class Shape:
    """All cells of the same edges.

    Args:
        edges: in the numbering of `canonical`.
        interior: vertices that carry an operation.
        symmetries: the renumberings of vertices 1, 2, ... that leave the edges as they are, as the images of 1, 2, ...
    """

    edges: tuple[Edge, ...]
    interior: int
    symmetries: tuple[Permutation, ...]

    def count(self, operations: int) -> int:
        """How many different cells there are: the mean over the symmetries of what they leave as it is (Burnside)."""
        fixed = sum(operations ** len(cycles(symmetry)) for symmetry in self.symmetries)
        return fixed // len(self.symmetries)

    def least(self, operations: tuple[int, ...]) -> DagCell:
        """The cell with these operations, in the numbering of `canonical`."""
        return DagCell(self.edges, min(tuple(operations[v - 1] for v in symmetry) for symmetry in self.symmetries))

    def cells(self, operations: int) -> Iterator[DagCell]:
        """Every different cell once."""
        for taken in itertools.product(range(operations), repeat=self.interior):
            cell = self.least(taken)
            if cell.operations == taken:
                yield cell


def cycles(permutation: Permutation) -> list[list[int]]:
    """The cycles of a permutation of 1, 2, ..., as lists of vertices."""
    found: list[list[int]] = []
    for start in range(1, len(permutation) + 1):
        if any(start in cycle for cycle in found):
            continue
        cycle, vertex = [start], permutation[start - 1]
        while vertex != start:
            cycle.append(vertex)
            vertex = permutation[vertex - 1]
        found.append(cycle)
    return found


@cache
def numberings(interior: int) -> tuple[tuple[Edge, ...], ...]:
    """The edges of every cell with this many vertices between input and output, in every numbering."""
    found: list[tuple[Edge, ...]] = []

    def extend(edges: tuple[Edge, ...], target: int) -> None:
        if target > interior:
            loose = set(range(1, interior + 1)) - {source for source, _ in edges}
            target = OUTPUT
        else:
            loose = set()
        for sources in _subsets(range(min(target, interior + 1)), MOST_EDGES - len(edges)):
            if loose <= set(sources):
                longer = edges + tuple((source, target) for source in sources)
                if target == OUTPUT:
                    found.append(longer)
                else:
                    extend(longer, target + 1)

    extend((), 1)
    return tuple(found)


def _subsets(of: Iterable[int], most: int) -> Iterator[tuple[int, ...]]:
    of = tuple(of)
    for size in range(1, min(most, len(of)) + 1):
        yield from itertools.combinations(of, size)


@cache
def shapes(interior: int) -> tuple[Shape, ...]:
    """The shapes with this many vertices between input and output, each once."""
    met: set[int] = set()
    found = []
    orders = list(itertools.permutations(range(1, interior + 1)))
    for edges in numberings(interior):
        if sum(_BIT[edge] for edge in edges) in met:
            continue
        images: dict[int, list[Permutation]] = {}
        for order in orders:
            place = (0, *order, *[0] * (INTERIOR - interior), OUTPUT)
            if all(place[s] < place[t] for s, t in edges):
                images.setdefault(sum(_BIT[place[s], place[t]] for s, t in edges), []).append(order)
        met |= images.keys()
        # Any two ways to the least numbering differ by a symmetry of it.
        ways = images[min(images)]
        back = [ways[0].index(number) for number in range(1, interior + 1)]
        symmetries = tuple(tuple(way[vertex] for vertex in back) for way in ways)
        found.append(Shape(_edges(min(images)), interior, symmetries))
    return tuple(found)


def all_shapes() -> tuple[Shape, ...]:
    """The shapes of every size, from few vertices to many."""
    return tuple(shape for interior in range(INTERIOR + 1) for shape in shapes(interior))


@cache
def totals(operations: int) -> tuple[int, ...]:
    """The number of different cells up to and with each of `all_shapes`."""
    return tuple(itertools.accumulate(shape.count(operations) for shape in all_shapes()))


@cache
def placed() -> NDArray[np.float64]:
    """Every cell's edges in every numbering, also with vertices left out between: 0 or 1, ``(cells, len(EDGES))``."""
    rows = []
    for interior in range(INTERIOR + 1):
        for vertices in itertools.combinations(range(1, INTERIOR + 1), interior):
            place = (0, *vertices, *[0] * (INTERIOR - interior), OUTPUT)
            for edges in numberings(interior):
                moved = {(place[s], place[t]) for s, t in edges}
                rows.append([edge in moved for edge in EDGES])
    return np.array(rows, dtype=np.float64)
