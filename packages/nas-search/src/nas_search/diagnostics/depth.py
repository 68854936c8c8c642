"""How deep the derived cell is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_search.roles import Event
from nas_search.state import SearchState
from nas_spaces import Architecture, SearchSpace

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["CellDepth", "depth"]


@dataclass(frozen=True)
class CellDepth:
    """Records the ``depth`` of the architecture derived after each epoch."""

    def __call__(self, event: Event) -> None:
        """See `Observer`."""
        if event.kind == "epoch" and isinstance(event.state, SearchState) and "architecture" in event.record:
            space = event.state.space
            event.record["depth"] = depth(space, space.parse(event.record["architecture"]))


def depth(space: SearchSpace, architecture: Architecture) -> float:
    """The mean over the architecture's cells of the most connections on a way from an input to the output.

    Cell depth as Shu, Wang and Cai define it ("Understanding architectures learnt by cell-based NAS", ICLR 2020): skip
    connections count, ``none`` does not connect, and the concatenation at the end of a cell is no connection.

    Example:
        >>> from nas_spaces import nas_bench_201
        >>> space = nas_bench_201()
        >>> depth(space, space.parse("|skip_connect~0|+|none~0|nor_conv_3x3~1|+|nor_conv_3x3~0|none~1|none~2|"))
        1.0
    """
    import networkx as nx

    graph = space.graph(architecture)
    cells = [name for name in space.choices.groups if "." not in name]
    # The cells of an architecture of several are parts of the graph, beside inputs that no node takes; a single cell may
    # fall apart by itself.
    several = (part for part in nx.weakly_connected_components(graph) if len(part) > 1)
    parts = [set(graph)] if len(cells) == 1 else list(several)
    return sum(_longest(graph.subgraph(part)) for part in parts) / len(parts)


def _longest(cell: "nx.DiGraph[int]") -> int:
    import networkx as nx

    longest: dict[int, int] = {}
    for node in nx.topological_sort(cell):
        edges = [(before, data["operation"].split(" + ")) for before, _, data in cell.in_edges(node, data=True)]
        ways = [
            longest[before] + (operations != [""])  # the concatenation has no operation
            for before, operations in edges
            if before in longest and set(operations) != {"none"}
        ]
        # A node with a number for a label is no input: if nothing leads into it, what it passes on is constant.
        if ways or not cell.nodes[node]["label"].isdigit():
            longest[node] = max(ways, default=0)
    return longest.get(max(cell), 0)
