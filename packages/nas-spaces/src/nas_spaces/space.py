"""The interface of a search space, and the part that spaces of independent rows share."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from nas_spaces.architecture import Architecture
from nas_spaces.choices import Choices
from nas_spaces.counting import Counts, count
from nas_spaces.draws import draw_below, draw_one
from nas_spaces.errors import ArchitectureError, InputError
from nas_spaces.supernet import SharedOperation, Supernet

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["RowwiseSpace", "SearchSpace"]


class SearchSpace(ABC):
    """A finite set of architectures, the choices that lead to each, and the networks they stand for.

    Every draw takes a ``torch.Generator``; architectures are values (`Architecture`). The network builders share three
    sizes: `classes`, `channels` (width of the first cell) and `cells` (depth, in the unit of the space).
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The name of the space, as in ``nascli search --space``."""

    def __repr__(self) -> str:
        """The name; with whatever else decides how the space's networks behave, where there is such a thing."""
        return self.name

    @property
    def reads(self) -> Literal["images", "tokens"]:
        """What the networks of the space read: images ``(b, c, h, w)``, or tokens ``(b, time)``; images, unless said."""
        return "images"

    @property
    @abstractmethod
    def choices(self) -> Choices:
        """The decisions of the space."""

    @property
    @abstractmethod
    def size(self) -> int:
        """The number of architectures."""

    @abstractmethod
    def sample(self, generator: torch.Generator) -> Architecture:
        """Draw an architecture uniformly."""

    def mutate(self, architecture: Architecture, generator: torch.Generator) -> Architecture:
        """Draw one of the neighbours uniformly.

        Raises:
            ArchitectureError: it belongs to another space, or has no neighbours.
        """
        return draw_one(list(self.neighbors(architecture)), generator, f"neighbour of {architecture}")

    def __iter__(self) -> Iterator[Architecture]:
        """All architectures, made one at a time.

        Raises:
            InputError: the space does not list them.
        """
        raise InputError(
            f"{self.name} does not list its architectures; implement __iter__(), or draw them by sample()."
        )

    def enumerate(self) -> Iterator[Architecture]:
        """All architectures, made one at a time."""
        return iter(self)

    @abstractmethod
    def neighbors(self, architecture: Architecture) -> Iterator[Architecture]:
        """Every architecture that a single change leads to, such as another operation on an edge."""

    @abstractmethod
    def distance(self, a: Architecture, b: Architecture) -> float:
        """The number of decisions in which two architectures differ; not always 1 for neighbours, where one change moves others."""

    @abstractmethod
    def parse(self, text: str) -> Architecture:
        """Read an architecture's text form.

        Raises:
            ArchitectureError: the text is not an architecture of this space.
        """

    @abstractmethod
    def discretize(self, weights: Tensor) -> Architecture:
        """The architecture that the paper of the space derives from choice weights ``(choices, options)``."""

    @abstractmethod
    def graph(self, architecture: Architecture) -> "nx.DiGraph[int]":
        """The cell as a graph; edges carry their ``operation``."""

    @abstractmethod
    def supernet(
        self, *, classes: int = 10, channels: int = 16, cells: int | None = None, in_channels: int = 3
    ) -> Supernet:
        """The network that holds the weights of all architectures; `cells` as in `network`."""

    @abstractmethod
    def network(
        self,
        architecture: Architecture,
        *,
        classes: int = 10,
        channels: int = 16,
        cells: int | None = None,
        in_channels: int = 3,
    ) -> nn.Module:
        """One architecture as an ordinary network, to be trained from scratch; the space's own depth by default."""

    def operation_modules(self, network: nn.Module, architecture: Architecture) -> Iterator[tuple[int, int, nn.Module]]:
        """Which modules of an architecture's network stand for which options: ``(row, option, module)``, for `costs`.

        An option may have several modules, one for each place where it stands, and each is counted as often as a forward
        pass calls it; what has no module, such as ``none``, costs nothing.

        Args:
            network: as `network` made it of `architecture`.
            architecture: an architecture of this space.

        Raises:
            InputError: the space does not say it.
        """
        raise InputError(
            f"{self.name} does not say where its operations stand in a network, so that no cost can be given to a single "
            f"option. count() gives the cost of a whole architecture; in a space of your own, let "
            f"{type(self).__name__}.operation_modules(network, architecture) yield (row, option, module) for each."
        )

    def inheriting_network(
        self,
        architecture: Architecture,
        *,
        classes: int = 10,
        channels: int = 16,
        cells: int | None = None,
        in_channels: int = 3,
    ) -> nn.Module:
        """`network` at the supernet's depth, with the normalisations that only the supernet has: it can take over its weights.

        Its operations are those of `shared_operations`; what copies them, and all else that both have by the same name, is
        ``nas_search.extraction.extract``.
        """
        return self.network(architecture, classes=classes, channels=channels, cells=cells, in_channels=in_channels)

    def shared_operations(self, supernet: Supernet, architecture: Architecture) -> Iterator[SharedOperation]:
        """Where a supernet holds the operations of an architecture, in the order of `operation_modules`.

        Raises:
            InputError: the space does not say it, or the supernet has operations of another width.
        """
        raise InputError(f"{self.name} does not say what its supernet shares; implement shared_operations().")

    def weights(self, architecture: Architecture) -> Tensor:
        """The choice weights of one architecture: 1 at the options taken, ``(choices, options)``."""
        self.require(architecture)
        return self.choices.one_hot(architecture.options)

    def require(self, architecture: Architecture) -> None:
        """Refuse an architecture of another space.

        Raises:
            ArchitectureError: it belongs to another space, or is no architecture.
        """
        if not isinstance(architecture, Architecture):
            raise ArchitectureError(
                f"{architecture!r:.100} is a {type(architecture).__name__} and no architecture; make one of {self.name} with its "
                f"parse(text), sample() or discretize()."
            )
        if architecture.space != self.name:
            raise ArchitectureError(
                f"architecture {architecture} belongs to space {architecture.space!r}, not to {self.name!r}; "
                f"make it with this space's sample(), parse() or discretize()."
            )

    def count(
        self,
        architecture: Architecture,
        *,
        image: tuple[int, ...] = (3, 32, 32),
        classes: int = 10,
        channels: int | None = None,
        cells: int | None = None,
    ) -> Counts:
        """Parameters and multiply-adds of an architecture's network for one `image` ``(channels, height, width)``."""
        # Each space's `network` has a width of its own when none is given.
        sizes = {} if channels is None else {"channels": channels}
        with torch.device("meta"):
            network = self.network(architecture, classes=classes, cells=cells, in_channels=image[0], **sizes)
        return count(network, (1, *image))

    def table_text(self, architecture: Architecture) -> str:
        """Under which text the tables of `load_table` hold an architecture: its own, unless it is another space's cell."""
        self.require(architecture)
        return str(architecture)


