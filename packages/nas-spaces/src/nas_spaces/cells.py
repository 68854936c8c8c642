"""Cells with two inputs and a chain of nodes, as in DARTS: one architecture's cell, and all of them at once.

States 0 and 1 are the outputs of the two cells before, state ``i + 2`` is node i: the sum of its edges. The cell's
output is the nodes side by side. In a reduction cell the edges that leave states 0 and 1 have stride 2.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_spaces.depthwise import merge, split
from nas_spaces.fused import add_normalized, normalized, normalized_relu
from nas_spaces.modes import transformed
from nas_spaces.operations import DropPath, FactorizedReduce, Pool, ReLUConvNorm, Separable
from nas_spaces.supernet import Drawn

__all__ = ["Cell", "CellShape", "Connection", "MakeOperation", "MixedCell", "Node", "preprocess"]

MakeOperation: TypeAlias = Callable[[str, int, int, bool], nn.Module]
"""``(name, channels, stride, affine)`` to a module; never called for ``none``."""

Connection: TypeAlias = tuple[str, int]
"""One input of a node: the operation's name and the state it reads."""

Node: TypeAlias = tuple[Connection, Connection]
"""What a node of an architecture reads."""


@dataclass(frozen=True)
class CellShape:
    """Where the edges of a cell may run.

    Args:
        operations: the names of the operations, in the order of the columns of the choices.
        predecessors: for each node the states it may read.
    """

    operations: tuple[str, ...]
    predecessors: tuple[tuple[int, ...], ...]

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """All ``(state, node)``, node by node: the rows of the choices."""
        return tuple((source, node) for node, sources in enumerate(self.predecessors) for source in sources)

    @property
    def nodes(self) -> int:
        """The number of nodes."""
        return len(self.predecessors)


def preprocess(inputs: tuple[int, int], channels: int, halve: bool, affine: bool) -> nn.ModuleList:
    """Bring both inputs to the cell's width, and the older one to the size of the newer."""
    before, last = inputs
    first: nn.Module = (
        FactorizedReduce(before, channels, affine=affine) if halve else ReLUConvNorm(before, channels, affine=affine)
    )
    return nn.ModuleList([first, ReLUConvNorm(last, channels, affine=affine)])


class Cell(nn.Module):
    """The cell of one architecture.

    Args:
        nodes: the connections of each node.
        make: makes the operations.
        inputs: channels of the two cells before.
        channels: width of each node.
        reduction: whether this cell halves the resolution.
        halve: whether the cell before did, so that the older input is twice as large.
    """

    def __init__(
        self,
        nodes: Sequence[Sequence[Connection]],
        make: MakeOperation,
        inputs: tuple[int, int],
        channels: int,
        reduction: bool,
        halve: bool,
    ) -> None:
        super().__init__()
        self.reduction = reduction
        self.sources = tuple(tuple(source for _, source in node) for node in nodes)
        self.preprocess = preprocess(inputs, channels, halve, affine=True)
        self.operations = nn.ModuleList(
            nn.ModuleList(make(name, channels, 2 if reduction and source < 2 else 1, True) for name, source in node)
            for node in nodes
        )
        self.drop_path = DropPath()

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        """The outputs of the two cells before, to ``(b, nodes * channels, h', w')``."""
        states = [self.preprocess[0](before), self.preprocess[1](last)]
        for sources, operations in zip(self.sources, self.operations, strict=True):
            assert isinstance(operations, nn.ModuleList)
            outputs = [self._run(operation, states[s]) for s, operation in zip(sources, operations, strict=True)]
            states.append(sum(outputs[1:], outputs[0]))
        return torch.cat(states[2:], dim=1)

    def _run(self, operation: nn.Module, features: Tensor) -> Tensor:
        output = operation(features)
        return output if isinstance(operation, nn.Identity) else self.drop_path(output)


