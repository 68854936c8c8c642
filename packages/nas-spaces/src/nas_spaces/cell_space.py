"""Search spaces of DARTS cells: two connections per node, in cells that share an architecture or have one each."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, combinations_with_replacement
from math import prod
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

from nas_spaces.architecture import Architecture
from nas_spaces.cell_supernet import CellSupernet
from nas_spaces.cell_text import format_cells, read_cells
from nas_spaces.cells import Cell, CellShape, Connection, MakeOperation, MixedCell
from nas_spaces.choices import Choices
from nas_spaces.errors import ArchitectureError, InputError
from nas_spaces.operations import Pool, Zero
from nas_spaces.partial_cells import PartialMixedCell
from nas_spaces.skeleton import CellNetwork, CellSupernetBody
from nas_spaces.space import SearchSpace
from nas_spaces.supernet import SharedOperation, Supernet

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["CellSpace", "Cells", "Node"]

Node: TypeAlias = tuple[Connection, Connection]
Cells: TypeAlias = Mapping[str, Sequence[Node]]
"""The connections of every node, by the name of the cell."""


class CellSpace(SearchSpace):
    """Made by `darts`, `allegro`, `amended_s1` and `amended_s2`.

    Each node has two connections, an operation on a state each. A connection is one decision: neighbours differ in one
    connection, and the distance is the number of connections that are not shared.

    Args:
        name: the name of the space.
        shape: the states that a node may read, and the operations.
        make: makes the operations.
        cells: the names of the architecture's cells: ``normal`` and ``reduce``, or one per cell of the network.
        inputs: whether the states are chosen by rows of their own (two of each row) rather than by the strength of
            the operations.
        free: whether both connections of a node may read one state, and ``none`` may stand in an architecture.
        depth: cells of the supernet and of the network when they are not given.
    """

    def __init__(
        self,
        name: str,
        shape: CellShape,
        make: MakeOperation,
        *,
        cells: tuple[str, ...] = ("normal", "reduce"),
        inputs: bool = False,
        free: bool = False,
        depth: tuple[int, int] = (8, 20),
    ) -> None:
        self._name, self.shape, self._make = name, shape, make
        self.cell_names, self.inputs, self.free, self.depth = cells, inputs, free, depth

    @property
    def name(self) -> str:
        """The name of the space."""
        return self._name

    @property
    def shared(self) -> bool:
        """Whether all normal cells are the same, and all reduction cells."""
        return self.cell_names == ("normal", "reduce")

    @cached_property
    def _choices(self) -> Choices:
        edges, cells = len(self.shape.edges), self.cell_names
        options = [self.shape.operations] * (edges * len(cells))
        groups = {cell: range(index * edges, (index + 1) * edges) for index, cell in enumerate(cells)}
        picks = [1] * len(options)
        if self.inputs:
            for cell in cells:
                groups[f"{cell}.inputs"] = range(len(options), len(options) + self.shape.nodes)
                options += [tuple(str(state) for state in states) for states in self.shape.predecessors]
                picks += [2] * self.shape.nodes
        nodes = tuple(
            tuple(groups[cell].start + row for row, (_, target) in enumerate(self.shape.edges) if target == node)
            for cell in cells
            for node in range(self.shape.nodes)
        )
        return Choices(tuple(options), groups, tuple(picks), nodes)

    @property
    def choices(self) -> Choices:
        """A group of rows per cell, one per edge; with `inputs` also a group ``<cell>.inputs``, one row per node."""
        return self._choices

    @cached_property
    def _nodes(self) -> tuple[tuple[Node, ...], ...]:
        """Everything that each node can be."""
        return tuple(self._possible(states) for states in self.shape.predecessors)

    def _possible(self, states: tuple[int, ...]) -> tuple[Node, ...]:
        operations = self.shape.operations
        if self.free:
            single = [(name, state) for state in states for name in operations]
            return tuple(combinations_with_replacement(single, 2))
        names = [name for name in operations if name != "none"]
        return tuple(((a, s), (b, t)) for s, t in combinations(states, 2) for a in names for b in names)

    @property
    def size(self) -> int:
        """The number of architectures, which counts each set of connections once."""
        return prod(len(node) for node in self._nodes) ** len(self.cell_names)

    def build(self, cells: Cells) -> Architecture:
        """The architecture with the given connections, in any order within a node.

        Raises:
            ArchitectureError: a cell is missing, or a node has other connections than the space allows.
        """
        if set(cells) != set(self.cell_names):
            raise ArchitectureError(f"{self.name} has cells {', '.join(self.cell_names)}, not {', '.join(cells)}.")
        checked = {name: self._check(name, cells[name]) for name in self.cell_names}
        taken: list[list[int]] = [[] for _ in self.choices.options]
        edges = {edge: row for row, edge in enumerate(self.shape.edges)}
        for name, nodes in checked.items():
            start = self.choices.groups[name].start
            for index, node in enumerate(nodes):
                for operation, state in node:
                    taken[start + edges[state, index]].append(self.shape.operations.index(operation))
                if self.inputs:
                    row = self.choices.groups[f"{name}.inputs"].start + index
                    taken[row] = [self.shape.predecessors[index].index(state) for _, state in node]
        return Architecture(self.name, tuple(tuple(row) for row in taken), format_cells(checked))

    def _check(self, cell: str, nodes: Sequence[Node]) -> list[Node]:
        if len(nodes) != self.shape.nodes:
            raise ArchitectureError(f"cell {cell!r} has {len(nodes)} nodes; {self.name} has {self.shape.nodes}.")
        ordered = []
        for index, node in enumerate(nodes):
            names = self.shape.operations
            if any(name not in names for name, _ in node):
                raise ArchitectureError(f"node {index} of cell {cell!r}: expected operations {', '.join(names)}.")
            first, *rest = sorted(node, key=lambda connection: (connection[1], names.index(connection[0])))
            if len(rest) != 1 or (first, rest[0]) not in self._allowed[index]:
                text = ", ".join(f"{name} on state {state}" for name, state in node)
                raise ArchitectureError(
                    f"node {index} of cell {cell!r} has {text}; {self.name} allows two connections from "
                    + ("" if self.free else "different ")
                    + f"states of {self.shape.predecessors[index]}"
                    + ("." if self.free else ", none of them 'none'.")
                )
            ordered.append((first, rest[0]))
        return ordered

    @cached_property
    def _allowed(self) -> tuple[frozenset[Node], ...]:
        return tuple(frozenset(nodes) for nodes in self._nodes)

    def cells(self, architecture: Architecture) -> dict[str, tuple[Node, ...]]:
        """The connections of an architecture: the inverse of `build`."""
        self.require(architecture)
        result = {}
        for name in self.cell_names:
            nodes: list[list[Connection]] = [[] for _ in range(self.shape.nodes)]
            rows = self.choices.groups[name]
            for row, (state, node) in zip(rows, self.shape.edges, strict=True):
                nodes[node] += [(self.shape.operations[option], state) for option in architecture.options[row]]
            result[name] = tuple((node[0], node[1]) for node in nodes)
        return result

    def parse(self, text: str) -> Architecture:
        """Read the space's own text, or DARTS' ``Genotype(normal=[...], ...)``, which is read and never evaluated.

        Raises:
            ArchitectureError: naming the position and what was expected there.
        """
        return self.build(read_cells(text, self.cell_names, self.shape))

    def sample(self, generator: torch.Generator) -> Architecture:
        """Draw an architecture uniformly: every node on its own."""
        return self.build(
            {name: [nodes[_draw(len(nodes), generator)] for nodes in self._nodes] for name in self.cell_names}
        )

    def __iter__(self) -> Iterator[Architecture]:
        """All architectures, made one at a time; the last node of the last cell varies fastest."""
        slots = [(name, index) for name in self.cell_names for index in range(self.shape.nodes)]
        for number in range(self.size):
            cells: dict[str, list[Node]] = {name: [] for name in self.cell_names}
            rest = number
            for name, index in reversed(slots):
                rest, which = divmod(rest, len(self._nodes[index]))
                cells[name].insert(0, self._nodes[index][which])
            yield self.build(cells)

    def enumerate(self) -> Iterator[Architecture]:
        """All architectures, made one at a time."""
        return iter(self)

    def mutate(self, architecture: Architecture, generator: torch.Generator) -> Architecture:
        """Draw one of the neighbours uniformly."""
        cells = self.cells(architecture)
        near = self._near(cells)
        name, index, node = near[_draw(len(near), generator)]
        return self.build(_with(cells, name, index, node))

    def neighbors(self, architecture: Architecture) -> Iterator[Architecture]:
        """Every architecture that differs in one connection."""
        cells = self.cells(architecture)
        for name, index, node in self._near(cells):
            yield self.build(_with(cells, name, index, node))

    def _near(self, cells: Cells) -> list[tuple[str, int, Node]]:
        return [
            (name, index, other)
            for name, nodes in cells.items()
            for index, node in enumerate(nodes)
            for other in self._nodes[index]
            if _differ(node, other) == 1
        ]

    def distance(self, a: Architecture, b: Architecture) -> float:
        """The number of connections that are not shared, whatever their order (as in NSAS)."""
        ours, theirs = self.cells(a), self.cells(b)
        return float(sum(_differ(x, y) for name in ours for x, y in zip(ours[name], theirs[name], strict=True)))

    def discretize(self, weights: Tensor) -> Architecture:
        """DARTS' rule: per node the two states whose strongest operation other than ``none`` is largest, with it.

        With `inputs` the states are the two of largest weight in the node's own row. With `free` the two largest
        entries of the node are taken, ``none`` included. The first of equals wins.

        Raises:
            WeightsError: the weights have another shape or are not finite.
        """
        self.choices.check(weights)
        weights = weights.detach().cpu().double()
        return self.build({name: self._derive(name, weights) for name in self.cell_names})

    def _derive(self, cell: str, weights: Tensor) -> list[Node]:
        names = self.shape.operations
        table = weights[list(self.choices.groups[cell])][:, : len(names)].clone()
        nodes: list[Node] = []
        for index, states in enumerate(self.shape.predecessors):
            rows = [row for row, (_, node) in enumerate(self.shape.edges) if node == index]
            if self.free:
                nodes.append(_largest_two(table[rows], names, states))
                continue
            if "none" in names:
                table[rows, names.index("none")] = -torch.inf
            strength, best = table[rows].max(dim=1)
            if self.inputs:
                strength = weights[self.choices.groups[f"{cell}.inputs"].start + index, : len(states)]
            first, second = sorted(strength.argsort(descending=True, stable=True)[:2].tolist())
            nodes.append(((names[int(best[first])], states[first]), (names[int(best[second])], states[second])))
        return nodes

    def graph(self, architecture: Architecture) -> "nx.DiGraph[int]":
        """Every cell as a part of its own, the nodes of cell c numbered from ``100 c``; edges carry ``operation``."""
        import networkx as nx

        graph: nx.DiGraph[int] = nx.DiGraph()
        for number, (name, nodes) in enumerate(self.cells(architecture).items()):
            base, output = 100 * number, 100 * number + 2 + self.shape.nodes
            labels = ["c_{k-2}", "c_{k-1}", *(str(index) for index in range(self.shape.nodes)), name]
            graph.add_nodes_from((base + index, {"label": label}) for index, label in enumerate(labels))
            # What may not be exchanged: the two inputs, the output, and one cell for another.
            for index in (0, 1, output - base):
                graph.nodes[base + index]["role"] = f"{name} {labels[index]}"
            for index, node in enumerate(nodes):
                target = base + 2 + index
                for operation, state in node:
                    if graph.has_edge(base + state, target):
                        operation = f"{graph.edges[base + state, target]['operation']} + {operation}"
                    graph.add_edge(base + state, target, operation=operation)
                graph.add_edge(target, output, operation="")
        return graph

    def supernet(
        self,
        *,
        classes: int = 10,
        channels: int = 16,
        cells: int | None = None,
        in_channels: int = 3,
        stem: str = "cifar",
        checkpoint: bool = False,
        parts: int = 1,
    ) -> Supernet:
        """The supernet of the paper's search.

        Args:
            classes: number of classes.
            channels: width of the first cell's nodes.
            cells: number of cells in all, reductions at one and two thirds; 8 when left out.
            in_channels: channels of the images.
            stem: ``cifar``, or ``imagenet``, which divides the resolution by 8 first.
            checkpoint: keep only the inputs of the cells up to the first reduction, and evaluate these cells again in the
                backward pass.
            parts: above 1 the operations see one of as many parts of the channels; see `PartialEdges`.
        """
        depth = self._depth(self.depth[0] if cells is None else cells)
        names = [self.cell_name(index, index in (depth // 3, 2 * depth // 3)) for index in range(depth)]

        def make(_index: int, widths: tuple[int, int], width: int, reduction: bool, halve: bool) -> nn.Module:
            if parts == 1:
                return MixedCell(self.shape, self._make, widths, width, reduction, halve)
            return PartialMixedCell(self.shape, self._make, widths, width, reduction, halve, parts)

        body = CellSupernetBody(
            make,
            classes=classes,
            channels=channels,
            cells=depth,
            in_channels=in_channels,
            recompute=checkpoint,
            stem=stem,
            nodes=self.shape.nodes,
        )
        return CellSupernet(self.choices, self.shape, self.inputs, names, body)

    def _depth(self, cells: int) -> int:
        if cells < 1 or not (self.shared or cells == len(self.cell_names)):
            expected = "at least 1" if self.shared else f"exactly {len(self.cell_names)}, each with its own choices"
            raise InputError(f"{cells} cells were asked for; {self.name} has {expected}.")
        return cells

    def cell_name(self, index: int, reduction: bool) -> str:
        """Which of `cell_names` the cell at a depth follows."""
        return ("reduce" if reduction else "normal") if self.shared else self.cell_names[index]

    def network(
        self,
        architecture: Architecture,
        *,
        classes: int = 10,
        channels: int = 16,
        cells: int | None = None,
        in_channels: int = 3,
        stem: str = "cifar",
        auxiliary: bool = False,
    ) -> CellNetwork:
        """The paper's evaluation network; DARTS trains it with 36 channels and 20 cells on CIFAR-10.

        Args:
            architecture: an architecture of this space.
            classes: number of classes.
            channels: width of the first cell's nodes.
            cells: number of cells in all; 20 when left out.
            in_channels: channels of the images.
            stem: ``cifar``, or ``imagenet``, which divides the resolution by 8 first.
            auxiliary: whether there is a second classifier behind the second reduction (see `CellNetwork`).
        """
        sizes = _Sizes(classes, channels, self.depth[1] if cells is None else cells, in_channels, stem, auxiliary)
        return self._network(architecture, self._operation, sizes)

    def inheriting_network(
        self,
        architecture: Architecture,
        *,
        classes: int = 10,
        channels: int = 16,
        cells: int | None = None,
        in_channels: int = 3,
    ) -> CellNetwork:
        """See `SearchSpace.inheriting_network`: pooling is followed by a normalisation, as in the supernet."""

        def make(name: str, channels: int, stride: int, affine: bool) -> nn.Module:
            module = self._operation(name, channels, stride, affine)
            return nn.Sequential(module, nn.BatchNorm2d(channels, affine=False)) if isinstance(module, Pool) else module

        sizes = _Sizes(classes, channels, self.depth[0] if cells is None else cells, in_channels)
        return self._network(architecture, make, sizes)

    def _network(self, architecture: Architecture, operation: MakeOperation, sizes: "_Sizes") -> CellNetwork:
        connections = self.cells(architecture)

        def make(index: int, inputs: tuple[int, int], width: int, reduction: bool, halve: bool) -> nn.Module:
            return Cell(connections[self.cell_name(index, reduction)], operation, inputs, width, reduction, halve)

        return CellNetwork(
            make,
            classes=sizes.classes,
            channels=sizes.channels,
            cells=self._depth(sizes.cells),
            in_channels=sizes.in_channels,
            stem=sizes.stem,
            auxiliary=sizes.auxiliary,
            nodes=self.shape.nodes,
        )

    def operation_modules(self, network: nn.Module, architecture: Architecture) -> Iterator[tuple[int, int, nn.Module]]:
        """See `SearchSpace.operation_modules`."""
        assert isinstance(network, CellNetwork)
        connections = self.cells(architecture)
        edges = {edge: row for row, edge in enumerate(self.shape.edges)}
        for index, cell in enumerate(network.stack.cells):
            assert isinstance(cell, Cell)
            name = self.cell_name(index, cell.reduction)
            for node, (taken, modules) in enumerate(zip(connections[name], cell.operations, strict=True)):
                assert isinstance(modules, nn.ModuleList)
                for (operation, state), module in zip(taken, modules, strict=True):
                    row = self.choices.groups[name].start + edges[state, node]
                    yield row, self.shape.operations.index(operation), module

    def shared_operations(self, supernet: Supernet, architecture: Architecture) -> Iterator[SharedOperation]:
        """See `SearchSpace.shared_operations`."""
        assert isinstance(supernet, CellSupernet)
        connections = self.cells(architecture)
        edges = {edge: row for row, edge in enumerate(self.shape.edges)}
        for name, cell in zip(supernet.names, supernet.body.stack.cells, strict=True):
            if not isinstance(cell, MixedCell):
                raise InputError("operations on a part of the channels are narrower than those of a network.")
            for node, taken in enumerate(connections[name]):
                for operation, state in taken:
                    edge = edges[state, node]
                    choices = [(self.choices.groups[name].start + edge, self.shape.operations.index(operation))]
                    if self.inputs:
                        column = self.shape.predecessors[node].index(state)
                        choices.append((self.choices.groups[f"{name}.inputs"].start + node, column))
                    modules = cell.edges[edge]
                    assert isinstance(modules, nn.ModuleDict)
                    weights = {} if operation == "none" else modules[operation].state_dict()
                    yield SharedOperation(tuple(choices), weights, 1 / taken.count((operation, state)))

    def _operation(self, name: str, channels: int, stride: int, affine: bool) -> nn.Module:
        # Only free spaces have architectures with ``none``.
        return Zero(stride) if name == "none" else self._make(name, channels, stride, affine)


@dataclass(frozen=True)
class _Sizes:
    """What a network is built of besides its cells; see `CellSpace.network`."""

    classes: int
    channels: int
    cells: int
    in_channels: int
    stem: str = "cifar"
    auxiliary: bool = False


def _with(cells: Cells, name: str, index: int, node: Node) -> dict[str, list[Node]]:
    """The cells with one node replaced."""
    changed = {key: list(nodes) for key, nodes in cells.items()}
    changed[name][index] = node
    return changed


def _differ(a: Node, b: Node) -> int:
    """How many connections of a node are not shared."""
    return 2 - sum((Counter(a) & Counter(b)).values())


def _largest_two(table: Tensor, names: tuple[str, ...], states: tuple[int, ...]) -> Node:
    """The two largest entries ``(states, operations)``; one that is taken counts one less, so that 2 is taken twice."""
    found: list[Connection] = []
    for _ in range(2):
        state, name = divmod(int(table.argmax()), len(names))
        table[state, name] -= 1.0
        found.append((names[name], states[state]))
    return found[0], found[1]


def _draw(below: int, generator: torch.Generator) -> int:
    return int(torch.randint(below, (), generator=generator, device=generator.device))
