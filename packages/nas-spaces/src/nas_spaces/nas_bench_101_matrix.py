"""The benchmark's own form of a cell of NAS-Bench-101, a ``ModelSpec``: an adjacency matrix and a list of operations."""

import itertools
from collections.abc import Sequence

from nas_spaces.errors import ArchitectureError
from nas_spaces.nas_bench_101_cells import OUTPUT, DagCell, Edge

__all__ = ["read_matrix", "to_matrix"]


def to_matrix(cell: DagCell, names: Sequence[str]) -> tuple[list[list[int]], list[str]]:
    """The matrix ``(vertices, vertices)`` and the operations, with ``input`` first and ``output`` last.

    Args:
        cell: a cell.
        names: of the operations.
    """
    last = len(cell.operations) + 1
    edges = {(s, last if t == OUTPUT else t) for s, t in cell.edges}
    matrix = [[int((s, t) in edges) for t in range(last + 1)] for s in range(last + 1)]
    return matrix, ["input", *(names[operation] for operation in cell.operations), "output"]


def read_matrix(
    matrix: Sequence[Sequence[int]], operations: Sequence[str], names: Sequence[str]
) -> tuple[list[Edge], dict[int, int]]:
    """The edges from 0 to `OUTPUT`, and the number of each other vertex's operation.

    Args:
        matrix: 0 or 1, ``(vertices, vertices)``, 1 in row s and column t for an edge from s to t.
        operations: one per vertex.
        names: of the operations between ``input`` and ``output``.

    Raises:
        ArchitectureError: it is not of that form.
    """
    last = len(operations) - 1
    if last < 1 or operations[0] != "input" or operations[-1] != "output":
        raise ArchitectureError(f"the operations are {list(operations)}; expected ['input', ..., 'output'].")
    if len(matrix) != last + 1 or any(len(row) != last + 1 for row in matrix):
        raise ArchitectureError(
            f"the matrix has rows of {[len(row) for row in matrix]}; expected {last + 1} x {last + 1}, a row and a "
            "column for each of the operations."
        )
    edges = []
    for (s, row), t in itertools.product(enumerate(matrix), range(last + 1)):
        if row[t] not in (0, 1) or (row[t] and s >= t):
            raise ArchitectureError(
                f"the matrix has {row[t]} in row {s}, column {t}; expected 0 or 1 above the diagonal, 0 elsewhere."
            )
        if row[t]:
            edges.append((s, t))
    unknown = [name for name in operations[1:-1] if name not in names]
    if unknown:
        raise ArchitectureError(f"unknown operation {unknown[0]!r}; expected one of {', '.join(names)}.")
    # Numbers from 10 on, so that none is taken for the output.
    place = {0: 0, last: OUTPUT, **{vertex: 10 + vertex for vertex in range(1, last)}}
    taken = {10 + vertex: names.index(operations[vertex]) for vertex in range(1, last)}
    return [(place[s], place[t]) for s, t in edges], taken
