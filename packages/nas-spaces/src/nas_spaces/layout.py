"""Where the nodes, the edges and their labels stand in the picture of a cell.

Layered layout after Sugiyama, Tagawa and Toda (1981). Each node stands in a column right of its predecessors. Between
two columns of nodes lies a column of labels, and an edge takes a place of its own in every column that it crosses: so
no edge runs through a node, and no label lies on another, by construction.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["Layout", "layout"]

Point: TypeAlias = tuple[float, float]

NODE_WIDTH, NODE_HEIGHT = 84.0, 36.0
LABEL_HEIGHT = 20.0
_CHARACTER, _GAP, _SWEEPS = 6.9, 56.0, 12
_HEIGHTS = {"node": NODE_HEIGHT + 26.0, "label": LABEL_HEIGHT + 8.0, "pass": 16.0}


@dataclass(frozen=True)
class Layout:
    """A picture's coordinates, x to the right and y down.

    Args:
        nodes: the centre of each node.
        edges: for each edge the points it passes, from the right side of its source to the left side of its target.
        labels: the centre of each edge's label.
        box: left, top, right and bottom of everything drawn.
    """

    nodes: dict[int, Point]
    edges: dict[tuple[int, int], tuple[Point, ...]]
    labels: dict[tuple[int, int], Point]
    box: tuple[float, float, float, float]


@dataclass
class _Item:
    """A node, a label or the passage of an edge in one column."""

    kind: str
    column: int
    y: float = 0.0


def layout(graph: "nx.DiGraph[int]") -> Layout:
    """Place a directed acyclic graph from left to right."""
    columns = _node_columns(graph)
    nodes = {node: _Item("node", column) for node, column in columns.items()}
    chains = {edge: _chain(nodes[edge[0]], nodes[edge[1]]) for edge in graph.edges}
    layers = _arrange(nodes, chains)
    widths = _column_widths(graph, chains, len(layers))
    xs = _column_places(widths)
    places = {node: (xs[item.column], item.y) for node, item in nodes.items()}
    edges = {edge: _points(chain, xs, widths) for edge, chain in chains.items()}
    labels = {
        edge: next((xs[item.column], item.y) for item in chain if item.kind == "label")
        for edge, chain in chains.items()
    }
    items = [item for layer in layers for item in layer]
    tops = [item.y - _HEIGHTS[item.kind] / 2 for item in items] or [0.0]
    bottoms = [item.y + _HEIGHTS[item.kind] / 2 for item in items] or [0.0]
    half = NODE_WIDTH / 2
    return Layout(
        places, edges, labels, (min(xs, default=0) - half, min(tops), max(xs, default=0) + half, max(bottoms))
    )


def _node_columns(graph: "nx.DiGraph[int]") -> dict[int, int]:
    """Even columns for the nodes, by the longest path from the input; the first and last node at the two ends."""
    import networkx as nx

    order = list(nx.topological_sort(graph))
    if not order:
        return {}
    ranks: dict[int, int] = {}
    inputs = [node for node in order if not graph.in_degree(node)]
    for node in order:
        ranks[node] = max((ranks[source] + 1 for source in graph.predecessors(node)), default=0)
    for node in inputs:
        # A node that nothing reaches stands just before the first node that it reaches, not far off at the input.
        if node != min(order):
            ranks[node] = min((ranks[target] for target in graph.successors(node)), default=2) - 1
    last = max(order)
    others = [rank for node, rank in ranks.items() if node != last]
    if not graph.out_degree(last) and others:
        ranks[last] = max(others) + 1
    lowest = min(ranks.values())
    return {node: 2 * (rank - lowest) for node, rank in ranks.items()}


def _chain(source: _Item, target: _Item) -> list[_Item]:
    """The items of an edge: its label in the label column next to its middle, passages in the other columns."""
    between = range(source.column + 1, target.column)
    odd = [column for column in between if column % 2]
    labelled = odd[(len(odd) - 1) // 2]
    return [source, *(_Item("label" if column == labelled else "pass", column) for column in between), target]


def _arrange(nodes: dict[int, _Item], chains: dict[tuple[int, int], list[_Item]]) -> list[list[_Item]]:
    """Order the items of each column and set their y, by sweeps that pull every item to the mean of its neighbours."""
    items = [*nodes.values(), *(item for chain in chains.values() for item in chain[1:-1])]
    layers: list[list[_Item]] = [[] for _ in range(max((item.column for item in items), default=-1) + 1)]
    for item in items:
        layers[item.column].append(item)
    before: dict[int, list[_Item]] = {id(item): [] for item in items}
    after: dict[int, list[_Item]] = {id(item): [] for item in items}
    for chain in chains.values():
        for left, right in itertools.pairwise(chain):
            before[id(right)].append(left)
            after[id(left)].append(right)
    for layer in layers:
        _spread(layer, [float(index) for index in range(len(layer))])
    for sweep in range(_SWEEPS):
        sides = [before] if sweep % 3 == 0 else [after] if sweep % 3 == 1 else [before, after]
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            wanted = [_mean((n.y for side in sides for n in side[id(item)]), item.y) for item in layer]
            order = sorted(range(len(layer)), key=wanted.__getitem__)
            layer[:] = [layer[index] for index in order]
            _spread(layer, [wanted[index] for index in order])
    return layers


def _mean(values: Iterable[float], otherwise: float) -> float:
    known = list(values)
    return sum(known) / len(known) if known else otherwise


def _spread(layer: Sequence[_Item], wanted: Sequence[float]) -> None:
    """Set y as near to `wanted` as the heights allow, keeping the order: isotonic regression by pooling violators."""
    offsets, height = [], 0.0
    for item in layer:
        offsets.append(height + _HEIGHTS[item.kind] / 2)
        height += _HEIGHTS[item.kind]
    pools: list[tuple[float, int]] = []
    for target, offset in zip(wanted, offsets, strict=True):
        mean, size = target - offset, 1
        while pools and pools[-1][0] > mean:
            other, count = pools.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        pools.append((mean, size))
    starts = [mean for mean, size in pools for _ in range(size)]
    for item, start, offset in zip(layer, starts, offsets, strict=True):
        item.y = start + offset


def _column_widths(graph: "nx.DiGraph[int]", chains: dict[tuple[int, int], list[_Item]], columns: int) -> list[float]:
    """Wide enough for a node, or for the longest label of the column."""
    widths = [NODE_WIDTH if column % 2 == 0 else 0.0 for column in range(columns)]
    for edge, chain in chains.items():
        label = next(item for item in chain if item.kind == "label")
        text = str(graph.edges[edge].get("operation", ""))
        widths[label.column] = max(widths[label.column], label_width(text) if text else 0.0)
    return widths


def _column_places(widths: Sequence[float]) -> list[float]:
    """The middle of each column."""
    xs, x = [], 0.0
    for width in widths:
        xs.append(x + width / 2)
        x += width + _GAP
    return xs


def label_width(text: str) -> float:
    """The width that a label takes."""
    return _CHARACTER * len(text) + 10.0


def _points(chain: Sequence[_Item], xs: Sequence[float], widths: Sequence[float]) -> tuple[Point, ...]:
    """An edge is level across each column and bends in the gaps between columns only, where no text is."""
    points = []
    for item in chain:
        half = widths[item.column] / 2
        points += [(xs[item.column] - half, item.y), (xs[item.column] + half, item.y)]
    return tuple(points[1:-1])
