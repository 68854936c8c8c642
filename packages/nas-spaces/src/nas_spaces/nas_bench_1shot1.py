"""NAS-Bench-1Shot1: three parts of NAS-Bench-101 that a supernet can cover.

Zela, Siems and Hutter, "NAS-Bench-1Shot1: Benchmarking and Dissecting One-shot Neural Architecture Search", ICLR 2020.
"""

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nas_spaces.architecture import Architecture
from nas_spaces.choices import Choices
from nas_spaces.draws import draw_below
from nas_spaces.errors import ArchitectureError, InputError
from nas_spaces.nas_bench_1shot1_parts import PARTS
from nas_spaces.nas_bench_101 import DEPTH, nas_bench_101
from nas_spaces.nas_bench_101_cells import OUTPUT
from nas_spaces.space import SearchSpace
from nas_spaces.supernet import Supernet
from nas_spaces.vertex_network import OPERATIONS
from nas_spaces.vertex_supernet import VertexRows, VertexSupernet
from nas_spaces.vertex_text import format_vertices, read_vertices

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["NasBench1Shot1", "nas_bench_1shot1", "nas_bench_1shot1_1", "nas_bench_1shot1_2", "nas_bench_1shot1_3"]

LOOSE = "loose"
"""What stands in a text for the operation of a block that nothing reads."""


def nas_bench_1shot1(number: int) -> "NasBench1Shot1":
    """One of the three spaces of NAS-Bench-1Shot1: 6,240, 29,160 or 363,648 architectures.

    Blocks 1, 2, ... each read a fixed number of the vertices before them, 0 being the input, and so does the output:

    ====== ======================= ======== ============= ================ ============== ===============
    number parents of the blocks   output's architectures every operation  read blocks'   different cells
    ====== ======================= ======== ============= ================ ============== ===============
    1      1, 2, 2, 2              2        6,240         14,580           6,240          2,685
    2      1, 1, 2, 2              3        29,160        29,160           16,632         7,773
    3      1, 1, 1, 2, 2           2        363,648       1,312,200        363,648        55,854
    ====== ======================= ======== ============= ================ ============== ===============

    The paper's numbers follow two rules. 29,160 counts every choice of parents and of an operation for every
    block. 6,240 and 363,648 do not count the operation of a block that nothing reads, as the released code does where it
    lists architectures. The spaces are what the paper counted: in spaces 1 and 3 the operation of such a block is no part
    of an architecture. The last column counts the NAS-Bench-101 cells that `NasBench1Shot1.cell` makes of them.

    Args:
        number: 1, 2 or 3.

    Raises:
        InputError: another number.

    Example:
        >>> space = nas_bench_1shot1(1)
        >>> a = space.parse("conv3x3-bn-relu~0+maxpool3x3~0~1+conv1x1-bn-relu~0~2+loose~1~2+output~0~3")
        >>> str(space.cell(a))
        'conv3x3-bn-relu~0+maxpool3x3~0~1+conv1x1-bn-relu~0~2+output~0~3'
    """
    if isinstance(number, bool) or number not in PARTS:
        raise InputError(f"NAS-Bench-1Shot1 has no space {number!r}; expected 1, 2 or 3.")
    return NasBench1Shot1(number)


def nas_bench_1shot1_1() -> "NasBench1Shot1":
    """Space 1 of NAS-Bench-1Shot1: 6,240 architectures; see `nas_bench_1shot1`."""
    return nas_bench_1shot1(1)


def nas_bench_1shot1_2() -> "NasBench1Shot1":
    """Space 2 of NAS-Bench-1Shot1: 29,160 architectures; see `nas_bench_1shot1`."""
    return nas_bench_1shot1(2)


def nas_bench_1shot1_3() -> "NasBench1Shot1":
    """Space 3 of NAS-Bench-1Shot1: 363,648 architectures; see `nas_bench_1shot1`."""
    return nas_bench_1shot1(3)


