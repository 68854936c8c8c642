"""The recurrent space of DARTS: a cell of eight steps, each with one of four activations of one state before it.

Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", ICLR 2019.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from nas_spaces.architecture import Architecture
from nas_spaces.choices import Choices
from nas_spaces.counting import Counts, count
from nas_spaces.draws import draw_one
from nas_spaces.errors import ArchitectureError, InputError
from nas_spaces.language_model import RecurrentNetwork, RecurrentSupernet
from nas_spaces.recurrent import ACTIVATIONS, Connection, Dropouts
from nas_spaces.recurrent_text import format_steps, read_steps
from nas_spaces.sizes import require_sizes
from nas_spaces.space import SearchSpace

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["EDGES", "OPERATIONS", "STEPS", "DartsRnn", "darts_rnn"]

OPERATIONS = ("none", *ACTIVATIONS)
"""none, tanh, relu, sigmoid, identity: in the order of the reference implementation."""

STEPS = 8

EDGES = tuple((source, step) for step in range(1, STEPS + 1) for source in range(step))
"""The 36 edges as (predecessor, step), in the order of the rows of the choices; state 0 is the cell's input."""

_ROWS = tuple(range(step * (step - 1) // 2, step * (step + 1) // 2) for step in range(1, STEPS + 1))
"""The rows of each step."""

_POSSIBLE: tuple[tuple[Connection, ...], ...] = tuple(
    tuple((name, source) for source in range(step) for name in ACTIVATIONS) for step in range(1, STEPS + 1)
)
"""Everything that each step can be."""


def darts_rnn(*, dropouts: Dropouts = Dropouts()) -> "DartsRnn":  # noqa: B008 - a frozen value
    """The recurrent space of DARTS: 36 edges x 5 operations, in a language model of one cell.

    Its networks read tokens, ``(batch, time)`` int64, and give the logits of the words that follow, ``(batch,
    vocabulary, time)``: what ``torch.nn.functional.cross_entropy`` takes with labels ``(batch, time)``. Of the sizes
    that all spaces share, `classes` is the number of words and `channels` the units of the embedding and of all states;
    there is one cell, and tokens have no channels. The equations are in `nas_spaces.recurrent.RecurrentCell`.

    Args:
        dropouts: of the supernet and the networks while training, where they are not told otherwise;
            `nas_spaces.recurrent.SEARCH` and `EVALUATION` are the paper's, for its sizes.

    Differs from the paper:
        1. The state before the first word of a sequence is zero; the released code carries the state of a batch over to
           the next. A pass leaves no trace in a supernet, and two passes of one step are alike. `RecurrentNetwork.carry`
           continues a text.
        2. The states of the supernet are normalised by the batch in evaluation too (see `Supernet`), without the
           running statistics of the released code.
        3. The penalty on the change of the state (``slowness``, 1e-3 in the search) is left out: it reads the states,
           which a supernet does not return.
        4. The size counts architectures as they are derived, without ``none``: ``8! 4^8``; the 1.5e10 of later papers
           is ``8! 5^8``.

    Example:
        >>> space = darts_rnn()
        >>> space.choices.shape, space.size
        ((36, 5), 2642411520)
        >>> a = space.parse("|tanh~0|+|relu~1|+|relu~1|+|tanh~3|+|tanh~3|+|relu~3|+|sigmoid~4|+|identity~7|")
        >>> tokens = torch.randint(50, (4, 7))
        >>> space.network(a, classes=50, channels=8)(tokens).shape
        torch.Size([4, 50, 7])
        >>> space.supernet(classes=50, channels=8)(tokens, space.weights(a), a.options).shape
        torch.Size([4, 50, 7])
    """
    return DartsRnn(dropouts)


class DartsRnn(SearchSpace):
    """See `darts_rnn`. A step is one decision: neighbours differ in the activation or the predecessor of one step."""

    def __init__(self, dropouts: Dropouts) -> None:
        self.dropouts = dropouts

    def __repr__(self) -> str:
        """The name, and the dropouts that the supernet has."""
        return f"{self.name}({self.dropouts})"

    @property
    def name(self) -> str:
        """``darts_rnn``."""
        return "darts_rnn"

    @property
    def reads(self) -> Literal["images", "tokens"]:
        """``tokens``."""
        return "tokens"

    @property
    def choices(self) -> Choices:
        """36 rows, one per edge in the order of `EDGES`; five columns in the order of `OPERATIONS`."""
        nodes = tuple(tuple(rows) for rows in _ROWS)
        return Choices(options=(OPERATIONS,) * len(EDGES), groups={"cell": range(len(EDGES))}, nodes=nodes)

    @property
    def size(self) -> int:
        """The number of architectures, ``8! 4^8``; many have steps that compute the same."""
        return prod(len(connections) for connections in _POSSIBLE)

    def build(self, steps: Sequence[Connection]) -> Architecture:
        """The architecture with the given activation and predecessor of each step.

        Raises:
            ArchitectureError: there are not eight steps, or one is not possible.
        """
        if len(steps) != STEPS:
            raise ArchitectureError(f"{self.name} has {STEPS} steps; {len(steps)} were given.")
        taken: list[tuple[int, ...]] = [()] * len(EDGES)
        for number, (connection, possible) in enumerate(zip(steps, _POSSIBLE, strict=True), start=1):
            if connection not in possible:
                raise ArchitectureError(
                    f"step {number} is {connection!r}; {self.name} has activations {', '.join(ACTIVATIONS)} and "
                    f"predecessors 0 to {number - 1} there."
                )
            name, source = connection
            taken[_ROWS[number - 1][source]] = (OPERATIONS.index(name),)
        return Architecture(self.name, tuple(taken), format_steps([(name, int(source)) for name, source in steps]))

    def steps(self, architecture: Architecture) -> tuple[Connection, ...]:
        """The activation and the predecessor of each step: the inverse of `build`."""
        self.require(architecture)
        return tuple(
            (OPERATIONS[architecture.options[row][0]], source)
            for rows in _ROWS
            for source, row in enumerate(rows)
            if architecture.options[row]
        )

    def parse(self, text: str) -> Architecture:
        """Read the space's own text, or DARTS' ``Genotype(recurrent=[...], concat=...)``, which is never evaluated.

        Raises:
            ArchitectureError: naming the position and what was expected there.
        """
        return self.build(read_steps(text, STEPS))

    def sample(self, generator: torch.Generator) -> Architecture:
        """Draw an architecture uniformly: every step on its own."""
        return self.build([draw_one(possible, generator, "step") for possible in _POSSIBLE])

    def __iter__(self) -> Iterator[Architecture]:
        """All architectures, made one at a time; the last step varies fastest."""
        for steps in product(*_POSSIBLE):
            yield self.build(steps)

    def neighbors(self, architecture: Architecture) -> Iterator[Architecture]:
        """Every architecture that differs in one step."""
        steps = self.steps(architecture)
        for index, possible in enumerate(_POSSIBLE):
            for other in possible:
                if other != steps[index]:
                    yield self.build([*steps[:index], other, *steps[index + 1 :]])

    def distance(self, a: Architecture, b: Architecture) -> float:
        """The number of steps that differ."""
        return float(sum(x != y for x, y in zip(self.steps(a), self.steps(b), strict=True)))

    def discretize(self, weights: Tensor) -> Architecture:
        """DARTS' rule: per step the predecessor whose strongest operation other than ``none`` is largest, with it.

        The first of equals wins.

        Raises:
            WeightsError: the weights have another shape or are not finite.
        """
        self.choices.check(weights)
        table = weights.detach().cpu().double().tolist()
        steps = []
        for rows in _ROWS:
            entries = {
                (name, source): table[row][OPERATIONS.index(name)]
                for source, row in enumerate(rows)
                for name in ACTIVATIONS
            }
            steps.append(max(entries, key=lambda connection: entries[connection]))
        return self.build(steps)

    def graph(self, architecture: Architecture) -> "nx.DiGraph[int]":
        """Word, state before, the states 0 to 8, and the state after, which is the mean of 1 to 8."""
        import networkx as nx

        graph: nx.DiGraph[int] = nx.DiGraph()
        labels = ("x_t", "h_{t-1}", *(str(state) for state in range(STEPS + 1)), "h_t")
        graph.add_nodes_from((node, {"label": label}) for node, label in enumerate(labels))
        graph.add_edges_from([(0, 2), (1, 2)], operation="")
        for step, (name, source) in enumerate(self.steps(architecture), start=1):
            graph.add_edge(2 + source, 2 + step, operation=name)
            graph.add_edge(2 + step, 3 + STEPS, operation="")
        return graph

    def supernet(
        self,
        *,
        classes: int = 10,
        channels: int = 16,
        cells: int | None = None,
        in_channels: int = 3,
        dropouts: Dropouts | None = None,
        normalize: bool = True,
    ) -> RecurrentSupernet:
        """The language model of the paper's search.

        Args:
            classes: number of words.
            channels: units of the embedding and of all states; 300 in the paper.
            cells: 1 or left out.
            in_channels: not read: tokens have no channels.
            dropouts: while training; those of the space when left out.
            normalize: whether the states are normalised over the batch.
        """
        self._check_sizes(classes, channels, cells, in_channels)
        return RecurrentSupernet(self.choices, _ROWS, classes, channels, dropouts or self.dropouts, normalize=normalize)

    def network(
        self,
        architecture: Architecture,
        *,
        classes: int = 10,
        channels: int = 16,
        cells: int | None = None,
        in_channels: int = 3,
        dropouts: Dropouts | None = None,
        normalize: bool = False,
    ) -> RecurrentNetwork:
        """The paper's evaluation network, which has 850 units on Penn Treebank.

        Args:
            architecture: an architecture of this space.
            classes: number of words.
            channels: units of the embedding and of all states.
            cells: 1 or left out.
            in_channels: not read: tokens have no channels.
            dropouts: while training; those of the space when left out.
            normalize: whether the states are normalised over the batch.
        """
        steps = self.steps(architecture)
        self._check_sizes(classes, channels, cells, in_channels)
        return RecurrentNetwork(steps, classes, channels, dropouts or self.dropouts, normalize=normalize)

    def _check_sizes(self, classes: int, channels: int, cells: int | None, in_channels: int) -> None:
        require_sizes(classes=classes, channels=channels, cells=1 if cells is None else cells, in_channels=in_channels)
        if cells not in (None, 1):
            raise InputError(f"{cells} cells were asked for; {self.name} has one, which is used at every word.")

    def count(
        self,
        architecture: Architecture,
        *,
        image: tuple[int, ...] = (1,),
        classes: int = 10,
        channels: int | None = None,
        cells: int | None = None,
    ) -> Counts:
        """Parameters, and the multiply-adds of one word, with 16 units unless said; `image` is not read."""
        units = 16 if channels is None else channels
        with torch.device("meta"):
            network = self.network(architecture, classes=classes, channels=units, cells=cells)
            return count(network, torch.zeros(1, 1, dtype=torch.int64))