class RowwiseSpace(SearchSpace):
    """A space in which every row takes one option, whatever the other rows take."""

    @abstractmethod
    def format(self, options: Sequence[int]) -> str:
        """The text form of one option per row."""

    def architecture(self, options: Sequence[int]) -> Architecture:
        """The architecture that takes ``options[row]`` in each row.

        Raises:
            ArchitectureError: there is not one valid option per row.
        """
        rows = self.choices.options
        if len(options) != len(rows):
            raise ArchitectureError(f"{self.name} has {len(rows)} choices; {len(options)} options were given.")
        for row, option in enumerate(options):
            if not 0 <= option < len(rows[row]):
                raise ArchitectureError(
                    f"choice {row} of {self.name} has options 0 to {len(rows[row]) - 1}, not {option}."
                )
        return Architecture(self.name, tuple((int(option),) for option in options), self.format(options))

    @property
    def size(self) -> int:
        """The number of architectures: the product of the rows' lengths."""
        return prod(len(row) for row in self.choices.options)

    def __iter__(self) -> Iterator[Architecture]:
        """All architectures, the last row varying fastest; made one at a time."""
        for options in product(*(range(len(row)) for row in self.choices.options)):
            yield self.architecture(options)

    def sample(self, generator: torch.Generator) -> Architecture:
        """Draw every row uniformly and independently."""
        return self.architecture([draw_below(len(row), generator) for row in self.choices.options])

    def neighbors(self, architecture: Architecture) -> Iterator[Architecture]:
        """Every architecture that differs in one row."""
        for row, option in self._changes(architecture):
            yield self._changed(architecture, row, option)

    def mutate(self, architecture: Architecture, generator: torch.Generator) -> Architecture:
        """See `SearchSpace.mutate`; of the neighbours only the drawn one is made."""
        changes = self._changes(architecture)
        return self._changed(architecture, *draw_one(changes, generator, f"neighbour of {architecture}"))

    def _changes(self, architecture: Architecture) -> list[tuple[int, int]]:
        """The rows, each with every option that it does not take."""
        self.require(architecture)
        taken = [options[0] for options in architecture.options]
        rows = enumerate(self.choices.options)
        return [(row, option) for row, names in rows for option in range(len(names)) if option != taken[row]]

    def _changed(self, architecture: Architecture, row: int, option: int) -> Architecture:
        taken = [options[0] for options in architecture.options]
        return self.architecture([*taken[:row], option, *taken[row + 1 :]])

    def distance(self, a: Architecture, b: Architecture) -> float:
        """The number of rows in which two architectures differ."""
        self.require(a)
        self.require(b)
        return float(sum(x != y for x, y in zip(a.options, b.options, strict=True)))

    def discretize(self, weights: Tensor) -> Architecture:
        """Take the option of largest weight in every row; the first one of equals.

        Raises:
            WeightsError: the weights have another shape or are not finite.
        """
        self.choices.check(weights)
        masked = weights.detach().cpu().double().masked_fill(~self.choices.mask, -torch.inf)
        return self.architecture(masked.argmax(dim=1).tolist())
