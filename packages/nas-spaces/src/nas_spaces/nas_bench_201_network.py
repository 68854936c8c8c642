"""The network of NAS-Bench-201: stem, three stages of cells with residual reductions between them, classifier."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_spaces.sizes import require_sizes
from nas_spaces.skeleton import require_images
from nas_spaces.supernet import Drawn

__all__ = ["EDGES", "NODES", "NONE", "OPERATIONS", "SKIP", "Cell", "Skeleton", "edges_of", "operation", "pool", "total"]

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NONE, SKIP, CONV_1X1, CONV_3X3, AVG_POOL = range(5)

NODES = 4
"""Node 0 is the input of the cell, node 3 its output."""


def edges_of(nodes: int) -> tuple[tuple[int, int], ...]:
    """The edges of a cell as (source, target), in the order of the rows of the choices."""
    return tuple((source, target) for target in range(1, nodes) for source in range(target))


EDGES = edges_of(NODES)
"""Those of the benchmark's cell: ``((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))``."""


class Skeleton(nn.Module):
    """Stem, three stages of cells with residual reductions between them, and the classifier.

    Args:
        make_cell: channels to a cell that keeps the shape.
        classes: number of classes.
        channels: of the stem and of the first stage; each further stage has twice as many.
        cells: of each stage.
        in_channels: channels of the images.

    Raises:
        InputError: a size is no whole number of at least 1.
    """

    def __init__(
        self, make_cell: Callable[[int], nn.Module], classes: int, channels: int, cells: int, in_channels: int
    ) -> None:
        super().__init__()
        require_sizes(classes=classes, channels=channels, cells=cells, in_channels=in_channels)
        widths = [channels, 2 * channels, 4 * channels]
        self.in_channels = in_channels
        self.stem = nn.Sequential(nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        self.stages = nn.ModuleList(nn.ModuleList(make_cell(width) for _ in range(cells)) for width in widths)
        self.reductions = nn.ModuleList(_Reduction(width) for width in widths[:-1])
        self.last = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU())
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor, *choice: Tensor | Drawn | None) -> Tensor:
        """``(b, in_channels, h, w) -> (b, classes)``; every cell is given `choice` too."""
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
        halve = nn.AvgPool2d(2, stride=2, ceil_mode=True)
        self.shortcut = nn.Sequential(halve, nn.Conv2d(channels, 2 * channels, 1, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        return self.shortcut(features) + self.main(features)


class Cell(nn.Module):
    """One architecture's cell: the options of its edges, six for four nodes."""

    def __init__(self, options: Sequence[int], channels: int, nodes: int = NODES) -> None:
        super().__init__()
        self.nodes = nodes
        self.edges = nn.ModuleDict(
            {
                f"{source}-{target}": operation(option, channels)
                for (source, target), option in zip(edges_of(nodes), options, strict=True)
                if option != NONE
            }
        )

    def forward(self, features: Tensor) -> Tensor:
        """``(b, channels, h, w)`` to the same shape."""
        nodes = [features]
        for target in range(1, self.nodes):
            inputs = [
                self.edges[f"{source}-{target}"](nodes[source])
                for source in range(target)
                if f"{source}-{target}" in self.edges
            ]
            nodes.append(total(inputs, features))
        return nodes[-1]


def operation(option: int, channels: int, affine: bool = True) -> nn.Module:
    """The module of an option other than ``none``; the convolutions have a ReLU before and a normalisation behind them."""
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


def total(inputs: list[Tensor], like: Tensor) -> Tensor:
    """The sum of a node's inputs; a node without any is zero."""
    return sum(inputs[1:], inputs[0]) if inputs else torch.zeros_like(like)


def pool(features: Tensor) -> Tensor:
    """3 x 3 average pooling that keeps the size and leaves the padding out of the count."""
    return F.avg_pool2d(features, 3, stride=1, padding=1, count_include_pad=False)
