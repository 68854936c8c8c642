"""The supernet of cells whose vertices carry the operations: every edge and every operation, each with its weight."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas_spaces.choices import Choices
from nas_spaces.nas_bench_101_cells import OUTPUT
from nas_spaces.operations import forget_statistics
from nas_spaces.supernet import Drawn, Supernet, connected
from nas_spaces.vertex_network import KERNELS, ConvNormReLU, Stacks, pool

__all__ = ["VertexRows", "VertexSupernet"]


@dataclass(frozen=True)
class VertexRows:
    """Where the choice weights of a cell stand.

    Args:
        edges: for each edge ``(source, target)`` the row and column of its weight; None for an edge that is always there.
        operations: the rows of vertices 1, 2, ...; the columns are the operations.
    """

    edges: Mapping[tuple[int, int], tuple[int, int] | None]
    operations: tuple[int, ...]


@dataclass(frozen=True)
class _Choice:
    """The weights of one evaluation: those of the edges that are evaluated, and of each vertex's evaluated operations."""

    edges: Mapping[tuple[int, int], Tensor | None]
    operations: Mapping[int, Mapping[int, Tensor]]


class VertexSupernet(Supernet):
    """All edges and all operations; see `Supernet` for what the weights mean.

    A vertex adds up what it reads, each edge times its weight; its value is the sum of its operations, each times its
    weight. The output puts all vertices side by side, each times the weight of its edge to the output, and adds the
    input, brought to that width by a 1 x 1 convolution. Every vertex is `channels` wide whatever is chosen, where one
    architecture's network shares them out among the vertices that its output reads.
    """

    def __init__(
        self, choices: Choices, rows: VertexRows, *, classes: int, channels: int, cells: int, in_channels: int
    ) -> None:
        super().__init__()
        self.choices, self.rows = choices, rows

        def make(inputs: int, width: int) -> tuple[nn.Module, int]:
            return _MixedCell(rows, inputs, width), width * len(rows.operations)

        self.body = Stacks(make, classes=classes, channels=channels, cells=cells, in_channels=in_channels)
        forget_statistics(self)

    def forward(self, images: Tensor, weights: Tensor, drawn: Drawn | None = None) -> Tensor:
        """See `Supernet.forward`."""
        self.choices.require_shape(weights, drawn)
        factors = weights.to(images)
        edges = {
            edge: None if place is None else factors[place]
            for edge, place in self.rows.edges.items()
            if drawn is None or place is None or place[1] in drawn[place[0]]
        }
        operations = {
            vertex: {
                option: factors[row, option]
                for option in (range(len(KERNELS)) if drawn is None else dict.fromkeys(drawn[row]))
            }
            for vertex, row in enumerate(self.rows.operations, start=1)
        }
        logits = self.body(images, _Choice(edges, operations))
        return logits if drawn is None else connected(logits, weights)


class _MixedCell(nn.Module):
    """One cell with everything in it."""

    def __init__(self, rows: VertexRows, inputs: int, channels: int) -> None:
        super().__init__()
        vertices = range(1, len(rows.operations) + 1)
        self.channels = channels
        self.vertices = vertices
        widths = {**dict.fromkeys(vertices, channels), OUTPUT: channels * len(vertices)}
        self.projections = nn.ModuleDict(
            {
                str(target): ConvNormReLU(inputs, widths[target], 1, affine=False)
                for source, target in rows.edges
                if source == 0
            }
        )
        self.convolutions = nn.ModuleDict(
            {
                f"{vertex}-{option}": ConvNormReLU(channels, channels, kernel, affine=False)
                for vertex in vertices
                for option, kernel in enumerate(KERNELS)
                if kernel is not None
            }
        )

    def forward(self, features: Tensor, choice: _Choice) -> Tensor:
        """``(b, inputs, h, w) -> (b, vertices * channels, h, w)``."""
        values: dict[int, Tensor] = {}
        for vertex in self.vertices:
            options = choice.operations[vertex]
            if not options:
                continue
            terms = [
                _scaled(values[s] if s else self.projections[str(vertex)](features), factor)
                for (s, t), factor in choice.edges.items()
                if t == vertex and (s == 0 or s in values)
            ]
            # A vertex that nothing reaches is nothing: no convolution of zeros.
            if terms:
                values[vertex] = self._mix(vertex, sum(terms[1:], terms[0]), options)
        return self._output(features, values, choice)

    def _mix(self, vertex: int, total: Tensor, options: Mapping[int, Tensor]) -> Tensor:
        outputs = [
            factor * (pool(total) if KERNELS[option] is None else self.convolutions[f"{vertex}-{option}"](total))
            for option, factor in options.items()
        ]
        return sum(outputs[1:], outputs[0])

    def _output(self, features: Tensor, values: Mapping[int, Tensor], choice: _Choice) -> Tensor:
        nothing = features.new_zeros(len(features), self.channels, *features.shape[2:])
        blocks = [
            _scaled(values[vertex], choice.edges[vertex, OUTPUT])
            if vertex in values and (vertex, OUTPUT) in choice.edges
            else nothing
            for vertex in self.vertices
        ]
        joined = torch.cat(blocks, dim=1)
        if (0, OUTPUT) in choice.edges:
            joined = joined + _scaled(self.projections[str(OUTPUT)](features), choice.edges[0, OUTPUT])
        return joined


def _scaled(features: Tensor, factor: Tensor | None) -> Tensor:
    return features if factor is None else factor * features
