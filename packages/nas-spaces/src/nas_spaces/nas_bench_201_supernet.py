"""The supernet of NAS-Bench-201: every operation on every edge, on all channels or on a part of them."""

from torch import Tensor, nn
from torch.nn import functional as F

from nas_spaces.choices import Choices
from nas_spaces.nas_bench_201_network import (
    AVG_POOL,
    CONV_1X1,
    CONV_3X3,
    NODES,
    NONE,
    OPERATIONS,
    SKIP,
    Skeleton,
    edges_of,
    operation,
    pool,
    total,
)
from nas_spaces.operations import forget_statistics
from nas_spaces.partial_channels import PartialEdges, part_width
from nas_spaces.supernet import Drawn, Supernet, connected
from nas_spaces.twice import batch_norm, conv2d

__all__ = ["MixedCell", "NasBench201Supernet", "PartialCell"]


class NasBench201Supernet(Supernet):
    """All operations on all edges. See `Supernet` for what the weights mean."""

    def __init__(self, choices: Choices, body: Skeleton) -> None:
        super().__init__()
        self.choices, self.body = choices, body
        forget_statistics(self)

    def forward(self, images: Tensor, weights: Tensor, drawn: Drawn | None = None) -> Tensor:
        """See `Supernet.forward`; `weights` ``(edges, 5)``."""
        self.choices.require_shape(weights, drawn)
        path = None if drawn is None else [tuple(dict.fromkeys(taken)) for taken in drawn]
        logits = self.body(images, weights.to(images), path)
        return logits if drawn is None else connected(logits, weights)


class MixedCell(nn.Module):
    """The cell with every operation on every edge.

    The edges that leave one node read the same features, so their convolutions of one kernel size are a single
    convolution with as many times the output channels, and their pooling is done once. Each edge owns a slice of the
    output channels; a drawn path uses its slice alone.
    """

    def __init__(self, channels: int, nodes: int = NODES) -> None:
        super().__init__()
        self.channels, self.edges = channels, edges_of(nodes)
        fan_out = range(nodes - 1, 0, -1)
        self.conv_1x1 = nn.ModuleList(nn.Conv2d(channels, n * channels, 1, bias=False) for n in fan_out)
        self.conv_3x3 = nn.ModuleList(nn.Conv2d(channels, n * channels, 3, padding=1, bias=False) for n in fan_out)

    def forward(self, features: Tensor, weights: Tensor, drawn: Drawn | None) -> Tensor:
        """``(b, channels, h, w)`` to the same shape, for weights ``(edges, 5)``."""
        inputs: list[list[Tensor]] = [[features], *([] for _ in self.conv_1x1)]
        for source in range(len(self.conv_1x1)):
            node = total(inputs[source], features)
            outputs = self._mixed(source, node, weights) if drawn is None else self._drawn(source, node, weights, drawn)
            for target, output in outputs:
                inputs[target].append(output)
        return total(inputs[-1], features)

    def _mixed(self, source: int, node: Tensor, weights: Tensor) -> list[tuple[int, Tensor]]:
        rows = [row for row, edge in enumerate(self.edges) if edge[0] == source]
        scales = weights[rows]
        active = F.relu(node)
        convolved = self._scaled_norm(_convolve(self.conv_1x1[source], active), scales[:, CONV_1X1])
        convolved = convolved + self._scaled_norm(_convolve(self.conv_3x3[source], active), scales[:, CONV_3X3])
        pooled = pool(node)
        return [
            (self.edges[row][1], scale[SKIP] * node + scale[AVG_POOL] * pooled + part)
            for row, scale, part in zip(rows, scales, convolved.split(self.channels, dim=1), strict=True)
        ]

    def _drawn(self, source: int, node: Tensor, weights: Tensor, drawn: Drawn) -> list[tuple[int, Tensor]]:
        outputs = []
        rows = [row for row, edge in enumerate(self.edges) if edge[0] == source]
        for position, row in enumerate(rows):
            for option in drawn[row]:
                if option != NONE:
                    output = self._single(source, position, option, node, weights[row, option])
                    outputs.append((self.edges[row][1], output))
        return outputs

    def _single(self, source: int, position: int, option: int, node: Tensor, scale: Tensor) -> Tensor:
        if option == SKIP:
            return scale * node
        if option == AVG_POOL:
            return scale * pool(node)
        kernel = self._kernel(source, position, option)
        padding = kernel.shape[-1] // 2
        return self._scaled_norm(conv2d(F.relu(node), kernel, padding=padding), scale[None])

    def _kernel(self, source: int, position: int, option: int) -> Tensor:
        """The slice of one edge; `position` counts the edges that leave its source."""
        convolution = (self.conv_1x1 if option == CONV_1X1 else self.conv_3x3)[source]
        assert isinstance(convolution, nn.Conv2d)
        return convolution.weight[position * self.channels : (position + 1) * self.channels]

    def state(self, row: int, option: int) -> dict[str, Tensor]:
        """The weights of an edge's operation, named as in `operation`."""
        source, target = self.edges[row]
        position = [t for s, t in self.edges if s == source].index(target)
        return {"1.weight": self._kernel(source, position, option).detach()} if option in (CONV_1X1, CONV_3X3) else {}

    def _scaled_norm(self, features: Tensor, scales: Tensor) -> Tensor:
        """Batch normalisation whose factor is the choice weight: the multiplication costs no pass of its own."""
        return batch_norm(features, scales.repeat_interleave(self.channels))


class PartialCell(nn.Module):
    """The cell with every operation on every edge, on a part of the channels."""

    def __init__(self, channels: int, nodes: int, parts: int) -> None:
        super().__init__()
        self.nodes, edges = nodes, edges_of(nodes)
        width = part_width(channels, parts)
        names = range(len(OPERATIONS))
        made = [[None if o == NONE else operation(o, width, affine=False) for o in names] for _ in edges]
        self.edges = PartialEdges(edges, made, [1] * len(edges), parts)

    def forward(self, features: Tensor, weights: Tensor, drawn: Drawn | None) -> Tensor:
        """``(b, channels, h, w)`` to the same shape, for weights ``(edges, 5)``."""
        nodes = [features]
        for target in range(1, self.nodes):
            nodes.append(self.edges(nodes, target, weights, drawn))
        return nodes[-1]


def _convolve(convolution: nn.Module, features: Tensor) -> Tensor:
    assert isinstance(convolution, nn.Conv2d)
    return conv2d(features, convolution.weight, padding=convolution.kernel_size[0] // 2)
