"""One architecture of a trained supernet as a network of its own, with the supernet's weights."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from nas_search.errors import ConfigError
from nas_spaces import Architecture, SearchSpace, Supernet

__all__ = ["Scaled", "calibrate", "extract", "inheriting"]


class Scaled(nn.Module):
    """An operation times a number that is learned: what its choice weight was in the supernet.

    Args:
        operation: what is scaled.
    """

    def __init__(self, operation: nn.Module) -> None:
        super().__init__()
        self.operation = operation
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, features: Tensor) -> Tensor:
        """``scale * operation(features)``."""
        return self.scale * self.operation(features)


def inheriting(
    space: SearchSpace,
    architecture: Architecture,
    *,
    classes: int,
    channels: int,
    cells: int | None = None,
    in_channels: int = 3,
) -> nn.Module:
    """A network that can compute what a supernet of these sizes computes: `extract` fills it, a file of it is read into it.

    It is the space's `network` with every operation `Scaled`, and with the normalisations that only the supernet has.

    Args:
        space: of the architecture.
        architecture: the one that is built.
        classes: as of the supernet.
        channels: as of the supernet.
        cells: as of the supernet, with the same default.
        in_channels: as of the supernet.

    Raises:
        InputError: the space does not say where its operations stand.
    """
    return _scaled(space, architecture, classes=classes, channels=channels, cells=cells, in_channels=in_channels)[0]


@torch.no_grad()
def extract(
    supernet: Supernet,
    space: SearchSpace,
    architecture: Architecture,
    weights: Tensor | None = None,
    *,
    classes: int,
    channels: int,
    cells: int | None = None,
    in_channels: int = 3,
) -> nn.Module:
    """The network of an architecture with copies of the supernet's weights; while training it gives the supernet's logits.

    In evaluation its batch normalisations use statistics of their own, which a supernet has none of: see `calibrate`.

    Args:
        supernet: on whole channels.
        space: whose supernet it is.
        architecture: the one that is taken out.
        weights: the choice weights that the supernet computes with, ``(choices, options)``; 1 for each option taken when
            left out.
        classes: as the supernet was made with, and so the rest.
        channels: width of the first cell.
        cells: depth.
        in_channels: channels of the images.

    Returns:
        See `inheriting`; on the supernet's device and in its precision.

    Raises:
        ConfigError: the sizes are not those of the supernet.
        InputError: the space does not say what its supernet shares, or the operations have another width there.
        WeightsError: the weights have another shape.

    Example:
        >>> from nas_spaces import nas_bench_201
        >>> space, sizes = nas_bench_201(), {"classes": 4, "channels": 4, "cells": 1}
        >>> supernet, found = space.supernet(**sizes), space.sample(torch.Generator().manual_seed(0))
        >>> network, images = extract(supernet, space, found, **sizes), torch.randn(2, 3, 8, 8)
        >>> torch.allclose(network(images), supernet(images, space.weights(found), found.options), atol=1e-5)
        True
    """
    weights = (space.weights(architecture) if weights is None else weights.detach()).double()
    space.choices.require_shape(weights)
    network, operations = _scaled(
        space, architecture, classes=classes, channels=channels, cells=cells, in_channels=in_channels
    )
    network.to(next(supernet.parameters()))
    for operation, shared in zip(operations, space.shared_operations(supernet, architecture), strict=True):
        factor = torch.stack([weights[choice] for choice in shared.choices]).prod()
        operation.scale.copy_(shared.share * factor)
        _fill(operation.operation, shared.state)
    inside = tuple(f"{name}." for name, module in network.named_modules() if isinstance(module, Scaled))
    # What stands around the operations has the same names in both; in most spaces it is the supernet's `body`.
    around = {
        name.removeprefix("body."): value for name, value in supernet.state_dict().items()
    } | supernet.state_dict()
    rest = {name: around[name] for name in network.state_dict() if name in around and not name.startswith(inside)}
    _fill(network, rest, filled=inside)
    return network


def calibrate(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give the batch normalisations the mean statistics of some batches, for evaluation; nothing else of the network changes.

    Args:
        network: whose statistics are set anew.
        batches: what it reads; of the size it was trained with, as their statistics depend on it.
    """
    update_bn(batches, network)


def _scaled(
    space: SearchSpace, architecture: Architecture, *, classes: int, channels: int, cells: int | None, in_channels: int
) -> tuple[nn.Module, list[Scaled]]:
    """The network, and its operations in the order of ``space.operation_modules``."""
    network = space.inheriting_network(
        architecture, classes=classes, channels=channels, cells=cells, in_channels=in_channels
    )
    found = [module for _, _, module in space.operation_modules(network, architecture)]
    places = {child: (parent, name) for parent in network.modules() for name, child in parent.named_children()}
    operations = [Scaled(module) for module in found]
    for operation in operations:
        parent, name = places[operation.operation]
        setattr(parent, name, operation)
    return network, operations


def _fill(module: nn.Module, state: Mapping[str, Tensor], filled: tuple[str, ...] = ()) -> None:
    """Copy by name; normalisations without factors there keep 1 and 0, and their own statistics.

    Raises:
        ConfigError: something has no counterpart, or one of another shape.
    """
    try:
        missing, unexpected = module.load_state_dict(dict(state), strict=False)
    except RuntimeError as error:
        raise ConfigError(f"the supernet was made with other sizes than those given: {error}") from error
    lacking = [
        name
        for name in missing
        if not name.startswith(filled)
        and not isinstance(module.get_submodule(name.rpartition(".")[0]), nn.BatchNorm1d | nn.BatchNorm2d)
    ]
    if lacking or unexpected:
        raise ConfigError(
            f"the supernet was made with other sizes than those given: {', '.join([*lacking, *unexpected])} have no counterpart."
        )
