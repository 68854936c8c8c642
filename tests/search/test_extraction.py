"""A network that is taken out of a supernet computes what the supernet computes."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_search import ConfigError
from nas_search.extraction import Scaled, calibrate, extract, inheriting
from nas_spaces import (
    InputError,
    Layer,
    SearchSpace,
    Supernet,
    WeightsError,
    allegro,
    chain,
    darts,
    mobile,
    nas_bench_201,
)

SIZES: dict[str, Any] = {"classes": 3, "channels": 4, "in_channels": 1}
SPACES: dict[str, tuple[SearchSpace, int | None]] = {
    "nas_bench_201": (nas_bench_201(), 1),
    "darts": (darts(), 3),
    "darts_inputs": (darts(inputs=True), 1),
    "darts_free": (darts(free=True), 1),
    "allegro": (allegro(), 1),
    "mobile": (mobile(), None),
    "chain": (chain([Layer(), Layer(2, 2)], {"conv": lambda i, o, s: nn.Conv2d(i, o, 3, s, padding=1)}), None),
}


def images(count: int = 4) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def trained(space: SearchSpace, **sizes: Any) -> Supernet:
    """Moved a little, so that normalisations with factors have something to hand on too."""
    supernet = space.supernet(**sizes)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return supernet


@pytest.mark.parametrize("name", SPACES)
def test_the_logits_are_those_of_the_supernet(name: str) -> None:
    torch.manual_seed(0)
    (space, cells), generator = SPACES[name], torch.Generator().manual_seed(1)
    sizes = {**SIZES, "cells": cells}
    supernet = trained(space, **sizes)
    before = {key: value.clone() for key, value in supernet.state_dict().items()}
    for weighted in (False, True):
        found = space.sample(generator)
        weights = space.weights(found)
        if weighted:
            weights = weights * (torch.rand(weights.shape, generator=generator) - 0.3)
        network = extract(supernet, space, found, weights if weighted else None, **sizes)
        torch.testing.assert_close(network(images()), supernet(images(), weights, found.options), rtol=1e-3, atol=1e-3)
        with torch.no_grad():  # copies: the supernet stays as it was
            for parameter in network.parameters():
                parameter.zero_()
    assert all(torch.equal(supernet.state_dict()[key], value) for key, value in before.items())


@pytest.mark.parametrize("name", ["nas_bench_201", "darts", "mobile"])
def test_evaluation_uses_the_statistics_of_the_batches(name: str) -> None:
    torch.manual_seed(0)
    space, cells = SPACES[name]
    sizes = {**SIZES, "cells": cells}
    found = space.sample(torch.Generator().manual_seed(2))
    supernet = trained(space, **sizes)
    network = extract(supernet, space, found, **sizes)
    weights = {key: value.clone() for key, value in network.named_parameters()}
    calibrate(network, [images(64)])
    network.eval()
    # Running variances are unbiased, those of a batch are not: equal up to n / (n - 1) of the smallest feature map.
    logits, expected = network(images(64)), supernet(images(64), space.weights(found), found.options)
    assert (logits - expected).abs().mean() < 0.1 * expected.std()
    torch.testing.assert_close(logits[:2], network(images(64)[:2]), rtol=1e-3, atol=1e-3)
    assert all(torch.equal(value, weights[key]) for key, value in network.named_parameters())


def test_a_saved_state_is_read_into_a_network_of_the_same_form() -> None:
    space, sizes = darts(), {**SIZES, "cells": 2}
    found = space.sample(torch.Generator().manual_seed(0))
    network = extract(space.supernet(**sizes), space, found, **sizes)
    again = inheriting(space, found, **sizes)
    again.load_state_dict(network.state_dict())
    torch.testing.assert_close(again(images()), network(images()))
    assert sum(isinstance(module, Scaled) for module in again.modules()) == 2 * 8


def test_without_a_depth_it_is_that_of_the_supernet() -> None:
    space = darts()
    found = space.sample(torch.Generator().manual_seed(0))
    extract(space.supernet(**SIZES), space, found, **SIZES)


@pytest.mark.parametrize("changed", [{"channels": 8}, {"classes": 4}, {"in_channels": 3}])
@pytest.mark.parametrize("name", ["nas_bench_201", "darts", "mobile"])
def test_other_sizes(name: str, changed: dict[str, int]) -> None:
    space, cells = SPACES[name]
    sizes = {**SIZES, "cells": cells}
    supernet = space.supernet(**sizes)
    with pytest.raises(ConfigError, match="was made with other sizes than those given"):
        extract(supernet, space, space.sample(torch.Generator()), **sizes | changed)


@pytest.mark.parametrize("space", [nas_bench_201(), darts()])
def test_partial_channels(space: Any) -> None:
    supernet = space.supernet(**SIZES, cells=1, parts=2)
    with pytest.raises(InputError, match="narrower than those of a network"):
        extract(supernet, space, space.sample(torch.Generator()), **SIZES, cells=1)


def test_weights_of_another_shape() -> None:
    space = nas_bench_201()
    with pytest.raises(WeightsError):
        extract(space.supernet(**SIZES), space, space.sample(torch.Generator()), torch.ones(2, 2), **SIZES)