class NasBench1Shot1(SearchSpace):
    """See `nas_bench_1shot1`.

    The text is that of NAS-Bench-101, block by block; ``loose`` stands for an operation that is not counted.

    Differs from the paper:
        1. The supernet's blocks are added up and put side by side as in NAS-Bench-101 (see `VertexSupernet`).
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.part = PARTS[number]

    @property
    def name(self) -> str:
        """``nas_bench_1shot1_1``, ``_2`` or ``_3``."""
        return f"nas_bench_1shot1_{self.number}"

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return self.part.blocks

    @cached_property
    def _chosen(self) -> dict[int, int]:
        """The row of each vertex that has a choice of what to read; the output is vertex ``blocks + 1``."""
        vertices = [vertex for vertex, count in enumerate(self.part.parents, start=1) if count < vertex]
        return {vertex: self.blocks + index for index, vertex in enumerate(vertices)}

    @cached_property
    def _choices(self) -> Choices:
        blocks = self.blocks
        inputs = [tuple(str(source) for source in range(vertex)) for vertex in self._chosen]
        groups = {
            "operations": range(blocks),
            "inputs": range(blocks, blocks + len(inputs) - 1),
            "output": range(blocks + len(inputs) - 1, blocks + len(inputs)),
        }
        picks = (1,) * blocks + tuple(self.part.parents[vertex - 1] for vertex in self._chosen)
        wiring = frozenset(range(blocks, blocks + len(inputs)))
        return Choices((OPERATIONS,) * blocks + tuple(inputs), groups, picks, wiring=wiring)

    @property
    def choices(self) -> Choices:
        """Group ``operations``: a row per block; ``inputs``: one per block with a choice of what to read; ``output``."""
        return self._choices

    @property
    def size(self) -> int:
        """The number of architectures; see `nas_bench_1shot1` for what is counted."""
        return self.part.totals[-1]

    def __iter__(self) -> Iterator[Architecture]:
        """All architectures, made one at a time; the operations vary fastest."""
        for sources in self.part.wirings:
            counted = self.part.counted(sources)
            for taken in itertools.product(range(len(OPERATIONS)), repeat=len(counted)):
                yield self._made(sources, dict(zip(counted, taken, strict=True)))

    def _made(self, sources: Sequence[Sequence[int]], operations: Mapping[int, int]) -> Architecture:
        """The architecture of a wiring, with the operations of the blocks that count and perhaps of others."""
        counted = {block: operations[block] for block in self.part.counted(sources)}
        blocks = range(1, self.blocks + 1)
        rows: list[tuple[int, ...]] = [(counted[block],) if block in counted else () for block in blocks]
        rows += [tuple(sources[vertex - 1]) for vertex in self._chosen]
        names = [OPERATIONS[counted[block]] if block in counted else LOOSE for block in blocks]
        return Architecture(self.name, tuple(rows), format_vertices(names, sources))

    def build(self, operations: Sequence[str], sources: Sequence[Sequence[int]]) -> Architecture:
        """The architecture with these operations and wiring.

        Args:
            operations: of blocks 1, 2, ...; that of a block that nothing reads is left out in spaces 1 and 3.
            sources: what blocks 1, 2, ... and then the output read; 0 is the input.

        Raises:
            ArchitectureError: another number of blocks or parents, an unknown operation, or a vertex that does not come
                before the one that reads it.
        """
        if len(operations) != self.blocks or len(sources) != self.blocks + 1:
            raise ArchitectureError(
                f"{len(operations)} operations and {len(sources)} lists of parents were given; {self.name} has "
                f"{self.blocks} blocks and one output."
            )
        for vertex, (read, count) in enumerate(zip(sources, self.part.parents, strict=True), start=1):
            if len(set(read)) != len(read) or len(read) != count or not set(read) <= set(range(vertex)):
                who = "the output" if vertex > self.blocks else f"block {vertex}"
                raise ArchitectureError(
                    f"{who} reads {', '.join(map(str, read)) or 'nothing'}; in {self.name} it reads {count} of "
                    f"{', '.join(map(str, range(vertex)))}."
                )
        counted = self.part.counted(sources)
        for block, name in enumerate(operations, start=1):
            if name not in OPERATIONS and (block in counted or name != LOOSE):
                raise ArchitectureError(
                    f"block {block} has operation {name!r}; expected one of {', '.join(OPERATIONS)}"
                    + ("." if block in counted else f", {LOOSE}.")
                )
        taken = {block: OPERATIONS.index(operations[block - 1]) for block in counted}
        return self._made([sorted(read) for read in sources], taken)

    def parse(self, text: str) -> Architecture:
        """Read ``operation~parent~...+...+output~parent~...``.

        Raises:
            ArchitectureError: naming the position and what was expected there; or see `build`.
        """
        names = (*OPERATIONS, LOOSE)
        found, sources = read_vertices(text, names, self.blocks)
        return self.build([names[option] for option in found], sources)

    def sources(self, architecture: Architecture) -> list[tuple[int, ...]]:
        """What blocks 1, 2, ... and then the output read."""
        self.require(architecture)
        return [
            architecture.options[self._chosen[vertex]] if vertex in self._chosen else tuple(range(vertex))
            for vertex in range(1, self.blocks + 2)
        ]

    def operations(self, architecture: Architecture) -> dict[int, int]:
        """The operations of the blocks that count, as numbers."""
        self.require(architecture)
        return {block: row[0] for block, row in enumerate(architecture.options[: self.blocks], start=1) if row}

    def cell(self, architecture: Architecture) -> Architecture:
        """The NAS-Bench-101 architecture that an architecture is: what leads to the output, without loose ends."""
        targets = [*range(1, self.blocks + 1), OUTPUT]
        edges = [
            (source, target)
            for target, read in zip(targets, self.sources(architecture), strict=True)
            for source in read
        ]
        return nas_bench_101().of_graph(edges, self.operations(architecture))

    def table_text(self, architecture: Architecture) -> str:
        """Tables of NAS-Bench-101 hold the results: the text of `cell`."""
        return str(self.cell(architecture))

    def sample(self, generator: torch.Generator) -> Architecture:
        """Draw an architecture uniformly: a wiring by its number of architectures, then its operations."""
        sources = self.part.wirings[bisect_right(self.part.totals, draw_below(self.size, generator))]
        return self._made(
            sources, {block: draw_below(len(OPERATIONS), generator) for block in self.part.counted(sources)}
        )

    def neighbors(self, architecture: Architecture) -> Iterator[Architecture]:
        """Every architecture that differs in one operation, or in one parent.

        A block that is read through the change has any operation.
        """
        sources, operations = self.sources(architecture), self.operations(architecture)
        for block, taken in operations.items():
            for other in range(len(OPERATIONS)):
                if other != taken:
                    yield self._made(sources, {**operations, block: other})
        for vertex in self._chosen:
            read = sources[vertex - 1]
            for old, new in itertools.product(read, set(range(vertex)) - set(read)):
                changed = tuple(sorted({*read, new} - {old}))
                rewired = [*sources[: vertex - 1], changed, *sources[vertex:]]
                added = [block for block in self.part.counted(rewired) if block not in operations]
                for names in itertools.product(range(len(OPERATIONS)), repeat=len(added)):
                    yield self._made(rewired, {**operations, **dict(zip(added, names, strict=True))})

    def distance(self, a: Architecture, b: Architecture) -> float:
        """The number of parents that are not shared, and of operations that differ where both count."""
        ours, theirs = self.operations(a), self.operations(b)
        operations = sum(ours[block] != theirs[block] for block in ours.keys() & theirs.keys())
        parents = sum(len(set(x) - set(y)) for x, y in zip(self.sources(a), self.sources(b), strict=True))
        return float(operations + parents)

    def discretize(self, weights: Tensor) -> Architecture:
        """The operation of largest weight in every block, and as many parents of largest weight as it has.

        The first of equals wins.

        Raises:
            WeightsError: the weights have another shape or are not finite.
        """
        self.choices.check(weights)
        table = weights.detach().cpu().double()
        options = [
            row.argsort(descending=True, stable=True).tolist() for row in table[: self.blocks, : len(OPERATIONS)]
        ]
        sources = [tuple(range(vertex)) for vertex in range(1, self.blocks + 2)]
        for vertex, row in self._chosen.items():
            order = table[row, :vertex].argsort(descending=True, stable=True)
            sources[vertex - 1] = tuple(sorted(order[: self.part.parents[vertex - 1]].tolist()))
        return self._made(sources, {block: option[0] for block, option in enumerate(options, start=1)})

    def graph(self, architecture: Architecture) -> "nx.DiGraph[int]":
        """The graph of `cell`, in NAS-Bench-101's numbering: equal cells have equal graphs."""
        return nas_bench_101().graph(self.cell(architecture))

    def supernet(
        self, *, classes: int = 10, channels: int = 16, cells: int | None = None, in_channels: int = 3
    ) -> Supernet:
        """All operations of all blocks and all parents; an edge without a choice has no weight, and is always there."""
        edges: dict[tuple[int, int], tuple[int, int] | None] = {}
        for vertex in range(1, self.blocks + 2):
            for source in range(vertex):
                place = (self._chosen[vertex], source) if vertex in self._chosen else None
                edges[source, OUTPUT if vertex > self.blocks else vertex] = place
        return VertexSupernet(
            self.choices,
            VertexRows(edges, tuple(range(self.blocks))),
            classes=classes,
            channels=channels,
            cells=DEPTH if cells is None else cells,
            in_channels=in_channels,
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
        """The network of `cell` as NAS-Bench-101 trained it."""
        return nas_bench_101().network(
            self.cell(architecture), classes=classes, channels=channels, cells=cells, in_channels=in_channels
        )
