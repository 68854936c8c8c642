"""Layer-wise spaces: a chain of layers, each of which is one of a few modules of your own."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

from nas_spaces.architecture import Architecture
from nas_spaces.choices import Choices
from nas_spaces.errors import ArchitectureError, InputError, WeightsError
from nas_spaces.operations import forget_statistics
from nas_spaces.parsing import Reader
from nas_spaces.sizes import require_sizes
from nas_spaces.skeleton import require_images
from nas_spaces.space import RowwiseSpace
from nas_spaces.supernet import Drawn, SharedOperation, Supernet

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["ChainSpace", "Ends", "Layer", "MakeLayer", "chain"]

MakeLayer: TypeAlias = Callable[[int, int, int], nn.Module]
"""``(input channels, output channels, stride)`` to a module that keeps the size up to the stride, and its input as it is."""


@dataclass(frozen=True)
class Layer:
    """One layer of a chain.

    Args:
        width: output channels as a multiple of the network's `channels`.
        stride: what every option of the layer divides the resolution by.
        options: the names of the operations that this layer chooses from; all of them when left out.

    Raises:
        InputError: a width that is not above 0, a stride that is no whole number of at least 1, or an option that stands
            twice.
    """

    width: float = 1.0
    stride: int = 1
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_sizes(stride=self.stride)
        if not isinstance(self.width, Real) or not 0 < self.width < float("inf"):
            raise InputError(f"width is {self.width!r}; expected a multiple of the network's channels, above 0.")
        if len(set(self.options)) != len(self.options):
            raise InputError(f"options are {', '.join(self.options)}; expected each once.")


@dataclass(frozen=True)
class Ends:
    """What stands before and behind the layers.

    Args:
        stem: ``(image channels, channels)`` to a module and its output channels.
        head: ``(input channels, classes)`` to a module that gives logits.
        halvings: how often the stem halves the resolution.
    """

    stem: Callable[[int, int], tuple[nn.Module, int]]
    head: Callable[[int, int], nn.Module]
    halvings: int = 0


def _stem(in_channels: int, channels: int) -> tuple[nn.Module, int]:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
    ), channels


def _head(inputs: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def chain(
    layers: int | Sequence[Layer],
    operations: Mapping[str, MakeLayer],
    *,
    name: str = "chain",
    ends: Ends | None = None,
    skips: Collection[str] | None = None,
) -> "ChainSpace":
    """A space of layers in a row, filled with your own modules, for images ``(batch, channels, height, width)``.

    Args:
        layers: the layers, or how many of width 1 and stride 1.
        operations: the options by name; each makes a module from (input channels, output channels, stride).
        name: the name of the space, which its architectures carry.
        ends: stem and head; a 3 x 3 convolution, and pooling with a linear classifier, when left out.
        skips: the operations that are skip connections, for what watches a search; those with ``skip`` in their name when
            left out.

    Raises:
        InputError: no layers, no options, an option that `operations` does not have, or one whose name is not a word.

    Example:
        >>> import torch
        >>> space = chain(
        ...     [Layer(), Layer(width=2, stride=2), Layer(width=2)],
        ...     {
        ...         "conv": lambda i, o, s: nn.Conv2d(i, o, 3, s, padding=1),
        ...         "pool": lambda i, o, s: nn.Sequential(nn.AvgPool2d(s), nn.Conv2d(i, o, 1)),
        ...     },
        ... )
        >>> space.size, str(space.parse("conv|pool|conv"))
        (8, 'conv|pool|conv')
        >>> space.network(space.parse("conv|pool|conv"), channels=4)(torch.randn(2, 3, 8, 8)).shape
        torch.Size([2, 10])
    """
    specified = tuple(Layer() for _ in range(layers)) if isinstance(layers, int) else tuple(layers)
    if not isinstance(operations, Mapping) or not all(isinstance(word, str) for word in operations):
        raise InputError(
            f"operations are {operations!r:.80}; expected a dictionary from names to functions of (input channels, output "
            "channels, stride)."
        )
    if not all(isinstance(layer, Layer) for layer in specified):
        raise InputError(f"layers are {layers!r:.80}; expected a number, or a list of Layer(...).")
    for word in operations:
        if not re.fullmatch(r"[^\W\d]\w*", word):
            raise InputError(f"operation {word!r} must be a word of letters, digits and underscores.")
    rows = tuple(layer.options or tuple(operations) for layer in specified)
    unknown = sorted({option for row in (*rows, skips or ()) for option in row} - set(operations))
    if not rows or not operations or unknown:
        raise InputError(
            f"a chain needs layers and operations, and its layers and skips choose from {', '.join(operations) or 'none'}"
            + (f", not {', '.join(unknown)}." if unknown else ".")
        )
    return ChainSpace(
        name, specified, rows, dict(operations), ends or Ends(_stem, _head), None if skips is None else frozenset(skips)
    )


class ChainSpace(RowwiseSpace):
    """See `chain`. Row i of the choices is layer i, in group ``layers``; the text is ``option|option|...``."""

    def __init__(
        self,
        name: str,
        layers: tuple[Layer, ...],
        rows: tuple[tuple[str, ...], ...],
        operations: Mapping[str, MakeLayer],
        ends: Ends,
        skips: frozenset[str] | None = None,
    ) -> None:
        self._name, self.layers, self.operations, self.ends = name, layers, operations, ends
        self._choices = Choices(rows, {"layers": range(len(rows))}, skips=skips)

    @property
    def name(self) -> str:
        """The name that was given."""
        return self._name

    @property
    def choices(self) -> Choices:
        """One row per layer."""
        return self._choices

    def require(self, architecture: Architecture) -> None:
        """See `SearchSpace.require`; chains may share a name, so that the layers and options are compared too."""
        super().require(architecture)
        rows, options = self.choices.options, architecture.options
        if (
            len(options) != len(rows)
            or any(not 0 <= option < len(row) for row, (option,) in zip(rows, options, strict=True))
            or str(architecture) != self.format([option for (option,) in options])
        ):
            raise ArchitectureError(
                f"architecture {architecture} belongs to another space of the name {self.name!r}, with other layers or "
                "options: give the spaces names of their own, chain(..., name=...)."
            )

    def format(self, options: Sequence[int]) -> str:
        """``option|option|...``, layer by layer."""
        return "|".join(row[option] for row, option in zip(self.choices.options, options, strict=True))

    def parse(self, text: str) -> Architecture:
        """Read ``option|option|...``.

        Raises:
            ArchitectureError: naming the position and what was expected there.
        """
        reader = Reader(text)
        options = []
        for index, row in enumerate(self.choices.options):
            if index:
                reader.take("|")
            options.append(reader.one_of(row, f"the operation of layer {index}"))
        reader.end()
        return self.architecture(options)

    def graph(self, architecture: Architecture) -> "nx.DiGraph[int]":
        """The input, then the output of each layer; the edge between carries the layer's operation."""
        import networkx as nx

        self.require(architecture)
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_node(0, label="input")
        for index, (row, (option,)) in enumerate(zip(self.choices.options, architecture.options, strict=True)):
            graph.add_node(index + 1, label=str(index + 1))
            graph.add_edge(index, index + 1, operation=row[option])
        return graph

    def supernet(
        self, *, classes: int = 10, channels: int = 16, cells: int | None = None, in_channels: int = 3
    ) -> Supernet:
        """All options of every layer; `cells` is the number of layers, which cannot be changed."""
        self._check_depth(cells)
        return _Supernet(self, self._body(self.choices.options, classes, channels, in_channels))

    def network(
        self,
        architecture: Architecture,
        *,
        classes: int = 10,
        channels: int = 16,
        cells: int | None = None,
        in_channels: int = 3,
    ) -> nn.Module:
        """The chosen layers; `cells` is the number of layers, which cannot be changed."""
        self.require(architecture)
        self._check_depth(cells)
        names = [(row[option],) for row, (option,) in zip(self.choices.options, architecture.options, strict=True)]
        return _Network(self._body(names, classes, channels, in_channels))

    def operation_modules(self, network: nn.Module, architecture: Architecture) -> Iterator[tuple[int, int, nn.Module]]:
        """See `SearchSpace.operation_modules`."""
        self.require(architecture)
        assert isinstance(network, _Network)
        for row, (layer, (option,)) in enumerate(zip(network.body.layers, architecture.options, strict=True)):
            assert isinstance(layer, nn.ModuleList)
            yield row, option, layer[0]

    def shared_operations(self, supernet: Supernet, architecture: Architecture) -> Iterator[SharedOperation]:
        """See `SearchSpace.shared_operations`."""
        self.require(architecture)
        assert isinstance(supernet, _Supernet)
        for row, (layer, (option,)) in enumerate(zip(supernet.body.layers, architecture.options, strict=True)):
            assert isinstance(layer, nn.ModuleList)
            yield SharedOperation(((row, option),), layer[option].state_dict())

    def _check_depth(self, cells: int | None) -> None:
        if cells is None:
            return
        require_sizes(cells=cells)
        if cells != len(self.layers):
            raise InputError(
                f"{cells} cells were asked for; {self.name} has {len(self.layers)} layers: give as many, or leave it out."
            )

    def _body(self, names: Sequence[Sequence[str]], classes: int, channels: int, in_channels: int) -> "_Body":
        require_sizes(classes=classes, channels=channels, in_channels=in_channels)
        stem, width = self.ends.stem(in_channels, channels)
        layers = nn.ModuleList()
        for layer, options in zip(self.layers, names, strict=True):
            outputs = max(1, round(layer.width * channels))
            layers.append(nn.ModuleList(self.operations[name](width, outputs, layer.stride) for name in options))
            width = outputs
        halvings = self.ends.halvings + sum(layer.stride.bit_length() - 1 for layer in self.layers)
        return _Body(stem, layers, self.ends.head(width, classes), in_channels, halvings)


