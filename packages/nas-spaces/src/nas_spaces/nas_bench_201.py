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
from nas_spaces.nas_bench_201_network import EDGES, NODES, NONE, OPERATIONS, SKIP, Cell, Skeleton
from nas_spaces.nas_bench_201_supernet import MixedCell, NasBench201Supernet, PartialCell
from nas_spaces.parsing import Reader
from nas_spaces.sizes import require_sizes
from nas_spaces.space import RowwiseSpace
from nas_spaces.supernet import SharedOperation, Supernet

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["EDGES", "NODES", "OPERATIONS", "NasBench201", "nas_bench_201"]

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
    return NasBench201()


class NasBench201(RowwiseSpace):
    """See `nas_bench_201`."""

    @property
    def name(self) -> str:
        """``nas_bench_201``."""
        return "nas_bench_201"

    @property
    def choices(self) -> Choices:
        """Six rows, one per edge in the order of `EDGES`; five columns in the order of `OPERATIONS`."""
        nodes = tuple(tuple(row for row, edge in enumerate(EDGES) if edge[1] == node) for node in range(1, NODES))
        return Choices(options=(OPERATIONS,) * len(EDGES), groups={"cell": range(len(EDGES))}, nodes=nodes)

    def format(self, options: Sequence[int]) -> str:
        """The benchmark's text: ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``."""
        nodes = []
        for target in range(1, NODES):
            inputs = [f"{OPERATIONS[options[row]]}~{source}" for row, (source, t) in enumerate(EDGES) if t == target]
            nodes.append("|" + "|".join(inputs) + "|")
        return "+".join(nodes)

    def parse(self, text: str) -> Architecture:
        """Read ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``; the inputs of a node may stand in any order.

        Raises:
            ArchitectureError: naming the position and what was expected there.
        """
        reader = Reader(text)
        options = dict[tuple[int, int], int]()
        for target in range(1, NODES):
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
        return self.architecture([options[edge] for edge in EDGES])

    def canonical(self, architecture: Architecture) -> str:
        """A text that architectures share when they compute the same function by the benchmark's rules.

        A skip connection is its input, what ``none`` reaches is nothing, and the inputs of a node have no order. There
        are 6,466 different ones, the number that the paper gives. The rules work on texts: a node that is nothing still
        stands in the sums it enters, so that a few cells of equal function keep different texts.
        """
        self.require(architecture)
        nodes = ["0"]
        for target in range(1, NODES):
            terms = []
            for (source, t), (option,) in zip(EDGES, architecture.options, strict=True):
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
        """Nodes 0 (input) to 3 (output); one edge per operation other than ``none``, named in ``operation``."""
        import networkx as nx

        self.require(architecture)
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_nodes_from((node, {"label": label}) for node, label in enumerate(("input", "1", "2", "output")))
        graph.nodes[0]["role"], graph.nodes[NODES - 1]["role"] = "input", "output"
        for (source, target), (option,) in zip(EDGES, architecture.options, strict=True):
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
        make = MixedCell if parts == 1 else partial(PartialCell, parts=parts)
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
        return Skeleton(lambda width: Cell(operations, width), classes, channels, depth, in_channels)

    def operation_modules(self, network: nn.Module, architecture: Architecture) -> Iterator[tuple[int, int, nn.Module]]:
        """See `SearchSpace.operation_modules`."""
        self.require(architecture)
        for cell in network.modules():
            if isinstance(cell, Cell):
                for row, ((source, target), (option,)) in enumerate(zip(EDGES, architecture.options, strict=True)):
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
