"""The nodes of DARTS cells: what each may be, how many connections separate two, and what choice weights say of one."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, combinations_with_replacement
from typing import TypeAlias

import torch
from torch import Tensor

from nas_spaces.cells import CellShape, Connection, Node
from nas_spaces.choices import Choices
from nas_spaces.errors import ArchitectureError

__all__ = ["Cells", "NodeRules", "cell_choices", "unshared"]

Cells: TypeAlias = Mapping[str, Sequence[Node]]
"""The connections of every node, by the name of the cell."""


def cell_choices(shape: CellShape, cells: Sequence[str], *, inputs: bool) -> Choices:
    """A group of rows per cell, one per edge; with `inputs` also a group ``<cell>.inputs``, one row per node."""
    edges = len(shape.edges)
    options = [shape.operations] * (edges * len(cells))
    groups = {cell: range(index * edges, (index + 1) * edges) for index, cell in enumerate(cells)}
    picks = [1] * len(options)
    if inputs:
        for cell in cells:
            groups[f"{cell}.inputs"] = range(len(options), len(options) + shape.nodes)
            options += [tuple(str(state) for state in states) for states in shape.predecessors]
            picks += [2] * shape.nodes
    nodes = tuple(
        tuple(groups[cell].start + row for row, (_, target) in enumerate(shape.edges) if target == node)
        for cell in cells
        for node in range(shape.nodes)
    )
    wiring = frozenset(range(edges * len(cells), len(options)))
    return Choices(tuple(options), groups, tuple(picks), nodes, wiring=wiring)


def unshared(a: Node, b: Node) -> int:
    """How many connections of a node are not shared."""
    return 2 - sum((Counter(a) & Counter(b)).values())


@dataclass(frozen=True)
class NodeRules:
    """What the nodes of a cell may be.

    Args:
        shape: the states that a node may read, and the operations.
        free: whether both connections of a node may read one state, and ``none`` may be found.
    """

    shape: CellShape
    free: bool

    @cached_property
    def possible(self) -> tuple[tuple[Node, ...], ...]:
        """Everything that each node can be."""
        return tuple(self._possible(states) for states in self.shape.predecessors)

    def _possible(self, states: tuple[int, ...]) -> tuple[Node, ...]:
        operations = self.shape.operations
        if self.free:
            single = [(name, state) for state in states for name in operations]
            return tuple(combinations_with_replacement(single, 2))
        names = [name for name in operations if name != "none"]
        return tuple(((a, s), (b, t)) for s, t in combinations(states, 2) for a in names for b in names)

    @cached_property
    def _allowed(self) -> tuple[frozenset[Node], ...]:
        return tuple(frozenset(nodes) for nodes in self.possible)

    def checked(self, cell: str, nodes: Sequence[Sequence[Connection]]) -> list[Node]:
        """The nodes, each with its connections in the order in which they stand in an architecture.

        Args:
            cell: its name, for the error.
            nodes: their connections in any order.

        Raises:
            ArchitectureError: there are more or fewer nodes, or one is not possible.
        """
        if len(nodes) != self.shape.nodes:
            raise ArchitectureError(f"cell {cell!r} has {len(nodes)} nodes; expected {self.shape.nodes}.")
        return [self._checked(f"node {index} of cell {cell!r}", index, node) for index, node in enumerate(nodes)]

    def _checked(self, who: str, index: int, node: Sequence[Connection]) -> Node:
        names = self.shape.operations
        if any(name not in names for name, _ in node):
            raise ArchitectureError(f"{who}: expected operations {', '.join(names)}.")
        first, *rest = sorted(node, key=lambda connection: (connection[1], names.index(connection[0])))
        if len(rest) != 1 or (first, rest[0]) not in self._allowed[index]:
            text = ", ".join(f"{name} on state {state}" for name, state in node)
            raise ArchitectureError(
                f"{who} has {text}; expected two connections from "
                + ("" if self.free else "different ")
                + f"states of {self.shape.predecessors[index]}"
                + ("." if self.free else ", none of them 'none'.")
            )
        return first, rest[0]

    def derived(self, table: Tensor, inputs: Tensor | None) -> list[Node]:
        """DARTS' rule for one cell: see `CellSpace.discretize`.

        Args:
            table: choice weights ``(edges, operations)`` float64.
            inputs: those of the states ``(nodes, states)``, where they are chosen by rows of their own.
        """
        names = self.shape.operations
        if "none" in names and not self.free:
            table = table.clone()
            table[:, names.index("none")] = -torch.inf
        nodes: list[Node] = []
        for index, states in enumerate(self.shape.predecessors):
            rows = table[[row for row, (_, node) in enumerate(self.shape.edges) if node == index]]
            if self.free:
                nodes.append(_largest_two(rows, names, states))
            else:
                strength = rows.amax(dim=1) if inputs is None else inputs[index, : len(states)]
                nodes.append(_strongest_two(rows, strength, names, states))
        return nodes


def _strongest_two(table: Tensor, strength: Tensor, names: Sequence[str], states: Sequence[int]) -> Node:
    """The two states of largest strength, each with its best operation; the first of equals."""
    best = table.argmax(dim=1)
    first, second = sorted(strength.argsort(descending=True, stable=True)[:2].tolist())
    return (names[int(best[first])], states[first]), (names[int(best[second])], states[second])


def _largest_two(table: Tensor, names: Sequence[str], states: Sequence[int]) -> Node:
    """The two largest entries ``(states, operations)``; one that is taken counts one less, so that 2 is taken twice."""
    table = table.clone()
    found: list[Connection] = []
    for _ in range(2):
        state, name = divmod(int(table.argmax()), len(names))
        table[state, name] -= 1.0
        found.append((names[name], states[state]))
    return found[0], found[1]
