"""NAS-Bench-201: cells of 4 nodes whose 6 edges each carry one of 5 operations; 15,625 architectures.

Dong and Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_spaces.architecture import Architecture
from nas_spaces.choices import Choices
from nas_spaces.errors import InputError
from nas_spaces.operations import forget_statistics
from nas_spaces.parsing import Reader
from nas_spaces.partial_channels import PartialEdges, part_width
from nas_spaces.skeleton import require_images
from nas_spaces.space import RowwiseSpace
from nas_spaces.supernet import Drawn, SharedOperation, Supernet, connected
from nas_spaces.twice import batch_norm, conv2d

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["EDGES", "OPERATIONS", "NasBench201", "nas_bench_201"]

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NONE, SKIP, CONV_1X1, CONV_3X3, AVG_POOL = range(5)

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""The edges of the cell as (source, target), in the order of the rows of the choices."""

NODES = 4
DEPTH = 5
"""Cells per stage in the benchmark; there are three stages."""


def nas_bench_201() -> "NasBench201":
    """The NAS-Bench-201 space: 6 edges x 5 operations.

    `cells` counts the cells of each of the three stages (5 in the benchmark); a stage has twice the channels and half
    the resolution of the one before. Images of any size work: odd sizes are rounded up where the resolution is halved.

    Example:
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
        depth = DEPTH if cells is None else cells
        make = _MixedCell if parts == 1 else partial(_PartialCell, parts=parts)
        return _Supernet(self.choices, _Skeleton(make, classes, channels, depth, in_channels))

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
        return _Skeleton(lambda width: _Cell(operations, width), classes, channels, depth, in_channels)

    def operation_modules(self, network: nn.Module, architecture: Architecture) -> Iterator[tuple[int, int, nn.Module]]:
        """See `SearchSpace.operation_modules`."""
        self.require(architecture)
        for cell in network.modules():
            if isinstance(cell, _Cell):
                for row, ((source, target), (option,)) in enumerate(zip(EDGES, architecture.options, strict=True)):
                    if option != NONE:
                        yield row, option, cell.edges[f"{source}-{target}"]

    def shared_operations(self, supernet: Supernet, architecture: Architecture) -> Iterator[SharedOperation]:
        """See `SearchSpace.shared_operations`."""
        self.require(architecture)
        for cell in supernet.modules():
            if isinstance(cell, _PartialCell):
                raise InputError("operations on a part of the channels are narrower than those of a network.")
            if isinstance(cell, _MixedCell):
                for row, (option,) in enumerate(architecture.options):
                    if option != NONE:
                        yield SharedOperation(((row, option),), cell.state(row, option))


class _Skeleton(nn.Module):
    """Stem, three stages of cells with residual reductions between them, and the classifier."""

    def __init__(
        self, make_cell: Callable[[int], nn.Module], classes: int, channels: int, cells: int, in_channels: int
    ) -> None:
        super().__init__()
        widths = [channels, 2 * channels, 4 * channels]
        self.in_channels = in_channels
        self.stem = nn.Sequential(nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        self.stages = nn.ModuleList(nn.ModuleList(make_cell(width) for _ in range(cells)) for width in widths)
        self.reductions = nn.ModuleList(_Reduction(width) for width in widths[:-1])
        self.last = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU())
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor, *choice: Tensor | Drawn | None) -> Tensor:
        require_images(images, self.in_channels, len(self.reductions))
        features = self.stem(images)
        for index, stage in enumerate(self.stages):
            if index > 0:
                features = self.reductions[index - 1](features)
            assert isinstance(stage, nn.ModuleList)
            for cell in stage:
                features = cell(features, *choice)
        pooled = self.last(features).mean(dim=(2, 3))
        return self.classifier(pooled)


class _Reduction(nn.Module):
    """A residual block that halves the resolution and doubles the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(),
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * channels),
        )
        # Rounding up makes odd sizes meet those of the strided convolution; for even sizes nothing changes.
        pool = nn.AvgPool2d(2, stride=2, ceil_mode=True)
        self.shortcut = nn.Sequential(pool, nn.Conv2d(channels, 2 * channels, 1, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        return self.shortcut(features) + self.main(features)


class _Cell(nn.Module):
    """One architecture's cell."""

    def __init__(self, options: Sequence[int], channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleDict(
            {
                f"{source}-{target}": _operation(option, channels)
                for (source, target), option in zip(EDGES, options, strict=True)
                if option != NONE
            }
        )

    def forward(self, features: Tensor) -> Tensor:
        nodes = [features]
        for target in range(1, NODES):
            inputs = [
                self.edges[f"{source}-{target}"](nodes[source])
                for source in range(target)
                if f"{source}-{target}" in self.edges
            ]
            nodes.append(_total(inputs, features))
        return nodes[-1]


def _operation(option: int, channels: int, affine: bool = True) -> nn.Module:
    if option == SKIP:
        return nn.Identity()
    if option == AVG_POOL:
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    kernel = 1 if option == CONV_1X1 else 3
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    )


def _total(inputs: list[Tensor], like: Tensor) -> Tensor:
    """The sum of a node's inputs; a node without any is zero."""
    return sum(inputs[1:], inputs[0]) if inputs else torch.zeros_like(like)


class _Supernet(Supernet):
    """All operations on all edges. See `Supernet` for what the weights mean."""

    def __init__(self, choices: Choices, body: _Skeleton) -> None:
        super().__init__()
        self.choices, self.body = choices, body
        forget_statistics(self)

    def forward(self, images: Tensor, weights: Tensor, drawn: Drawn | None = None) -> Tensor:
        """See `Supernet.forward`; `weights` ``(6, 5)``."""
        self.choices.require_shape(weights, drawn)
        path = None if drawn is None else [tuple(dict.fromkeys(taken)) for taken in drawn]
        logits = self.body(images, weights.to(images), path)
        return logits if drawn is None else connected(logits, weights)


class _MixedCell(nn.Module):
    """The cell with every operation on every edge.

    The edges that leave one node read the same features, so their convolutions of one kernel size are a single
    convolution with as many times the output channels, and their pooling is done once. Each edge owns a slice of the
    output channels; a drawn path uses its slice alone.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        fan_out = [sum(source == node for source, _ in EDGES) for node in range(NODES - 1)]
        self.conv_1x1 = nn.ModuleList(nn.Conv2d(channels, n * channels, 1, bias=False) for n in fan_out)
        self.conv_3x3 = nn.ModuleList(nn.Conv2d(channels, n * channels, 3, padding=1, bias=False) for n in fan_out)

    def forward(self, features: Tensor, weights: Tensor, drawn: Drawn | None) -> Tensor:
        inputs: list[list[Tensor]] = [[features], [], [], []]
        for source in range(NODES - 1):
            node = _total(inputs[source], features)
            outputs = self._mixed(source, node, weights) if drawn is None else self._drawn(source, node, weights, drawn)
            for target, output in outputs:
                inputs[target].append(output)
        return _total(inputs[-1], features)

    def _mixed(self, source: int, node: Tensor, weights: Tensor) -> list[tuple[int, Tensor]]:
        rows = [row for row, edge in enumerate(EDGES) if edge[0] == source]
        scales = weights[rows]
        active = F.relu(node)
        convolved = self._scaled_norm(_convolve(self.conv_1x1[source], active), scales[:, CONV_1X1])
        convolved = convolved + self._scaled_norm(_convolve(self.conv_3x3[source], active), scales[:, CONV_3X3])
        pooled = _pool(node)
        return [
            (EDGES[row][1], scale[SKIP] * node + scale[AVG_POOL] * pooled + part)
            for row, scale, part in zip(rows, scales, convolved.split(self.channels, dim=1), strict=True)
        ]

    def _drawn(self, source: int, node: Tensor, weights: Tensor, drawn: Drawn) -> list[tuple[int, Tensor]]:
        outputs = []
        rows = [row for row, edge in enumerate(EDGES) if edge[0] == source]
        for position, row in enumerate(rows):
            for option in drawn[row]:
                if option != NONE:
                    output = self._single(source, position, option, node, weights[row, option])
                    outputs.append((EDGES[row][1], output))
        return outputs

    def _single(self, source: int, position: int, option: int, node: Tensor, scale: Tensor) -> Tensor:
        if option == SKIP:
            return scale * node
        if option == AVG_POOL:
            return scale * _pool(node)
        kernel = self._kernel(source, position, option)
        padding = kernel.shape[-1] // 2
        return self._scaled_norm(conv2d(F.relu(node), kernel, padding=padding), scale[None])

    def _kernel(self, source: int, position: int, option: int) -> Tensor:
        """The slice of one edge; `position` counts the edges that leave its source."""
        convolution = (self.conv_1x1 if option == CONV_1X1 else self.conv_3x3)[source]
        assert isinstance(convolution, nn.Conv2d)
        return convolution.weight[position * self.channels : (position + 1) * self.channels]

    def state(self, row: int, option: int) -> dict[str, Tensor]:
        """The weights of an edge's operation, named as in `_operation`."""
        source, target = EDGES[row]
        position = [t for s, t in EDGES if s == source].index(target)
        return {"1.weight": self._kernel(source, position, option).detach()} if option in (CONV_1X1, CONV_3X3) else {}

    def _scaled_norm(self, features: Tensor, scales: Tensor) -> Tensor:
        """Batch normalisation whose factor is the choice weight: the multiplication costs no pass of its own."""
        return batch_norm(features, scales.repeat_interleave(self.channels))


class _PartialCell(nn.Module):
    """The cell with every operation on every edge, on a part of the channels."""

    def __init__(self, channels: int, parts: int) -> None:
        super().__init__()
        width = part_width(channels, parts)
        names = range(len(OPERATIONS))
        made = [[None if o == NONE else _operation(o, width, affine=False) for o in names] for _ in EDGES]
        self.edges = PartialEdges(EDGES, made, [1] * len(EDGES), parts)

    def forward(self, features: Tensor, weights: Tensor, drawn: Drawn | None) -> Tensor:
        nodes = [features]
        for target in range(1, NODES):
            nodes.append(self.edges(nodes, target, weights, drawn))
        return nodes[-1]


def _convolve(convolution: nn.Module, features: Tensor) -> Tensor:
    assert isinstance(convolution, nn.Conv2d)
    return conv2d(features, convolution.weight, padding=convolution.kernel_size[0] // 2)


def _pool(features: Tensor) -> Tensor:
    return F.avg_pool2d(features, 3, stride=1, padding=1, count_include_pad=False)
