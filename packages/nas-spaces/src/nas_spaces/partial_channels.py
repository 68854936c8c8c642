"""Mixed edges on a part of the channels, as PC-DARTS searches.

Xu et al., "PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search", ICLR 2020.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_spaces.errors import InputError
from nas_spaces.supernet import Drawn

__all__ = ["PartialEdges", "part_width", "shuffle"]


def part_width(channels: int, parts: int) -> int:
    """The channels that go through the operations, one of `parts` equal parts.

    Raises:
        InputError: the channels cannot be divided.
    """
    if parts < 1 or channels % parts:
        raise InputError(
            f"{channels} channels cannot be divided into {parts} equal parts; give a number of channels that can."
        )
    return channels // parts


def shuffle(features: Tensor, groups: int) -> Tensor:
    """Interleave the channels of `groups` equal groups: ``a0 a1 b0 b1`` to ``a0 b0 a1 b1``, ``(b, c, h, w)``."""
    b, c, h, w = features.shape
    return features.reshape(b, groups, c // groups, h, w).transpose(1, 2).reshape(b, c, h, w)


class PartialEdges(nn.Module):
    """All operations on all edges of a cell, on the first of `parts` parts of the channels (Eq. 2).

    The other channels pass by, halved in size by maximum pooling where the operations have stride 2, and are weighted by
    the sum of the edge's choice weights: 1 for a distribution over the operations, or the weight of the edge where there
    is one (Eq. 3). Behind a node's sum the channels are shuffled, so that the next operations see others.

    Args:
        edges: ``(state, node)`` of each edge.
        operations: for each edge its operations on the part, in the order of the options; None for ``none``.
        strides: of each edge, 1 or 2.
        parts: K.

    Differs from the paper:
        1. Sizes that are odd are rounded up where they are halved, as the operations round.
    """

    def __init__(
        self,
        edges: Sequence[tuple[int, int]],
        operations: Sequence[Sequence[nn.Module | None]],
        strides: Sequence[int],
        parts: int,
    ) -> None:
        super().__init__()
        self.edges, self.strides, self.parts = tuple(edges), tuple(strides), parts
        self.options = [len(options) for options in operations]
        self.operations = nn.ModuleList(
            nn.ModuleDict({str(option): module for option, module in enumerate(options) if module is not None})
            for options in operations
        )

    def forward(self, states: Sequence[Tensor], node: int, weights: Tensor, drawn: Drawn | None) -> Tensor:
        """The sum of the edges that enter a node.

        Args:
            states: ``states[state]`` is ``(b, c, h, w)``.
            node: as in `edges`.
            weights: ``(edges, options)``.
            drawn: for each edge the options to evaluate; all of them when it is None.
        """
        mixed: list[Tensor] = []
        passing: list[Tensor] = []
        for edge, (state, target) in enumerate(self.edges):
            if target != node:
                continue
            width = part_width(states[state].shape[1], self.parts)
            part, rest = states[state].split([width, states[state].shape[1] - width], dim=1)
            stride, modules = self.strides[edge], self.operations[edge]
            assert isinstance(modules, nn.ModuleDict)
            taken = range(self.options[edge]) if drawn is None else drawn[edge]
            if not mixed:
                # Where no edge gives anything, as on a path of ``none``, the node is zero.
                mixed.append(torch.zeros_like(part[:, :, ::stride, ::stride]))
                passing.append(torch.zeros_like(rest[:, :, ::stride, ::stride]))
            mixed += [weights[edge, option] * modules[str(option)](part) for option in taken if str(option) in modules]
            if taken and rest.shape[1]:
                halved = rest if stride == 1 else F.max_pool2d(rest, 2, ceil_mode=True)
                passing.append(sum(weights[edge, option] for option in taken) * halved)
        whole = torch.cat([sum(mixed[1:], mixed[0]), sum(passing[1:], passing[0])], dim=1)
        return shuffle(whole, self.parts)
