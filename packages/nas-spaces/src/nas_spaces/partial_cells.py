"""The mixed cell of DARTS on a part of the channels."""

import torch
from torch import Tensor, nn

from nas_spaces.cells import CellShape, MakeOperation, preprocess
from nas_spaces.errors import InputError
from nas_spaces.operations import Pool
from nas_spaces.partial_channels import PartialEdges, part_width
from nas_spaces.supernet import Drawn

__all__ = ["PartialMixedCell"]


class PartialMixedCell(nn.Module):
    """All operations on all edges, on one of `parts` parts of the channels: see `PartialEdges`, and `MixedCell` for the rest.

    Args:
        shape: where the edges run.
        make: makes the operations.
        inputs: channels of the two cells before.
        channels: width of each node.
        reduction: whether this cell halves the resolution.
        halve: whether the cell before did, so that the older input is twice as large.
        parts: K.

    Raises:
        InputError: the channels cannot be divided, or a part of a reduction cell has less than two.
    """

    def __init__(
        self,
        shape: CellShape,
        make: MakeOperation,
        inputs: tuple[int, int],
        channels: int,
        reduction: bool,
        halve: bool,
        parts: int,
    ) -> None:
        super().__init__()
        self.nodes = shape.nodes
        self.preprocess = preprocess(inputs, channels, halve, affine=False)
        strides = [2 if reduction and source < 2 else 1 for source, _ in shape.edges]
        width = part_width(channels, parts)
        if reduction and width < 2:
            raise InputError(
                f"one of {parts} parts of {channels} channels is too narrow to be halved in size; give {2 * parts} or more."
            )

        def operation(name: str, stride: int) -> nn.Module | None:
            if name == "none":
                return None
            module = make(name, width, stride, False)
            return nn.Sequential(module, nn.BatchNorm2d(width, affine=False)) if isinstance(module, Pool) else module

        made = [[operation(name, stride) for name in shape.operations] for stride in strides]
        self.edges = PartialEdges(shape.edges, made, strides, parts)

    def forward(self, before: Tensor, last: Tensor, weights: Tensor, drawn: Drawn | None) -> Tensor:
        """See `MixedCell.forward`."""
        states = [self.preprocess[0](before), self.preprocess[1](last)]
        for node in range(self.nodes):
            states.append(self.edges(states, node, weights, drawn))
        return torch.cat(states[2:], dim=1)
