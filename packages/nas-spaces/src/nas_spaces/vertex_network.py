"""Networks of cells whose vertices carry the operations, as NAS-Bench-101 builds them: stem, three stacks, classifier."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_spaces.errors import InputError
from nas_spaces.nas_bench_101_cells import OUTPUT, DagCell
from nas_spaces.sizes import require_sizes
from nas_spaces.skeleton import require_images

__all__ = ["OPERATIONS", "ConvNormReLU", "Stacks", "VertexCell", "vertex_channels"]

OPERATIONS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
"""In the benchmark's order."""

KERNELS = (3, 1, None)
"""The size of each operation's convolution; None for the pooling."""

STACKS = 3


class ConvNormReLU(nn.Sequential):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, affine: bool = True) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs, affine=affine),
            nn.ReLU(),
        )


def pool(features: Tensor) -> Tensor:
    """3 x 3 maximum pooling that keeps the size."""
    return F.max_pool2d(features, 3, stride=1, padding=1)


class Stacks(nn.Module):
    """A 3 x 3 convolution, three stacks of cells with 2 x 2 maximum pooling between, the mean over the image, a classifier.

    Args:
        make_cell: ``(input channels, channels)`` to a cell and its output channels.
        classes: number of classes.
        channels: of the stem and of the first stack; each further stack has twice as many.
        cells: of each stack.
        in_channels: channels of the images.

    Raises:
        InputError: a size is no whole number of at least 1.
    """

    def __init__(
        self,
        make_cell: Callable[[int, int], tuple[nn.Module, int]],
        *,
        classes: int,
        channels: int,
        cells: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        require_sizes(classes=classes, channels=channels, cells=cells, in_channels=in_channels)
        self.in_channels = in_channels
        self.stem = ConvNormReLU(in_channels, channels, 3)
        self.stacks = nn.ModuleList()
        width = channels
        for stack in range(STACKS):
            modules = nn.ModuleList()
            for _ in range(cells):
                cell, width = make_cell(width, channels * 2**stack)
                modules.append(cell)
            self.stacks.append(modules)
        self.classifier = nn.Linear(width, classes)

    def forward(self, images: Tensor, *choice: object) -> Tensor:
        """``(b, in_channels, h, w) -> (b, classes)``; every cell is given `choice` too."""
        require_images(images, self.in_channels, STACKS - 1)
        features = self.stem(images)
        for index, stack in enumerate(self.stacks):
            if index:
                # Rounded up, so that odd sizes lose no row.
                features = F.max_pool2d(features, 2, ceil_mode=True)
            assert isinstance(stack, nn.ModuleList)
            for cell in stack:
                features = cell(features, *choice)
        return self.classifier(features.mean(dim=(2, 3)))


def vertex_channels(cell: DagCell, channels: int) -> dict[int, int]:
    """The width of each vertex between input and output.

    The output's `channels` are shared out evenly among the vertices that it reads, the first of them taking one more each
    while a remainder lasts; any other vertex is as wide as the widest one that reads it.

    Raises:
        InputError: there are fewer channels than vertices to share them.
    """
    interior = range(1, len(cell.operations) + 1)
    read = [vertex for vertex in interior if (vertex, OUTPUT) in cell.edges]
    if read and channels < len(read):
        raise InputError(
            f"{channels} channels were asked for; the output of this cell joins {len(read)} vertices, which share them: "
            f"use at least {len(read)}."
        )
    share, more = divmod(channels, max(1, len(read)))
    widths = {vertex: share + (index < more) for index, vertex in enumerate(read)}
    for vertex in reversed(interior):
        if vertex not in widths:
            widths[vertex] = max(widths[t] for s, t in cell.edges if s == vertex)
    return widths


class VertexCell(nn.Module):
    """One cell: a vertex adds up what it reads and applies its operation; the output puts the vertices it reads side by side.

    What comes from the input of the cell goes through a 1 x 1 convolution of its own, and is added at the output too.
    Where a vertex is one channel wider than its reader, the last channel is left out.
    """

    def __init__(self, cell: DagCell, inputs: int, channels: int) -> None:
        super().__init__()
        self.edges = cell.edges
        self.widths = vertex_channels(cell, channels)
        targets = {target: self.widths.get(target, channels) for source, target in cell.edges if source == 0}
        self.projections = nn.ModuleDict(
            {str(target): ConvNormReLU(inputs, width, 1) for target, width in targets.items()}
        )
        kernels = [KERNELS[operation] for operation in cell.operations]
        self.convolutions = nn.ModuleDict(
            {
                str(vertex): ConvNormReLU(self.widths[vertex], self.widths[vertex], kernel)
                for vertex, kernel in enumerate(kernels, start=1)
                if kernel is not None
            }
        )

    def forward(self, features: Tensor) -> Tensor:
        """``(b, inputs, h, w) -> (b, channels, h, w)``."""
        values: dict[int, Tensor] = {}
        for vertex, width in sorted(self.widths.items()):
            terms = [values[s][:, :width] for s, t in self.edges if t == vertex and s]
            total = _sum(terms + self._projected(features, vertex))
            key = str(vertex)
            values[vertex] = self.convolutions[key](total) if key in self.convolutions else pool(total)
        read = [values[vertex] for vertex in values if (vertex, OUTPUT) in self.edges]
        return _sum(([torch.cat(read, dim=1)] if read else []) + self._projected(features, OUTPUT))

    def _projected(self, features: Tensor, target: int) -> list[Tensor]:
        return [self.projections[str(target)](features)] if (0, target) in self.edges else []


def _sum(terms: Sequence[Tensor]) -> Tensor:
    return sum(terms[1:], terms[0])
