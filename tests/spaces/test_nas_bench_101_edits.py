"""Edits can be undone, lead everywhere, and the distance is a metric that counts them."""

import itertools
import random

import networkx as nx
import pytest

from nas_spaces.nas_bench_101_cells import INTERIOR, MOST_EDGES, OUTPUT, DagCell, canonical, prune, shapes
from nas_spaces.nas_bench_101_edits import edit_distance, edits

SMALL = [cell for interior in range(3) for shape in shapes(interior) for cell in shape.cells(3)]


def random_cells(number: int) -> list[DagCell]:
    draw = random.Random(0)
    found = [draw.choice(shapes(draw.randint(0, INTERIOR))) for _ in range(number)]
    return [shape.least(tuple(draw.randint(0, 2) for _ in range(shape.interior))) for shape in found]


def near(cell: DagCell) -> set[DagCell]:
    return {other for graph in edits(cell, 3) if (other := canonical(*graph)) is not None}


def test_edits_make_cells_of_the_benchmark() -> None:
    for cell in random_cells(30):
        for edges, operations in edits(cell, 3):
            assert len(edges) <= MOST_EDGES
            assert len(operations) <= INTERIOR
            assert len(set(edges)) == len(edges)
            if canonical(edges, operations) is not None:
                assert sorted(prune(edges)) == sorted(edges)
                assert {vertex for edge in edges for vertex in edge} == {0, OUTPUT, *operations}


def test_every_edit_can_be_undone() -> None:
    for cell in random_cells(5):
        for other in near(cell):
            assert cell in near(other)


def test_edits_lead_from_every_cell_to_every_other() -> None:
    """From each cell one with fewer edges is near, down to the one whose output reads the input; and back again."""
    for cell in SMALL + random_cells(60):
        assert len(cell.edges) == 1 or any(len(other.edges) < len(cell.edges) for other in near(cell))


def test_distances_of_single_edits() -> None:
    """An operation or an edge counts 1; a vertex with its two edges 3; one in the place of an edge 4."""
    for cell in random_cells(10):
        for edges, operations in edits(cell, 3):
            other = canonical(edges, operations)
            if other is None or other == cell:
                continue
            vertices = abs(len(other.operations) - len(cell.operations))
            most = 1 if not vertices else 1 + (2 if abs(len(other.edges) - len(cell.edges)) == 2 else 3)
            assert 0 < edit_distance(cell, other) <= most


def test_the_distance_is_a_metric() -> None:
    cells = random_cells(7)
    for a, b, c in itertools.permutations(cells, 3):
        assert edit_distance(a, b) == edit_distance(b, a)
        assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
        assert (edit_distance(a, b) == 0) == (a == b)


@pytest.mark.parametrize("first", range(3))
def test_the_distance_is_networkx_graph_edit_distance(first: int) -> None:
    pytest.importorskip("scipy")  # networkx's edit distance asks for it

    def graph(cell: DagCell) -> "nx.DiGraph[int]":
        made: nx.DiGraph[int] = nx.DiGraph(cell.edges)
        for vertex in made:
            made.nodes[vertex]["operation"] = vertex - 100 if vertex in (0, OUTPUT) else cell.operations[vertex - 1]
        return made

    def substitution(x: dict[str, int], y: dict[str, int]) -> int:
        # The ends stand for themselves.
        return 100 * (x != y) if min(x["operation"], y["operation"]) < 0 else int(x != y)

    cells = [cell for cell in random_cells(40) if len(cell.operations) <= 4]
    for other in cells[first + 1 : first + 4]:
        expected = nx.graph_edit_distance(graph(cells[first]), graph(other), node_subst_cost=substitution)
        assert edit_distance(cells[first], other) == expected