class MixedCell(nn.Module):
    """All operations on all edges, with batch normalisation without affine parameters.

    A state is read once for all the edges that leave it: its ReLU, its pooled forms and, for dilated kernels, its
    quarters (see `depthwise`) are shared. The choice weight is the factor of the last normalisation of a convolution,
    and so costs no pass of its own.
    """

    def __init__(
        self,
        shape: CellShape,
        make: MakeOperation,
        inputs: tuple[int, int],
        channels: int,
        reduction: bool,
        halve: bool,
    ) -> None:
        super().__init__()
        self.shape, self.reduction = shape, reduction
        self.preprocess = preprocess(inputs, channels, halve, affine=False)
        self.edges = nn.ModuleList(
            nn.ModuleDict(
                {name: make(name, channels, self._stride(source), False) for name in shape.operations if name != "none"}
            )
            for source, _ in shape.edges
        )

    def _stride(self, source: int) -> int:
        return 2 if self.reduction and source < 2 else 1

    def forward(self, before: Tensor, last: Tensor, weights: Tensor, drawn: Drawn | None) -> Tensor:
        """Mix the operations.

        Args:
            before: output of the cell before the last.
            last: output of the last cell.
            weights: ``(edges, operations)``.
            drawn: for each edge the operations to evaluate; all of them when it is None.
        """
        states = [self._preprocess(0, before), self._preprocess(1, last)]
        sums = [_Sum() for _ in range(self.shape.nodes)]
        # Taken apart at once: the gradient of a single entry would be a whole table of zeros.
        scales = [row.unbind() for row in weights.unbind()]
        for source in range(self.shape.nodes + 1):
            if source >= 2:
                states.append(sums[source - 2].total(states[0], self._stride(0)))
            self._send(source, states[source], scales, drawn, sums)
        states.append(sums[-1].total(states[0], self._stride(0)))
        return torch.cat(states[2:], dim=1)

    def _preprocess(self, index: int, features: Tensor) -> Tensor:
        module = self.preprocess[index]
        assert isinstance(module, ReLUConvNorm | FactorizedReduce)
        return normalized(module.convolve(F.relu(features)))

    def _send(
        self,
        source: int,
        state: Tensor,
        scales: Sequence[Sequence[Tensor]],
        drawn: Drawn | None,
        sums: list["_Sum"],
    ) -> None:
        shared = _Source(state, self._stride(source))
        for edge, (start, node) in enumerate(self.shape.edges):
            if start != source:
                continue
            modules = self.edges[edge]
            assert isinstance(modules, nn.ModuleDict)
            for option in range(len(self.shape.operations)) if drawn is None else drawn[edge]:
                name = self.shape.operations[option]
                if name != "none":
                    shared.send(modules[name], scales[edge][option], sums[node])


class _Sum:
    """A node while its inputs arrive: a part in full resolution and a part in quarters."""

    def __init__(self) -> None:
        self.whole: Tensor | None = None
        self.quarters: Tensor | None = None

    def add_scaled(self, features: Tensor, scale: Tensor) -> None:
        """Add ``scale * features``."""
        if self.whole is None:
            self.whole = features * scale
        elif transformed(features, scale):  # vmap has no rule for the other one
            self.whole = self.whole + features * scale
        else:
            self.whole = self.whole.addcmul_(features, scale)

    def add_normalized(self, features: Tensor, pointwise: nn.Conv2d, scale: Tensor, *, quarters: bool) -> None:
        """Add ``scale * norm(pointwise(features))``."""
        before = self.quarters if quarters else self.whole
        after = add_normalized(before, features, pointwise.weight, scale, pointwise.groups)
        if quarters:
            self.quarters = after
        else:
            self.whole = after

    def total(self, like: Tensor, stride: int) -> Tensor:
        if self.quarters is not None:
            merged = merge(self.quarters)
            if self.whole is None:
                self.whole = merged
            else:
                inplace = not transformed(self.whole, merged)  # vmap has no rule for it
                self.whole = self.whole.add_(merged) if inplace else self.whole + merged
        return torch.zeros_like(like[:, :, ::stride, ::stride]) if self.whole is None else self.whole


class _Source:
    """A state and what several edges need of it, made when the first of them asks."""

    def __init__(self, state: Tensor, stride: int) -> None:
        self.state, self.stride = state, stride
        self._made: dict[str, Tensor] = {}

    def send(self, operation: nn.Module, scale: Tensor, node: _Sum) -> None:
        """Add one operation's output times `scale` to a node."""
        if isinstance(operation, nn.Identity):
            node.add_scaled(self.state, scale)
        elif isinstance(operation, Pool):
            node.add_scaled(self._get(operation.kind, lambda: normalized(operation(self.state))), scale)
        elif isinstance(operation, FactorizedReduce):
            node.add_scaled(normalized(operation.convolve(self._active())), scale)
        else:
            assert isinstance(operation, nn.Sequential)
            self._convolve(operation, scale, node)

    def _convolve(self, steps: nn.Sequential, scale: Tensor, node: _Sum) -> None:
        first = steps[0]
        assert isinstance(first, Separable)
        quarters = first.dilation == 2 and self._splits()
        if first.dilation == 2 and self.stride == 2:
            # Stride 2 and dilation 2 together read the even rows and columns only.
            features = first.convolve(self._get("even", lambda: self._active()[:, :, ::2, ::2]), stride=1, dilation=1)
        elif quarters:
            features = first.convolve(self._get("quarters", lambda: split(self._active())), stride=1, dilation=1)
        else:
            features = first.convolve(self._active(), stride=self.stride, dilation=first.dilation)
        for before, step in itertools.pairwise(steps):
            assert isinstance(before, Separable)
            assert isinstance(step, Separable)
            features = normalized_relu(features, before.pointwise.weight, before.pointwise.groups)
            if quarters:
                features, quarters = merge(features), False
            features = step.convolve(features, stride=1, dilation=step.dilation)
        last = steps[-1]
        assert isinstance(last, Separable)
        node.add_normalized(features, last.pointwise, scale, quarters=quarters)

    def _splits(self) -> bool:
        height, width = self.state.shape[2:]
        return self.stride == 1 and height % 2 == width % 2 == 0 and self.state.device.type == "cpu"

    def _active(self) -> Tensor:
        return self._get("active", lambda: F.relu(self.state))

    def _get(self, key: str, make: Callable[[], Tensor]) -> Tensor:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]
