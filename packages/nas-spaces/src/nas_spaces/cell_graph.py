"""Cells as graphs."""

from typing import TYPE_CHECKING

from nas_spaces.cell_nodes import Cells

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["cells_graph"]


def cells_graph(cells: Cells) -> "nx.DiGraph[int]":
    """Every cell as a part of its own, the nodes of cell c numbered from ``100 c``; edges carry ``operation``."""
    import networkx as nx

    graph: nx.DiGraph[int] = nx.DiGraph()
    for number, (name, nodes) in enumerate(cells.items()):
        base, output = 100 * number, 100 * number + 2 + len(nodes)
        labels = ["c_{k-2}", "c_{k-1}", *(str(index) for index in range(len(nodes))), name]
        graph.add_nodes_from((base + index, {"label": label}) for index, label in enumerate(labels))
        # What may not be exchanged: the two inputs, the output, and one cell for another.
        for index in (0, 1, output - base):
            graph.nodes[base + index]["role"] = f"{name} {labels[index]}"
        for index, node in enumerate(nodes):
            target = base + 2 + index
            for operation, state in node:
                if graph.has_edge(base + state, target):
                    operation = f"{graph.edges[base + state, target]['operation']} + {operation}"
                graph.add_edge(base + state, target, operation=operation)
            graph.add_edge(target, output, operation="")
    return graph
