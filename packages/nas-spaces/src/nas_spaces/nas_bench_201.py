"""NAS-Bench-201: cells of 4 nodes whose 6 edges each carry one of 5 operations; 15,625 architectures.

Dong and Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from torch import nn

from nas_spaces.architecture import Architecture
from nas_spaces.choices import Choices
from nas_spaces.errors import InputError
from nas_spaces.nas_bench_201_network import EDGES, NODES, NONE, OPERATIONS, SKIP, Cell, Skeleton, edges_of
from nas_spaces.nas_bench_201_supernet import MixedCell, NasBench201Supernet, PartialCell
from nas_spaces.parsing import Reader
from nas_spaces.sizes import require_sizes
from nas_spaces.space import RowwiseSpace
from nas_spaces.supernet import SharedOperation, Supernet

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["EDGES", "NODES", "OPERATIONS", "NasBench201", "nas_bench_201", "nas_bench_201_small"]

DEPTH = 5
"""Cells per stage in the benchmark; there are three stages."""


def nas_bench_201() -> "NasBench201":
    """The NAS-Bench-201 space: 6 edges x 5 operations.

    `cells` counts the cells of each of the three stages (5 in the benchmark); a stage has twice the channels and half
    the resolution of the one before. Images of any size work: odd sizes are rounded up where the resolution is halved.

    Example:
        >>> import torch
        >>> space = nas_bench_201()
        >>> space.size
        15625
        >>> a = space.parse("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")
        >>> space.network(a, classes=10, channels=4, cells=1)(torch.randn(2, 3, 8, 8)).shape
        torch.Size([2, 10])
    """
    return NasBench201("nas_bench_201", NODES)


def nas_bench_201_small() -> "NasBench201":
    """NAS-Bench-201 with cells of 3 nodes: 3 edges x 5 operations, 125 architectures.

    Everything else is as in `nas_bench_201`: stages, reductions, operations, text. ``load_table("digits")`` knows what
    every one of the networks is worth on scikit-learn's digits.

    Example:
        >>> space = nas_bench_201_small()
        >>> space.size
        125
        >>> str(space.architecture([3, 1, 0]))
        '|nor_conv_3x3~0|+|skip_connect~0|none~1|'
    """
    return NasBench201("nas_bench_201_small", 3)


class NasBench201(RowwiseSpace):
    """See `nas_bench_201` and `nas_bench_201_small`.

    Args:
        name: of the space.
        nodes: of a cell, the input and the output among them.

    Attributes:
        nodes: as given.
        edges: of a cell as (source, target), in the order of the rows of the choices.
    """

    def __init__(self, name: str = "nas_bench_201", nodes: int = 4) -> None:
        self._name, self.nodes, self.edges = name, nodes, edges_of(nodes)

    @property
    def name(self) -> str:
        """As given."""
        return self._name

    @property
    def choices(self) -> Choices:
        """A row per edge in the order of `edges`, six for four nodes; five columns in the order of `OPERATIONS`."""
        nodes = tuple(
            tuple(row for row, edge in enumerate(self.edges) if edge[1] == node) for node in range(1, self.nodes)
        )
        return Choices(options=(OPERATIONS,) * len(self.edges), groups={"cell": range(len(self.edges))}, nodes=nodes)

    def format(self, options: Sequence[int]) -> str:
        """The benchmark's text: ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`` for four nodes."""
        nodes = []
        for target in range(1, self.nodes):
            inputs = [
                f"{OPERATIONS[options[row]]}~{source}" for row, (source, t) in enumerate(self.edges) if t == target
            ]
            nodes.append("|" + "|".join(inputs) + "|")
        return "+".join(nodes)

    def parse(self, text: str) -> Architecture:
        """Read what `format` writes; the inputs of a node may stand in any order.

        Raises:
            ArchitectureError: naming the position and what was expected there.
        """
        reader = Reader(text)
        options = dict[tuple[int, int], int]()
        for target in range(1, self.nodes):
            if target > 1:
                reader.take("+")
            reader.take("|")
            for _ in range(target):
                option = reader.one_of(OPERATIONS, "an operation")
                reader.take("~")
                free = tuple(source for source in range(target) if (source, target) not in options)
                source = reader.number(free, f"an input of node {target} that has not been named")
                options[source, target] = option
                reader.take("|")
        reader.end()
        return self.architecture([options[edge] for edge in self.edges])

    def canonical(self, architecture: Architecture) -> str:
        """A text that architectures share when they compute the same function by the benchmark's rules.

        A skip connection is its input, what ``none`` reaches is nothing, and the inputs of a node have no order. There
        are 6,466 different ones, the number that the paper gives. The rules work on texts: a node that is nothing still
        stands in the sums it enters, so that a few cells of equal function keep different texts.
        """
        self.require(architecture)
        nodes = ["0"]
        for target in range(1, self.nodes):
            terms = []
            for (source, t), (option,) in zip(self.edges, architecture.options, strict=True):
                if t != target:
                    continue
                if option == NONE or nodes[source] == "#":
                    terms.append("#")
                elif option == SKIP:
                    terms.append(nodes[source])
                else:
                    terms.append(f"({nodes[source]})@{OPERATIONS[option]}")
            nodes.append("+".join(sorted(terms)))
        return nodes[-1]

    def graph(self, architecture: Architecture) -> "nx.DiGraph[int]":
        """Nodes from 0 (input) to the last (output); one edge per operation other than ``none``, named in ``operation``."""
        import networkx as nx

        self.require(architecture)
        graph: nx.DiGraph[int] = nx.DiGraph()
        labels = ("input", *map(str, range(1, self.nodes - 1)), "output")
        graph.add_nodes_from((node, {"label": label}) for node, label in enumerate(labels))
        graph.nodes[0]["role"], graph.nodes[self.nodes - 1]["role"] = "input", "output"
        for (source, target), (option,) in zip(self.edges, architecture.options, strict=True):
            if option != NONE:
                graph.add_edge(source, target, operation=OPERATIONS[option])
        return graph

    def supernet(
        self, *, classes: int = 10, channels: int = 16, cells: int | None = None, in_channels: int = 3, parts: int = 1
    ) -> Supernet:
        """The supernet of the benchmark's searches: batch normalisation without affine parameters.

        With `parts` above 1 the operations see one of as many parts of the channels; see `PartialEdges`.
        """
        require_sizes(parts=parts)
        depth = DEPTH if cells is None else cells
        make = (
            partial(MixedCell, nodes=self.nodes) if parts == 1 else partial(PartialCell, nodes=self.nodes, parts=parts)
        )
        return NasBench201Supernet(self.choices, Skeleton(make, classes, channels, depth, in_channels))

    def network(
        self,
        architecture: Architecture,
        *,
        classes: int = 10,
        channels: int = 16,
        cells: int | None = None,
        in_channels: int = 3,
    ) -> nn.Module:
        """The network that the benchmark trained, for any width, depth, number of classes and image size."""
        self.require(architecture)
        operations = [option for (option,) in architecture.options]
        depth = DEPTH if cells is None else cells
        return Skeleton(lambda width: Cell(operations, width, self.nodes), classes, channels, depth, in_channels)

    def operation_modules(self, network: nn.Module, architecture: Architecture) -> Iterator[tuple[int, int, nn.Module]]:
        """See `SearchSpace.operation_modules`."""
        self.require(architecture)
        for cell in network.modules():
            if isinstance(cell, Cell):
                for row, ((source, target), (option,)) in enumerate(zip(self.edges, architecture.options, strict=True)):
                    if option != NONE:
                        yield row, option, cell.edges[f"{source}-{target}"]

    def shared_operations(self, supernet: Supernet, architecture: Architecture) -> Iterator[SharedOperation]:
        """See `SearchSpace.shared_operations`."""
        self.require(architecture)
        for cell in supernet.modules():
            if isinstance(cell, PartialCell):
                raise InputError("operations on a part of the channels are narrower than those of a network.")
            if isinstance(cell, MixedCell):
                for row, (option,) in enumerate(architecture.options):
                    if option != NONE:
                        yield SharedOperation(((row, option),), cell.state(row, option))
