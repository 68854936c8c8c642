from itertools import combinations

import networkx as nx
import pytest
import torch

from nas_spaces import nas_bench_201
from nas_spaces.layout import LABEL_HEIGHT, NODE_HEIGHT, NODE_WIDTH, label_width, layout

Box = tuple[float, float, float, float]


def random_dag(seed: int) -> "nx.DiGraph[int]":
    generator = torch.Generator().manual_seed(seed)
    size = int(torch.randint(2, 9, (), generator=generator))
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(size))
    for target in range(1, size):
        for source in range(target):
            if torch.rand((), generator=generator) < 0.5:
                graph.add_edge(source, target, operation="sep_conv_3x3")
    return graph


def boxes(graph: "nx.DiGraph[int]") -> list[Box]:
    place = layout(graph)
    nodes = [(x, y, NODE_WIDTH, NODE_HEIGHT) for x, y in place.nodes.values()]
    labels = [(*place.labels[edge], label_width(graph.edges[edge]["operation"]), LABEL_HEIGHT) for edge in graph.edges]
    return nodes + labels


@pytest.mark.parametrize("seed", range(20))
def test_nothing_overlaps(seed: int) -> None:
    graph = random_dag(seed)
    for (x0, y0, w0, h0), (x1, y1, w1, h1) in combinations(boxes(graph), 2):
        assert abs(x0 - x1) >= (w0 + w1) / 2 - 1e-6 or abs(y0 - y1) >= (h0 + h1) / 2 - 1e-6


@pytest.mark.parametrize("seed", range(20))
def test_edges_run_to_the_right_and_through_no_node(seed: int) -> None:
    place = layout(random_dag(seed))
    for (source, target), points in place.edges.items():
        assert [x for x, _ in points] == sorted(x for x, _ in points)
        assert points[0] == (place.nodes[source][0] + NODE_WIDTH / 2, place.nodes[source][1])
        assert points[-1] == (place.nodes[target][0] - NODE_WIDTH / 2, place.nodes[target][1])
        for node, (x, y) in place.nodes.items():
            if node not in (source, target):
                level = [py for px, py in points if abs(px - x) <= NODE_WIDTH / 2 + 1e-6]
                assert all(abs(py - y) >= NODE_HEIGHT / 2 for py in level)


def test_the_box_holds_everything() -> None:
    graph = nas_bench_201().graph(nas_bench_201().architecture([3, 1, 4, 2, 3, 1]))
    left, top, right, bottom = layout(graph).box
    for x, y, width, height in boxes(graph):
        assert left <= x - width / 2
        assert right >= x + width / 2
        assert top <= y - height / 2
        assert bottom >= y + height / 2


def test_an_empty_graph_has_an_empty_layout() -> None:
    assert layout(nx.DiGraph()).nodes == {}
