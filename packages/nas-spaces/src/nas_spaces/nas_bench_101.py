"""NAS-Bench-101: cells of at most 7 vertices and 9 edges with three operations; 423,624 architectures.

Ying, Klein, Christiansen, Real, Murphy and Hutter, "NAS-Bench-101: Towards Reproducible Neural Architecture Search", ICML
2019.
"""

import bisect
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nas_spaces.architecture import Architecture
from nas_spaces.choices import Choices
from nas_spaces.draws import draw_below
from nas_spaces.errors import ArchitectureError
from nas_spaces.nas_bench_101_cells import (
    EDGES,
    INTERIOR,
    MOST_EDGES,
    OUTPUT,
    DagCell,
    all_shapes,
    canonical,
    cycles,
    placed,
    prune,
    totals,
)
from nas_spaces.nas_bench_101_edits import edit_distance, edits
from nas_spaces.nas_bench_101_matrix import read_matrix, to_matrix
from nas_spaces.space import SearchSpace
from nas_spaces.supernet import Supernet
from nas_spaces.vertex_network import OPERATIONS, Stacks, VertexCell
from nas_spaces.vertex_supernet import VertexRows, VertexSupernet
from nas_spaces.vertex_text import format_vertices, read_vertices

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["NasBench101", "nas_bench_101"]

DEPTH = 3
"""Cells per stack in the benchmark; there are three stacks."""


def nas_bench_101() -> "NasBench101":
    """The NAS-Bench-101 space: 423,624 cells.

    A cell is a directed acyclic graph from an input to an output with at most 5 vertices between, each of which applies
    one operation to the sum of what it reads, and at most 9 edges. An architecture is a cell, whatever its vertices are
    called: `parse`, `build` and `discretize` leave out what lies on no path from input to output and number the rest as
    the benchmark does, so that two architectures are equal exactly if their cells are isomorphic.

    `cells` counts the cells of each of the three stacks (3 in the benchmark). The text lists the vertices 1, 2, ..., each
    with its operation and what it reads, 0 being the input; the output comes last.

    Example:
        >>> space = nas_bench_101()
        >>> space.size
        423624
        >>> a = space.parse("conv3x3-bn-relu~0+maxpool3x3~0~1+output~0~2")
        >>> space.network(a, classes=10, channels=4, cells=1)(torch.randn(2, 3, 8, 8)).shape
        torch.Size([2, 10])
    """
    return NasBench101()