class _Body(nn.Module):
    """Stem, the options of each layer, and head."""

    def __init__(
        self, stem: nn.Module, layers: nn.ModuleList, head: nn.Module, in_channels: int, halvings: int
    ) -> None:
        super().__init__()
        self.stem, self.layers, self.head = stem, layers, head
        self.in_channels, self.halvings = in_channels, halvings

    def forward(self, images: Tensor, run: Callable[[int, nn.ModuleList, Tensor], Tensor]) -> Tensor:
        """Let `run` evaluate each layer's options."""
        require_images(images, self.in_channels, self.halvings)
        features = self.stem(images)
        for index, options in enumerate(self.layers):
            assert isinstance(options, nn.ModuleList)
            features = run(index, options, features)
        return self.head(features)


class _Network(nn.Module):
    """A chain with one option per layer."""

    def __init__(self, body: _Body) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: Tensor) -> Tensor:
        """``(b, in_channels, h, w) -> (b, classes)``."""
        return self.body(images, lambda _index, options, features: options[0](features))


class _Supernet(Supernet):
    """A chain with every option of every layer. See `Supernet` for what the weights mean."""

    def __init__(self, space: ChainSpace, body: _Body) -> None:
        super().__init__()
        self.choices, self.body = space.choices, body
        forget_statistics(self)

    def forward(self, images: Tensor, weights: Tensor, drawn: Drawn | None = None) -> Tensor:
        """See `Supernet.forward`."""
        self.choices.require_shape(weights, drawn)
        factors = weights.to(images)

        def run(index: int, options: nn.ModuleList, features: Tensor) -> Tensor:
            taken: Iterator[int] = iter(range(len(options)) if drawn is None else dict.fromkeys(drawn[index]))
            outputs = [
                factors[index, option] * self._evaluated(index, option, options[option], features) for option in taken
            ]
            if not outputs:
                raise WeightsError(f"nothing was drawn in layer {index}: no path leads from input to output.")
            return sum(outputs[1:], outputs[0])

        return self.body(images, run)

    def _evaluated(self, index: int, option: int, module: nn.Module, features: Tensor) -> Tensor:
        if torch.compiler.is_compiling() or features.is_inference():  # where changes are not counted
            return module(features)
        before = features._version
        output = module(features)
        if features._version != before:
            name = self.choices.options[index][option]
            raise InputError(
                f"operation {name!r} changes its input in place, which the other options of layer {index} read too: write "
                "nn.ReLU() instead of nn.ReLU(inplace=True), x + y instead of x += y."
            )
        return output
