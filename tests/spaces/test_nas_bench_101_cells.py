"""The number of cells, by enumeration, by symmetries, and by networkx's isomorphism."""

import itertools
import random

import networkx as nx
import pytest

from nas_spaces.nas_bench_101_cells import (
    EDGES,
    OUTPUT,
    DagCell,
    all_shapes,
    canonical,
    cycles,
    numberings,
    placed,
    prune,
    shapes,
    totals,
)

PUBLISHED = 423_624


def graph_of(cell: DagCell) -> "nx.DiGraph[int]":
    graph: nx.DiGraph[int] = nx.DiGraph(cell.edges)
    for vertex, operation in enumerate(cell.operations, start=1):
        graph.nodes[vertex]["operation"] = operation
    graph.nodes[0]["operation"], graph.nodes[OUTPUT]["operation"] = "input", "output"
    return graph


def brute_force(vertices: int, operations: int) -> int:
    """Count classes of labelled matrices from the rules, with nothing of the package."""
    pairs = list(itertools.combinations(range(vertices), 2))
    classes: dict[object, list[nx.DiGraph[int]]] = {}
    for taken in itertools.product([False, True], repeat=len(pairs)):
        edges = list(itertools.compress(pairs, taken))
        sources, targets = {s for s, _ in edges}, {t for _, t in edges}
        if len(edges) > 9 or sources != set(range(vertices - 1)) or targets != set(range(1, vertices)):
            continue
        for labels in itertools.product(range(operations), repeat=vertices - 2):
            graph: nx.DiGraph[int] = nx.DiGraph(edges)
            for vertex, label in zip(range(vertices), ("input", *labels, "output"), strict=True):
                graph.nodes[vertex]["operation"] = label
            key = sorted((graph.in_degree(v), graph.out_degree(v), str(graph.nodes[v]["operation"])) for v in graph)
            group = classes.setdefault(tuple(key), [])
            if not any(nx.is_isomorphic(graph, other, node_match=lambda x, y: x == y) for other in group):
                group.append(graph)
    return sum(len(group) for group in classes.values())


# With one operation, six vertices are few enough to compare all.
@pytest.mark.parametrize(("vertices", "operations"), [(2, 3), (3, 3), (4, 3), (5, 3), (6, 1)])
def test_counts_equal_brute_force(vertices: int, operations: int) -> None:
    assert sum(shape.count(operations) for shape in shapes(vertices - 2)) == brute_force(vertices, operations)


def test_the_published_number_of_cells() -> None:
    assert totals(3)[-1] == PUBLISHED
    # Without regard to isomorphism about three times as many, as the released code says.
    assert sum(len(numberings(interior)) * 3**interior for interior in range(6)) == 1_293_208


@pytest.mark.slow
def test_the_published_number_of_cells_is_enumerated() -> None:
    assert len({cell for shape in all_shapes() for cell in shape.cells(3)}) == PUBLISHED


def test_small_cells_are_listed_once_each_in_their_own_numbering() -> None:
    for interior in range(4):
        listed = [cell for shape in shapes(interior) for cell in shape.cells(3)]
        assert len(set(listed)) == len(listed) == sum(shape.count(3) for shape in shapes(interior))
        for cell in listed:
            assert canonical(cell.edges, dict(enumerate(cell.operations, start=1))) == cell


def test_canonical_does_not_depend_on_the_numbers_and_tells_cells_apart() -> None:
    draw = random.Random(0)
    found: dict[DagCell, nx.DiGraph[int]] = {}
    for _ in range(300):
        edges = draw.choice(numberings(draw.randint(2, 5)))
        vertices = sorted({v for edge in edges for v in edge} - {0, OUTPUT})
        operations = {vertex: draw.randint(0, 2) for vertex in vertices}
        names = dict(zip([0, OUTPUT, *vertices], [0, OUTPUT, *draw.sample(range(10, 99), len(vertices))], strict=True))
        moved = [(names[s], names[t]) for s, t in edges]
        draw.shuffle(moved)
        cell = canonical(edges, operations)
        assert cell is not None
        assert cell == canonical(moved, {names[vertex]: operation for vertex, operation in operations.items()})
        graph = graph_of(cell)
        for other, theirs in found.items():
            if len(theirs) == len(graph) and other != cell:
                assert not nx.is_isomorphic(graph, theirs, node_match=lambda x, y: x == y)
        found[cell] = graph


def test_canonical_finds_circles() -> None:
    assert canonical([(0, 1), (1, 2), (2, 1), (2, OUTPUT)], {1: 0, 2: 0}) is None


def test_prune_leaves_the_paths() -> None:
    assert prune([(0, 1), (1, 2), (1, OUTPUT), (3, OUTPUT), (3, 4)]) == ((0, 1), (1, OUTPUT))
    assert prune([(0, 1), (2, OUTPUT)]) == ()
    assert prune([]) == ()


def test_symmetries_leave_the_edges_as_they_are() -> None:
    for shape in shapes(4):
        assert (1, 2, 3, 4) in shape.symmetries
        assert len(set(shape.symmetries)) == len(shape.symmetries)
        for symmetry in shape.symmetries:
            place = (0, *symmetry, 0, OUTPUT)
            assert {(place[s], place[t]) for s, t in shape.edges} == set(shape.edges)


def test_cycles() -> None:
    assert cycles((2, 3, 1, 4)) == [[1, 2, 3], [4]]
    assert cycles(()) == []


def test_placed_has_every_numbering_once() -> None:
    rows = placed()
    assert rows.shape[1] == len(EDGES)
    assert len({row.tobytes() for row in rows}) == len(rows)
    assert rows.sum(axis=1).max() == 9
    for row in rows[:: len(rows) // 200]:
        edges = list(itertools.compress(EDGES, row))
        assert prune(edges) == tuple(edges)