class NasBench101(SearchSpace):
    """See `nas_bench_101`.

    Differs from the paper:
        1. An architecture is an isomorphism class, where the released code samples and mutates matrices that may have
           dangling parts, many of them for one cell. `sample` is uniform over the 423,624 classes. `neighbors` are the
           cells that one edit makes (`nas_spaces.nas_bench_101_edits.edits`).
        2. The network has PyTorch's initial weights and its momentum of running statistics, 0.1 (0.003 in the paper, which
           takes hundreds of steps to forget the start).
        3. The paper has no supernet, and therefore no derivation: see `discretize` and `VertexSupernet`.
    """

    @property
    def name(self) -> str:
        """``nas_bench_101``."""
        return "nas_bench_101"

    @property
    def choices(self) -> Choices:
        """Group ``edges``: 21 rows, whether an edge is there, target by target; group ``operations``: one row per vertex.

        In an architecture, vertices that are not used take no operation; they are the last ones.
        """
        rows = (("no", "yes"),) * len(EDGES) + (OPERATIONS,) * INTERIOR
        edges = range(len(EDGES))
        groups = {"edges": edges, "operations": range(len(EDGES), len(EDGES) + INTERIOR)}
        return Choices(rows, groups, wiring=frozenset(edges))

    @property
    def size(self) -> int:
        """423,624: for each shape the orbits of the operations under its symmetries (Burnside's lemma), added up."""
        return totals(len(OPERATIONS))[-1]

    def __iter__(self) -> Iterator[Architecture]:
        """All architectures, made one at a time, from few vertices to many."""
        for shape in all_shapes():
            for cell in shape.cells(len(OPERATIONS)):
                yield self._made(cell)

    def _made(self, cell: DagCell) -> Architecture:
        """The architecture of a cell that is canonical."""
        edges = set(cell.edges)
        taken = [(int(edge in edges),) for edge in EDGES]
        operations: list[tuple[int, ...]] = [(operation,) for operation in cell.operations]
        operations += [()] * (INTERIOR - len(operations))
        targets = [*range(1, len(cell.operations) + 1), OUTPUT]
        text = format_vertices(
            [OPERATIONS[operation] for operation in cell.operations],
            [[s for s, t in cell.edges if t == target] for target in targets],
        )
        return Architecture(self.name, (*taken, *operations), text)

    def of_graph(self, edges: Iterable[tuple[int, int]], operations: Mapping[int, int]) -> Architecture:
        """The architecture of a graph, pruned and numbered anew.

        Args:
            edges: from 0, the input, to 6, the output, over vertices of any other numbers.
            operations: the operation of each of those, as a number.

        Raises:
            ArchitectureError: no path, too many vertices or edges on the paths, a vertex without an operation, or a
                cycle.
        """
        kept = prune(edges)
        if not kept:
            raise ArchitectureError("no path leads from the input to the output; every cell needs one.")
        vertices = {vertex for edge in kept for vertex in edge} - {0, OUTPUT}
        used = {vertex: operations[vertex] for vertex in vertices if operations.get(vertex) in range(len(OPERATIONS))}
        if vertices != used.keys():
            missing = min(vertices - used.keys())
            raise ArchitectureError(
                f"vertex {missing} has operation {operations.get(missing)}; expected one of 0 to {len(OPERATIONS) - 1}."
            )
        if len(used) > INTERIOR or len(kept) > MOST_EDGES:
            raise ArchitectureError(
                f"the cell has {len(used) + 2} vertices and {len(kept)} edges on paths from input to output; "
                f"{self.name} has at most {INTERIOR + 2} and {MOST_EDGES}."
            )
        cell = canonical(kept, used)
        if cell is None:
            raise ArchitectureError(f"the edges {sorted(kept)} run in a circle; a cell leads from input to output.")
        return self._made(cell)

    def build(self, matrix: Sequence[Sequence[int]], operations: Sequence[str]) -> Architecture:
        """The architecture of the benchmark's own form, a ``ModelSpec``.

        Args:
            matrix: 0 or 1, ``(vertices, vertices)``, 1 in row s and column t for an edge from s to t; zeros on and below
                the diagonal.
            operations: one per vertex, the first ``input``, the last ``output``.

        Raises:
            ArchitectureError: it is not of that form, or no cell of the benchmark.
        """
        return self.of_graph(*read_matrix(matrix, operations, OPERATIONS))

    def cell(self, architecture: Architecture) -> DagCell:
        """The edges and operations of an architecture; vertex 6 is the output."""
        self.require(architecture)
        taken = architecture.options
        edges = tuple(edge for edge, (yes,) in zip(EDGES, taken, strict=False) if yes)
        return DagCell(edges, tuple(row[0] for row in taken[len(EDGES) :] if row))

    def matrix(self, architecture: Architecture) -> tuple[list[list[int]], list[str]]:
        """The benchmark's own form of an architecture: the inverse of `build`."""
        return to_matrix(self.cell(architecture), OPERATIONS)

    def parse(self, text: str) -> Architecture:
        """Read ``operation~source~...+...+output~source~...``: what each vertex applies, and what it reads.

        Raises:
            ArchitectureError: naming the position and what was expected there; or the graph is no cell of the benchmark.
        """
        options, sources = read_vertices(text, OPERATIONS, INTERIOR)
        targets = [*range(1, len(options) + 1), OUTPUT]
        edges = [(s, t) for t, read in zip(targets, sources, strict=True) for s in read]
        return self.of_graph(edges, dict(enumerate(options, start=1)))

    def sample(self, generator: torch.Generator) -> Architecture:
        """Draw one of the 423,624 cells uniformly.

        A shape is drawn by its number of cells. Within it, a symmetry is drawn by the number of labellings that it leaves
        as they are, and then one of those: each cell is reached by as many pairs as there are symmetries.
        """
        index = bisect.bisect_right(totals(len(OPERATIONS)), draw_below(self.size, generator))
        shape = all_shapes()[index]
        found = [cycles(symmetry) for symmetry in shape.symmetries]
        fixed = list(itertools.accumulate(len(OPERATIONS) ** len(parts) for parts in found))
        parts = found[bisect.bisect_right(fixed, draw_below(fixed[-1], generator))]
        taken = [0] * shape.interior
        for part in parts:
            operation = draw_below(len(OPERATIONS), generator)
            for vertex in part:
                taken[vertex - 1] = operation
        return self._made(shape.least(tuple(taken)))

    def neighbors(self, architecture: Architecture) -> Iterator[Architecture]:
        """Every architecture that one edit makes of this one; see `nas_spaces.nas_bench_101_edits.edits`."""
        ours = self.cell(architecture)
        found = dict.fromkeys(canonical(*graph) for graph in edits(ours, len(OPERATIONS)))
        for cell in found:
            if cell not in (None, ours):
                yield self._made(cell)

    def distance(self, a: Architecture, b: Architecture) -> float:
        """The graph edit distance: how many operations change and vertices and edges come or go, at the least."""
        return float(edit_distance(self.cell(a), self.cell(b)))

    def discretize(self, weights: Tensor) -> Architecture:
        """The cell of the largest sum of ``weight(yes) - weight(no)`` over its edges, with each vertex's best operation.

        All cells in all numberings are compared, so that the result always is one: pruned, with at most 9 edges. The first
        of equals wins, fewer vertices first.

        Raises:
            WeightsError: the weights have another shape or are not finite.
        """
        self.choices.check(weights)
        table = weights.detach().cpu().double().numpy()
        margins = table[: len(EDGES), 1] - table[: len(EDGES), 0]
        matrices = placed()
        best = matrices[int((matrices @ margins).argmax())]
        edges = [edge for edge, yes in zip(EDGES, best, strict=True) if yes]
        operations = table[len(EDGES) :].argmax(axis=1)
        return self.of_graph(edges, {vertex: int(operations[vertex - 1]) for vertex in range(1, INTERIOR + 1)})

    def graph(self, architecture: Architecture) -> "nx.DiGraph[int]":
        """The input, the vertices with their ``operation``, the output; edges carry an empty ``operation``."""
        import networkx as nx

        cell = self.cell(architecture)
        last = len(cell.operations) + 1
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_node(0, label="input", role="input")
        for vertex, operation in enumerate(cell.operations, start=1):
            name = OPERATIONS[operation]
            # Short enough for the box of a picture.
            graph.add_node(vertex, label=name.partition("-")[0], operation=name)
        graph.add_node(last, label="output", role="output")
        graph.add_edges_from(((s, last if t == OUTPUT else t) for s, t in cell.edges), operation="")
        return graph

    def supernet(
        self, *, classes: int = 10, channels: int = 16, cells: int | None = None, in_channels: int = 3
    ) -> Supernet:
        """All 21 edges and all operations of 5 vertices, each `channels` wide in the first stack."""
        places = {edge: (row, 1) for row, edge in enumerate(EDGES)}
        rows = VertexRows(places, tuple(self.choices.groups["operations"]))
        depth = DEPTH if cells is None else cells
        return VertexSupernet(
            self.choices, rows, classes=classes, channels=channels, cells=depth, in_channels=in_channels
        )

    def network(
        self,
        architecture: Architecture,
        *,
        classes: int = 10,
        channels: int = 128,
        cells: int | None = None,
        in_channels: int = 3,
    ) -> nn.Module:
        """The network that the benchmark trained, for any width, depth, number of classes and image size.

        Args:
            architecture: an architecture of this space.
            classes: number of classes.
            channels: of the stem and of the first stack's cells, at least as many as vertices that the output reads.
            cells: cells per stack; 3 when left out.
            in_channels: channels of the images.
        """
        cell = self.cell(architecture)
        return Stacks(
            lambda inputs, width: (VertexCell(cell, inputs, width), width),
            classes=classes,
            channels=channels,
            cells=DEPTH if cells is None else cells,
            in_channels=in_channels,
        )
