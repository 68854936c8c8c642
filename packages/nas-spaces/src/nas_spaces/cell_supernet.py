"""The supernet of a cell space: which rows of the choice weights each cell follows."""

import torch
from torch import Tensor

from nas_spaces.cells import CellShape
from nas_spaces.choices import Choices
from nas_spaces.operations import forget_statistics
from nas_spaces.skeleton import CellSupernetBody
from nas_spaces.supernet import Drawn, Supernet, connected

__all__ = ["CellSupernet"]


class CellSupernet(Supernet):
    """See `Supernet` for what the weights mean; with input rows an edge's factor is the product of its two weights."""

    def __init__(
        self, choices: Choices, shape: CellShape, inputs: bool, names: list[str], body: CellSupernetBody
    ) -> None:
        super().__init__()
        self.choices, self.shape, self.inputs, self.names, self.body = choices, shape, inputs, names, body
        forget_statistics(self)

    def forward(self, images: Tensor, weights: Tensor, drawn: Drawn | None = None) -> Tensor:
        """See `Supernet.forward`."""
        self.choices.require_shape(weights, drawn)
        weights = weights.to(images)
        factors = {name: self._factors(name, weights) for name in dict.fromkeys(self.names)}
        paths = {name: self._path(name, drawn) for name in factors}
        logits = self.body(images, [factors[name] for name in self.names], [paths[name] for name in self.names])
        return logits if drawn is None else connected(logits, weights)

    def _factors(self, cell: str, weights: Tensor) -> Tensor:
        """The factor of each operation, ``(edges, operations)``."""
        rows = self.choices.groups[cell]
        factors = weights[rows.start : rows.stop, : len(self.shape.operations)]
        if not self.inputs:
            return factors
        start = self.choices.groups[f"{cell}.inputs"].start
        edges = [weights[start + node, self._column(state, node)] for state, node in self.shape.edges]
        return factors * torch.stack(edges)[:, None]

    def _column(self, state: int, node: int) -> int:
        return self.shape.predecessors[node].index(state)

    def _path(self, cell: str, drawn: Drawn | None) -> Drawn | None:
        """For each edge the operations to evaluate, each once."""
        if drawn is None:
            return None
        path = [tuple(dict.fromkeys(drawn[row])) for row in self.choices.groups[cell]]
        if self.inputs:
            start = self.choices.groups[f"{cell}.inputs"].start
            for edge, (state, node) in enumerate(self.shape.edges):
                if self._column(state, node) not in drawn[start + node]:
                    path[edge] = ()
        return path
