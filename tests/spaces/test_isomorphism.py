"""Equal hashes are isomorphic graphs, by networkx's exact decision."""

import itertools
import random

import networkx as nx
import pytest
import torch

from nas_spaces import (
    SearchSpace,
    allegro,
    canonical_hash,
    darts,
    darts_rnn,
    nas_bench_1shot1,
    nas_bench_101,
    nas_bench_201,
)
from nas_spaces.isomorphism import canonical_form


def random_graph(draw: random.Random, *, acyclic: bool) -> "nx.DiGraph[int]":
    graph: nx.DiGraph[int] = nx.DiGraph()
    vertices = draw.randint(1, 6)
    graph.add_nodes_from((vertex, {"operation": draw.choice("ab")}) for vertex in range(vertices))
    for s, t in itertools.permutations(range(vertices), 2):
        if (s < t or not acyclic) and draw.random() < 0.4:
            graph.add_edge(s, t, operation=draw.choice("xyy"))
    return graph


def renamed(graph: "nx.DiGraph[int]", draw: random.Random) -> "nx.DiGraph[int]":
    """The same graph with its vertices renamed, and its vertices and edges in another order."""
    names = draw.sample(range(100), len(graph))
    place = dict(zip(graph, names, strict=True))
    other: nx.DiGraph[int] = nx.DiGraph()
    edges = list(graph.edges(data=True))
    draw.shuffle(edges)
    other.add_nodes_from((place[node], dict(graph.nodes[node])) for node in draw.sample(list(graph), len(graph)))
    other.add_edges_from((place[s], place[t], dict(data)) for s, t, data in edges)
    return other


def isomorphic(a: "nx.DiGraph[int]", b: "nx.DiGraph[int]") -> bool:
    return bool(
        nx.is_isomorphic(
            a,
            b,
            node_match=lambda x, y: x.get("operation") == y.get("operation") and x.get("role") == y.get("role"),
            edge_match=lambda x, y: x.get("operation") == y.get("operation"),
        )
    )


@pytest.mark.parametrize("acyclic", [True, False])
def test_hashes_are_equal_exactly_for_isomorphic_graphs(acyclic: bool) -> None:
    draw = random.Random(0)
    graphs = [random_graph(draw, acyclic=acyclic) for _ in range(150)]
    graphs += [renamed(graph, draw) for graph in graphs[:50]]
    hashes = [canonical_hash(graph) for graph in graphs]
    equal = 0
    for (a, x), (b, y) in itertools.combinations(zip(graphs, hashes, strict=True), 2):
        assert (x == y) == isomorphic(a, b)
        equal += x == y
    assert equal >= 50


def test_graphs_that_refinement_alone_takes_for_equal_are_told_apart() -> None:
    """Two triangles and one hexagon: every vertex has one vertex before and one behind it, for ever."""
    triangles: nx.DiGraph[int] = nx.DiGraph([(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3)])
    hexagon: nx.DiGraph[int] = nx.DiGraph([(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)])
    assert canonical_hash(triangles) != canonical_hash(hexagon)
    assert canonical_hash(triangles) == canonical_hash(renamed(triangles, random.Random(1)))
    assert canonical_hash(hexagon) == canonical_hash(renamed(hexagon, random.Random(1)))


def test_the_form_is_an_isomorphic_graph() -> None:
    graph = random_graph(random.Random(3), acyclic=True)
    labels, edges = canonical_form(graph)
    again: nx.DiGraph[int] = nx.DiGraph()
    again.add_nodes_from((number, {"operation": operation}) for number, (_, operation) in enumerate(labels))
    again.add_edges_from((s, t, {"operation": operation}) for s, t, operation in edges)
    assert isomorphic(graph, again)
    assert canonical_form(nx.DiGraph()) == ((), ())


def test_labels_of_pictures_do_not_count_and_roles_do() -> None:
    a: nx.DiGraph[int] = nx.DiGraph()
    a.add_edge(0, 1, operation="x")
    b = a.copy()
    b.nodes[0]["label"] = "anything"
    assert canonical_hash(a) == canonical_hash(b)
    b.nodes[0]["role"] = "input"
    assert canonical_hash(a) != canonical_hash(b)


@pytest.mark.parametrize(
    "space",
    [nas_bench_101(), nas_bench_1shot1(3), nas_bench_201(), darts(), darts_rnn(), allegro()],
    ids=lambda space: space.name,
)
def test_the_hash_of_a_cell_does_not_depend_on_the_names_of_its_vertices(space: SearchSpace) -> None:
    generator, draw = torch.Generator().manual_seed(0), random.Random(0)
    for _ in range(20):
        graph = space.graph(space.sample(generator))
        assert canonical_hash(graph) == canonical_hash(renamed(graph, draw))


def test_what_a_darts_cell_may_exchange() -> None:
    """Nodes 0 and 1 with all that is theirs; not the two inputs, and not the normal for the reduction cell."""
    tail = "|sep_conv_3x3~0|sep_conv_3x3~1|+|sep_conv_3x3~0|sep_conv_3x3~1|"
    one, other = "|skip_connect~0|sep_conv_3x3~1|", "|sep_conv_5x5~0|sep_conv_3x3~1|"
    mirrored = "|sep_conv_3x3~0|skip_connect~1|"
    space = darts()

    def hashed(normal: str, reduce: str) -> str:
        return canonical_hash(space.graph(space.parse(f"normal:{normal}+{tail};reduce:{reduce}+{tail}")))

    start = hashed(f"{one}+{other}", f"{one}+{one}")
    assert start == hashed(f"{other}+{one}", f"{one}+{one}")
    assert start != hashed(f"{mirrored}+{other}", f"{one}+{one}")
    assert start != hashed(f"{one}+{one}", f"{one}+{other}")
