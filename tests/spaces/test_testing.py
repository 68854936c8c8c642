"""The conformance checks must be able to fail."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from nas_spaces import Architecture, Drawn, Supernet
from nas_spaces.nas_bench_201 import NasBench201
from nas_spaces.testing import check_space, check_supernet


class ForgetsText(NasBench201):
    def parse(self, text: str) -> Architecture:
        return self.architecture([0] * 6) if text else super().parse(text)


class OwnNeighbor(NasBench201):
    def neighbors(self, architecture: Architecture) -> Iterator[Architecture]:
        yield architecture


class GlobalDraws(NasBench201):
    def sample(self, generator: torch.Generator) -> Architecture:
        torch.rand(())
        return super().sample(generator)


@pytest.mark.parametrize(
    "broken", [ForgetsText(), OwnNeighbor(), GlobalDraws()], ids=lambda space: type(space).__name__
)
def test_check_space_finds_the_fault(broken: NasBench201) -> None:
    with pytest.raises(AssertionError):
        check_space(broken)


class IgnoresDraw(Supernet):
    def __init__(self, inner: Supernet) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor, weights: Tensor, drawn: Drawn | None = None) -> Tensor:
        return self.inner(images, weights) + (0.0 if drawn is None else 1.0)


class Dishonest(NasBench201):
    def supernet(self, **sizes: Any) -> Supernet:
        return IgnoresDraw(super().supernet(**sizes))


def test_check_supernet_finds_the_fault() -> None:
    with pytest.raises(AssertionError, match="a drawn path equals"):
        check_supernet(Dishonest(), torch.randn(3, 3, 8, 8))
