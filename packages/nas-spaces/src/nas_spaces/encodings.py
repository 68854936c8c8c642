"""Architectures as vectors, for predictors of performance.

White, Neiswanger, Nolen and Savani, "A Study on Encodings for Neural Architecture Search", NeurIPS 2020.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nas_spaces.architecture import Architecture
from nas_spaces.space import SearchSpace

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["adjacency", "one_hot", "path_encoding", "paths"]


def one_hot(space: SearchSpace, architecture: Architecture) -> Tensor:
    """The choice weights without the entries that do not exist, ``(number of options,)`` float.

    Example:
        >>> from nas_spaces import nas_bench_201
        >>> space = nas_bench_201()
        >>> one_hot(space, space.architecture([1, 0, 0, 0, 0, 0]))[:10].tolist()
        [0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """
    return space.weights(architecture)[space.choices.mask]


def adjacency(graph: "nx.DiGraph[int]", operations: Sequence[str]) -> Tensor:
    """One adjacency matrix per operation, ``(operations, nodes, nodes)`` float, the nodes in increasing order.

    An edge stands in the matrix of its own operation, or of the operation of the node that it leads to.

    Args:
        graph: as `SearchSpace.graph` makes it.
        operations: the names of the operations; an edge with another one has no entry.
    """
    nodes = {node: index for index, node in enumerate(sorted(graph))}
    matrix = torch.zeros(len(operations), len(nodes), len(nodes))
    for source, target, data in graph.edges(data=True):
        for name in _names(graph, target, data):
            if name in operations:
                matrix[list(operations).index(name), nodes[source], nodes[target]] += 1.0
    return matrix


def paths(graph: "nx.DiGraph[int]") -> frozenset[tuple[str, ...]]:
    """The operations met on every way from a node without predecessor to one without successor."""
    found: set[tuple[str, ...]] = set()
    starts = [node for node in graph if not graph.in_degree(node) and graph.out_degree(node)]
    waiting: list[tuple[Any, tuple[str, ...]]] = [(node, ()) for node in starts]
    while waiting:
        node, way = waiting.pop()
        if not graph.out_degree(node):
            found.add(way)
        for _, target, data in graph.out_edges(node, data=True):
            for name in _names(graph, target, data):
                waiting.append((target, (*way, name) if name else way))
    return frozenset(found)


def _names(graph: "nx.DiGraph[int]", target: int, data: dict[str, Any]) -> list[str]:
    """The operations between the start of an edge and what `target` gives on; an empty name for none."""
    own = str(graph.nodes[target].get("operation", ""))
    return [name or own for name in str(data["operation"]).split(" + ")]


def path_encoding(graph: "nx.DiGraph[int]", vocabulary: Sequence[tuple[str, ...]]) -> Tensor:
    """Which of the ways in `vocabulary` the graph has, ``(len(vocabulary),)`` float.

    The vocabulary is usually the union of `paths` over a sample, in a fixed order.
    """
    present = paths(graph)
    return torch.tensor([float(way in present) for way in vocabulary])
