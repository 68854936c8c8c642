"""The cells of a space as graphs of one topology, in which operations are vertices."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nas_search.errors import ConfigError
from nas_spaces import Architecture, SearchSpace
from nas_spaces.cell_space import CellSpace
from nas_spaces.nas_bench_201 import OPERATIONS, NasBench201

__all__ = ["CellGraph", "cell_graph"]

_NONE = "none"


@dataclass(frozen=True)
class CellGraph:
    """What all cells of a space have in common; a cell is then one type for each of its edges.

    Vertices in topological order: the inputs; for each node the operations on the edges that enter it, then the node
    itself, their sum; the output, which reads nodes. An edge that a cell does not take carries the type ``none``.

    Args:
        types: the names of the operations, ``none`` among them where edges may be left out.
        inputs: states that come from outside of the cell.
        edges: ``(state, node)``, node by node; state ``inputs + i`` is node i.
        outputs: the nodes that the output reads.
        cells: the rows of the space's choices, cell by cell, each in the order of `edges`.
        columns: how many of the types, from the first, are options of the choices.
        keep: how many edges a node takes; None where every edge takes an operation.
    """

    types: tuple[str, ...]
    inputs: int
    edges: tuple[tuple[int, int], ...]
    outputs: tuple[int, ...]
    cells: tuple[tuple[int, ...], ...]
    columns: int
    keep: int | None = None

    @property
    def entering(self) -> tuple[tuple[int, ...], ...]:
        """For each node the edges that enter it."""
        nodes = max(node for _, node in self.edges) + 1
        return tuple(tuple(e for e, (_, target) in enumerate(self.edges) if target == node) for node in range(nodes))

    @property
    def vertices(self) -> int:
        """How many vertices a cell has, the output included."""
        return self.inputs + len(self.edges) + len(self.entering) + 1

    @property
    def freedom(self) -> int:
        """The dimension of the space in which a cell's type probabilities lie: every row of them sums to 1."""
        return len(self.edges) * (len(self.types) - 1)

    def read(self, paths: Sequence[Sequence[Sequence[int]]]) -> Tensor:
        """The types of the cells of several architectures, each as the options drawn in every row.

        Returns:
            ``(batch, cells, edges)`` int64.
        """
        absent = self.types.index(_NONE) if self.keep is not None else -1
        table = [[[path[row][0] if path[row] else absent for row in cell] for cell in self.cells] for path in paths]
        return torch.tensor(table)

    def types_of(self, architectures: Sequence[Architecture]) -> Tensor:
        """As `read`, of architectures."""
        return self.read([architecture.options for architecture in architectures])

    def weights(self, types: Tensor, choices: tuple[int, int]) -> Tensor:
        """One-hot types, or probabilities, in the rows and columns of the choices.

        Args:
            types: ``(batch, cells, edges, types)``.
            choices: the shape of the choices.

        Returns:
            ``(batch, choices, options)``; 0 in rows that are in no cell.
        """
        rows = torch.tensor(self.cells).flatten()
        table = types.new_zeros(len(types), *choices)
        return table.index_copy(1, rows, types[..., : self.columns].flatten(1, 2))

    def pick(self, soft: Tensor) -> Tensor:
        """Which type each edge into one node takes: the space's own rule of derivation, for many cells at once.

        The type of largest probability; where a node keeps some of its edges, those whose best operation other than
        ``none`` is most probable take that, and the others ``none``. The first of equals wins.

        Args:
            soft: ``(batch, edges into the node, types)``.

        Returns:
            ``(batch, edges into the node)`` int64.
        """
        if self.keep is None:
            return soft.argmax(dim=2)
        none = self.types.index(_NONE)
        operations = soft.clone()
        operations[..., none] = -1.0
        strength, best = operations.max(dim=2)
        kept = strength.argsort(dim=1, descending=True, stable=True)[:, : self.keep]
        taken = torch.zeros_like(best, dtype=torch.bool).scatter(1, kept, True)
        return best.where(taken, torch.full_like(best, none))

    def drawn(self, types: Tensor, rows: int) -> tuple[tuple[int, ...], ...]:
        """The options drawn in every row of the choices, of one architecture's types ``(cells, edges)``."""
        absent = self.types.index(_NONE) if self.keep is not None else -1
        path: list[tuple[int, ...]] = [()] * rows
        for cell, taken in zip(self.cells, types.tolist(), strict=True):
            for row, option in zip(cell, taken, strict=True):
                path[row] = () if option == absent else (option,)
        return tuple(path)


def cell_graph(space: SearchSpace) -> CellGraph:
    """The graph of a space's cells.

    Raises:
        ConfigError: a space whose architectures are not one operation, or none, on each edge of its cells.
    """
    if isinstance(space, NasBench201):
        edges = tuple((source, target - 1) for source, target in space.edges)
        return CellGraph(OPERATIONS, 1, edges, (space.nodes - 2,), (tuple(range(len(edges))),), len(OPERATIONS))
    if isinstance(space, CellSpace) and not space.inputs and not space.free:
        operations = space.shape.operations
        types = operations if _NONE in operations else (*operations, _NONE)
        cells = tuple(tuple(space.choices.groups[name]) for name in space.cell_names)
        outputs = tuple(range(space.shape.nodes))
        return CellGraph(types, 2, space.shape.edges, outputs, cells, len(operations), keep=2)
    raise ConfigError(
        f"space {space.name!r} has no cells with one operation, or none, on each edge, which the graph autoencoder "
        "reads; use nas_bench_201, or a space of cells such as darts, without rows for inputs and not `free`."
    )
