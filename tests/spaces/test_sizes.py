"""The sizes that supernets and networks are built with: one check, which every space makes."""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from nas_spaces import InputError, Layer, SearchSpace, catalog, chain, darts
from nas_spaces.sizes import require_sizes

OWN = chain(2, {"conv": lambda i, o, s: torch.nn.Conv2d(i, o, 3, s, padding=1)})
SPACES = [*(catalog.space(name) for name in catalog.names()), darts(inputs=True), OWN]
SIZES = ("classes", "channels", "cells", "in_channels")
WRONG: tuple[Any, ...] = (0, -1, True, 2.0, "2")


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_a_size_is_a_whole_number_of_at_least_1(space: SearchSpace, name: str) -> None:
    architecture = space.sample(torch.Generator().manual_seed(0))
    make: tuple[Callable[..., object], ...] = (space.supernet, partial(space.network, architecture))
    for size, build in product(WRONG, make):
        with pytest.raises(InputError, match=f"^{name} is {size!r}; expected a whole number of at least 1"):
            build(**{name: size})


@pytest.mark.parametrize("size", [True, 1.0, 0])
@pytest.mark.parametrize("name", ["darts", "nas_bench_201"])
def test_so_is_the_number_of_parts(name: str, size: Any) -> None:
    with pytest.raises(InputError, match=f"parts is {size!r}; expected a whole number"):
        catalog.space(name).supernet(parts=size)  # type: ignore[call-arg]


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    require_sizes(channels=np.int64(4), cells=1)
    with pytest.raises(InputError, match="cells is 0"):
        require_sizes(channels=np.int64(4), cells=0)


@pytest.mark.parametrize("stride", [0, 1.0, True])
def test_strides_of_a_chain(stride: Any) -> None:
    with pytest.raises(InputError, match=f"stride is {stride!r}; expected a whole number"):
        Layer(stride=stride)


@pytest.mark.parametrize("width", [0.0, -1.0, float("nan"), float("inf")])
def test_widths_of_a_chain(width: float) -> None:
    with pytest.raises(InputError, match=f"width is {width}; expected a multiple"):
        Layer(width=width)


def test_the_imagenet_stem_halves_the_channels() -> None:
    with pytest.raises(InputError, match="channels is 1; the imagenet stem begins with half as many: give 2 or more"):
        darts().supernet(channels=1, stem="imagenet")
