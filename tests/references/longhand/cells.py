"""DARTS' supernet and those that are built like it; also with a part of the channels, as PC-DARTS has it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from longhand.operations import Parameters, affine, classify, convolution, darts_operation, factorized_reduce, norm

__all__ = ["CellReference"]


@dataclass(frozen=True)
class CellReference:
    """``(parameters, images, weights) -> logits``.

    Args:
        operations: the columns of the weights.
        predecessors: the states that each node reads.
        cells: how many.
        inputs: whether states have rows of their own behind all others, one per node.
        unshared: whether every cell has rows of its own.
        stem: ``cifar`` or ``imagenet``.
        groups: of the pointwise convolutions.
        parts: how many parts the channels have, one of which the operations see.
    """

    operations: Sequence[str]
    predecessors: Sequence[Sequence[int]]
    cells: int
    inputs: bool = False
    unshared: bool = False
    stem: str = "cifar"
    groups: int = 1
    parts: int = 1

    def __call__(self, p: Parameters, images: Tensor, weights: Tensor) -> Tensor:
        before, last, halved = self._stem(p, images)
        for index in range(self.cells):
            reduction = index in (self.cells // 3, 2 * self.cells // 3)
            table = self._table(weights, index if self.unshared else int(reduction))
            before, last = last, self._cell(p, f"body.stack.cells.{index}", before, last, table, reduction, halved)
            halved = reduction
        return classify(last, p, "body.classifier")

    def _stem(self, p: Parameters, images: Tensor) -> tuple[Tensor, Tensor, bool]:
        if self.stem == "cifar":
            x = affine(convolution(images, p, "body.stack.stem.0"), p, "body.stack.stem.1")
            return x, x, False
        x = F.relu(affine(convolution(images, p, "body.stack.stem.0", 2), p, "body.stack.stem.1"))
        before = affine(convolution(x, p, "body.stack.stem.3", 2), p, "body.stack.stem.4")
        last = convolution(F.relu(before), p, "body.stack.second_stem.1", 2)
        return before, affine(last, p, "body.stack.second_stem.2"), True

    def _table(self, weights: Tensor, kind: int) -> Tensor:
        """The factors of a cell's operations, ``(edges, operations)``."""
        edges = [(state, node) for node, states in enumerate(self.predecessors) for state in states]
        rows = [weights[kind * len(edges) + edge, : len(self.operations)] for edge in range(len(edges))]
        if self.inputs:
            start = 2 * len(edges) + kind * len(self.predecessors)
            rows = [
                row * weights[start + node, list(self.predecessors[node]).index(state)]
                for row, (state, node) in zip(rows, edges, strict=True)
            ]
        return torch.stack(rows)

    def _cell(
        self, p: Parameters, name: str, before: Tensor, last: Tensor, table: Tensor, reduction: bool, halved: bool
    ) -> Tensor:
        states = [
            factorized_reduce(before, p, f"{name}.preprocess.0")
            if halved
            else _projected(before, p, f"{name}.preprocess.0"),
            _projected(last, p, f"{name}.preprocess.1"),
        ]
        edge = 0
        for read in self.predecessors:
            total: Tensor | None = None
            for state in read:
                stride = 2 if reduction and state < 2 else 1
                term = self._edge(p, name, edge, states[state], table[edge], stride)
                total = term if total is None else total + term
                edge += 1
            assert total is not None
            states.append(total if self.parts == 1 else self._shuffled(total))
        return torch.cat(states[2:], dim=1)

    def _edge(self, p: Parameters, name: str, edge: int, x: Tensor, row: Tensor, stride: int) -> Tensor:
        width = x.shape[1] // self.parts
        mixed = torch.zeros_like(x[:, :width, ::stride, ::stride])
        for option, (operation, weight) in enumerate(zip(self.operations, row, strict=True)):
            prefix = f"{name}.edges.{edge}.{operation}"
            if self.parts > 1:
                prefix = f"{name}.edges.operations.{edge}.{option}"
            mixed = mixed + weight * darts_operation(operation, x[:, :width], p, prefix, stride, self.groups)
        if self.parts == 1:
            return mixed
        passing = x[:, width:] if stride == 1 else F.max_pool2d(x[:, width:], 2, ceil_mode=True)
        return torch.cat([mixed, row.sum() * passing], dim=1)

    def _shuffled(self, x: Tensor) -> Tensor:
        """Channel i of part j comes to place ``i parts + j``."""
        width = x.shape[1] // self.parts
        return torch.stack([x[:, part * width + i] for i in range(width) for part in range(self.parts)], dim=1)


def _projected(x: Tensor, p: Parameters, name: str) -> Tensor:
    return norm(convolution(F.relu(x), p, f"{name}.convolution"))
