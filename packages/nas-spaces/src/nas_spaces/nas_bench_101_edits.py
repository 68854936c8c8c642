"""Small changes of a cell of NAS-Bench-101, and how many separate two cells."""

import itertools
from collections.abc import Collection, Iterator, Mapping
from typing import TypeAlias

from nas_spaces.nas_bench_101_cells import EDGES, INTERIOR, MOST_EDGES, OUTPUT, DagCell, Edge, prune

__all__ = ["edit_distance", "edits"]

Graph: TypeAlias = tuple[tuple[Edge, ...], Mapping[int, int]]
"""Edges, and the operation of each vertex between input and output."""


def edits(cell: DagCell, operations: int) -> Iterator[Graph]:
    """The graphs that one edit makes, some of them several times, and some with a cycle.

    An edit gives a vertex another operation; adds an edge, or takes one away without which all vertices still lie on
    paths; puts a new vertex into an edge, or beside it between any two vertices, or takes such a vertex out. Every edit
    has one that undoes it.

    Edits lead from every cell to every other, since they lead from each to the cell without vertices. Take away edges
    until each is needed: by its source, which nothing else reads, or by its target, which reads nothing else. Then one
    vertex is read once and reads once, and can be taken out: the first one in order reads the input only; if it is read
    more than once, each of its readers reads it only, and is in the same case, which cannot go on to the end.

    Args:
        cell: a cell.
        operations: the number of different operations.
    """
    yield from _renamed(cell, operations)
    yield from _smaller(cell)
    yield from _larger(cell, operations)


def _vertices(cell: DagCell) -> dict[int, int]:
    return dict(enumerate(cell.operations, start=1))


def _renamed(cell: DagCell, operations: int) -> Iterator[Graph]:
    vertices = _vertices(cell)
    for vertex, operation in itertools.product(vertices, range(operations)):
        if operation != vertices[vertex]:
            yield cell.edges, {**vertices, vertex: operation}


def _smaller(cell: DagCell) -> Iterator[Graph]:
    vertices = _vertices(cell)
    for edge in cell.edges:
        rest = tuple(other for other in cell.edges if other != edge)
        if _whole(rest, vertices):
            yield rest, vertices
    for vertex in vertices:
        before = [s for s, t in cell.edges if t == vertex]
        behind = [t for s, t in cell.edges if s == vertex]
        if len(before) == len(behind) == 1:
            rest = tuple(edge for edge in cell.edges if vertex not in edge)
            others = {other: operation for other, operation in vertices.items() if other != vertex}
            bridge = (before[0], behind[0])
            if bridge not in rest:
                yield (*rest, bridge), others
            if _whole(rest, others):
                yield rest, others


def _whole(edges: tuple[Edge, ...], vertices: Collection[int]) -> bool:
    """Whether everything lies on a path from input to output."""
    return prune(edges) == edges and {0, OUTPUT, *vertices} <= {vertex for edge in edges for vertex in edge}


def _larger(cell: DagCell, operations: int) -> Iterator[Graph]:
    vertices = _vertices(cell)
    new = len(vertices) + 1
    for s, t in itertools.product((0, *vertices), (*vertices, OUTPUT)):
        if s == t:
            continue
        rest = tuple(edge for edge in cell.edges if edge != (s, t))
        if len(rest) == len(cell.edges) < MOST_EDGES:
            yield (*rest, (s, t)), vertices
        if new > INTERIOR:
            continue
        for operation in range(operations):
            grown = {**vertices, new: operation}
            if len(cell.edges) + 2 <= MOST_EDGES:
                yield (*cell.edges, (s, new), (new, t)), grown
            if len(rest) < len(cell.edges) < MOST_EDGES:
                yield (*rest, (s, new), (new, t)), grown


def edit_distance(a: DagCell, b: DagCell) -> int:
    """The graph edit distance: how many operations change, and vertices and edges come or go, at the least."""
    edges = set(b.edges)
    ours, wanted = ([*cell.operations, *[-1] * (INTERIOR - len(cell.operations))] for cell in (a, b))
    least = len(EDGES) + INTERIOR
    for order in itertools.permutations(range(1, INTERIOR + 1)):
        changed = sum(wanted[new - 1] != operation for operation, new in zip(ours, order, strict=True))
        place = (0, *order, OUTPUT)
        moved = {(place[s], place[t]) for s, t in a.edges}
        least = min(least, changed + len(moved ^ edges))
    return least
