"""The conformance checks must be able to fail."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from nas_spaces import Architecture, Drawn, Supernet, darts_rnn
from nas_spaces.darts_rnn import DartsRnn
from nas_spaces.nas_bench_201 import NasBench201
from nas_spaces.recurrent import Dropouts
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


class TransposedLogits(Supernet):
    def __init__(self, inner: Supernet) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor, weights: Tensor, drawn: Drawn | None = None) -> Tensor:
        return self.inner(images, weights, drawn).transpose(1, 2)


class Recurrent(DartsRnn):
    def __init__(self, wrap: Callable[[Supernet], Supernet]) -> None:
        super().__init__(Dropouts())
        self.wrap = wrap

    def supernet(self, **options: Any) -> Supernet:  # type: ignore[override]
        return self.wrap(super().supernet(**options))


@pytest.mark.parametrize(
    ("wrap", "message"), [(IgnoresDraw, "a drawn path equals"), (TransposedLogits, r"logits have shape \(4, 6, 5\)")]
)
def test_check_supernet_finds_the_fault_in_a_space_of_text(wrap: Callable[[Supernet], Supernet], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_supernet(Recurrent(wrap), torch.randint(5, (4, 6)), classes=5)


def test_check_supernet_wants_what_the_space_reads() -> None:
    with pytest.raises(AssertionError, match="the space reads tokens"):
        check_supernet(darts_rnn(), torch.randn(3, 3, 8, 8))
    with pytest.raises(AssertionError, match="the space reads images"):
        check_supernet(NasBench201(), torch.randint(5, (4, 6)))
