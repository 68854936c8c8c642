"""A space of one architecture: a network of the user's, where something else than its architecture is searched."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from nas_spaces.architecture import Architecture
from nas_spaces.choices import Choices
from nas_spaces.errors import ArchitectureError
from nas_spaces.operations import forget_statistics
from nas_spaces.sizes import require_sizes
from nas_spaces.space import RowwiseSpace
from nas_spaces.supernet import Drawn, Supernet, connected

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["SingleNetwork", "single"]


class SingleNetwork(RowwiseSpace):
    """A space without choices, whose only architecture is a given network; see `single`.

    Its size is the network's own: `channels` and `cells` are not used.
    """

    def __init__(self, make: Callable[..., nn.Module], name: str) -> None:
        self._make, self._name = make, name

    @property
    def name(self) -> str:
        """As given."""
        return self._name

    @property
    def choices(self) -> Choices:
        """None: weights are ``(0, 0)``."""
        return Choices(())

    def format(self, options: Sequence[int]) -> str:
        """The name of the space."""
        return self._name

    def parse(self, text: str) -> Architecture:
        """See `SearchSpace.parse`: the name of the space is all there is."""
        if text != self._name:
            raise ArchitectureError(
                f"{text!r} is no architecture of space {self._name!r}, which has {self._name!r} alone."
            )
        return self.architecture([])

    def discretize(self, weights: Tensor) -> Architecture:
        """The architecture, whatever the ``(0, 0)`` weights."""
        self.choices.check(weights)
        return self.architecture([])

    def graph(self, architecture: Architecture) -> "nx.DiGraph[int]":
        """The network as one edge from its input to its output."""
        import networkx as nx

        self.require(architecture)
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_node(0, label="input", role="input")
        graph.add_node(1, label="output", role="output")
        graph.add_edge(0, 1, operation=self._name)
        return graph

    def supernet(
        self, *, classes: int = 10, channels: int = 16, cells: int | None = None, in_channels: int = 3
    ) -> Supernet:
        """The network, whose batch normalisation uses the statistics of the batch, as in every supernet."""
        return _Alone(self.choices, self._made(classes, in_channels))

    def network(
        self,
        architecture: Architecture,
        *,
        classes: int = 10,
        channels: int = 16,
        cells: int | None = None,
        in_channels: int = 3,
    ) -> nn.Module:
        """The network as it is made."""
        self.require(architecture)
        return self._made(classes, in_channels)

    def _made(self, classes: int, in_channels: int) -> nn.Module:
        require_sizes(classes=classes, in_channels=in_channels)
        return self._make(classes=classes, in_channels=in_channels)


class _Alone(Supernet):
    def __init__(self, choices: Choices, network: nn.Module) -> None:
        super().__init__()
        self.choices, self.network = choices, network
        forget_statistics(network)

    def forward(self, images: Tensor, weights: Tensor, drawn: Drawn | None = None) -> Tensor:
        self.choices.require_shape(weights, drawn)
        return connected(self.network(images), weights)


def single(make: nn.Module | Callable[..., nn.Module], *, name: str = "single") -> SingleNetwork:
    """A space whose only architecture is a network of your own, such as a WideResNet.

    Args:
        make: called as ``make(classes=..., in_channels=...)``; a new network each time, images to logits. Or a network,
            which is copied each time with the weights that it has, and left as it is itself: its classes and input channels are
            those it was made with, whatever is asked for.
        name: of the space, and the text of its architecture.

    Example:
        >>> import torch
        >>> def linear(*, classes, in_channels):
        ...     return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, classes))
        >>> space = single(linear)
        >>> space.size, space.supernet(in_channels=1)(torch.zeros(2, 1, 8, 8), torch.zeros(0, 0)).shape
        (1, torch.Size([2, 10]))
    """
    return SingleNetwork(_Copies(make) if isinstance(make, nn.Module) else make, name)


@dataclass(frozen=True)
class _Copies:
    network: nn.Module

    def __call__(self, *, classes: int, in_channels: int) -> nn.Module:
        return copy.deepcopy(self.network)
