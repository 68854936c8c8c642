"""The conformance checks must be able to fail."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_spaces import Architecture, Drawn, Layer, Supernet, chain, darts_rnn, single
from nas_spaces.chain import ChainSpace
from nas_spaces.counting import Counts
from nas_spaces.darts_rnn import DartsRnn
from nas_spaces.nas_bench_201 import NasBench201
from nas_spaces.recurrent import Dropouts
from nas_spaces.supernet import SharedOperation
from nas_spaces.testing import _check_every_row, check_space, check_supernet


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


def mine(**members: Any) -> ChainSpace:
    """A space of three layers, of which rows differ in length, with other members than it should have."""
    layers = [Layer(), Layer(2, 2, ("conv", "wide")), Layer(2)]
    operations = {
        "conv": lambda i, o, s: nn.Conv2d(i, o, 3, s, padding=1),
        "wide": lambda i, o, s: nn.Conv2d(i, o, 5, s, padding=2),
        "small": lambda i, o, s: nn.Conv2d(i, o, 1, s),
    }
    space = chain(layers, operations, name="mine")
    space.__class__ = type("Mine", (type(space),), members)
    return space


def of(name: str) -> Any:
    return getattr(ChainSpace, name)


def twice(space: ChainSpace) -> Iterator[Architecture]:
    listed = list(of("__iter__")(space))
    return iter([*listed[:-1], listed[0]])


def anywhere(space: ChainSpace, a: Architecture, generator: torch.Generator) -> Architecture:
    return space.architecture([2 - a.options[0][0] // 2, 0, 1 - a.options[2][0] // 2])


def unmasked(space: ChainSpace, weights: Tensor) -> Architecture:
    space.choices.check(weights)
    return space.architecture(
        [min(option, 1 if row == 1 else 2) for row, option in enumerate(weights.argmax(1).tolist())]
    )


def swallowing(space: ChainSpace, weights: Tensor) -> Architecture:
    return of("discretize")(space, weights.nan_to_num())


def cropping(space: ChainSpace, weights: Tensor) -> Architecture:
    return of("discretize")(space, weights[:3])


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "size": ({"size": property(lambda space: 99)}, "architectures are listed of a space whose size is 99"),
    "twice": ({"__iter__": twice}, "no architecture is listed twice"),
    "mutation": ({"mutate": anywhere}, "a mutation is a neighbour"),
    "no neighbours": ({"neighbors": lambda space, a: iter(())}, "a mutation is a neighbour"),
    "infinite": ({"distance": lambda space, a, b: 0.0 if a == b else float("inf")}, "at a positive distance"),
    "foreign": ({"require": lambda space, a: None}, "of another space's architecture must raise ArchitectureError"),
    "padding": ({"discretize": unmasked}, "discretize does not look where the mask is false"),
    "nan": ({"discretize": swallowing}, "of weights of NaN must raise WeightsError"),
    "constant": ({"sample": lambda space, generator: space.architecture([0, 0, 0])}, "are not all the same"),
    "one graph": (
        {"graph": lambda space, a: of("graph")(space, space.architecture([0, 0, 0]))},
        "different architectures have different graphs",
    ),
    "another shape": ({"discretize": cropping}, "of weights of another shape must raise WeightsError"),
}


def test_the_space_that_is_broken_below_conforms() -> None:
    check_space(mine())
    check_supernet(mine(), torch.randn(4, 3, 8, 8))


@pytest.mark.parametrize(("members", "message"), FAULTS.values(), ids=FAULTS)
def test_check_space_names_the_fault(members: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_space(mine(**members))


@pytest.mark.parametrize("seed", range(20))
def test_a_space_of_two_architectures_conforms_whatever_is_drawn(seed: int) -> None:
    operations = {"conv": lambda i, o, s: nn.Conv2d(i, o, 3, s, 1), "small": lambda i, o, s: nn.Conv2d(i, o, 1, s)}
    space = chain([Layer()], operations)
    check_space(space, samples=3, seed=seed)
    check_supernet(space, torch.randn(2, 3, 4, 4), seed=seed)


class Failing(Supernet):
    """What pools more often than small images allow."""

    def forward(self, images: Tensor, weights: Tensor, drawn: Drawn | None = None) -> Tensor:
        raise RuntimeError("Output size is too small")


def test_every_row_is_looked_at_where_the_images_are_large_enough() -> None:
    sizes, images = {"classes": 3, "channels": 4, "in_channels": 3}, torch.randn(2, 3, 8, 8)
    _check_every_row(mine(supernet=lambda space, **sizes: Failing()), images, sizes)
    blind = mine(supernet=lambda space, **sizes: Blind(of("supernet")(space, **sizes)))
    with pytest.raises(AssertionError, match=r"does not depend on the weights of the rows \[0\]"):
        _check_every_row(blind, images, sizes)


def test_a_space_of_one_architecture_conforms() -> None:
    space = single(nn.Sequential(nn.Flatten(), nn.Linear(48, 3)))
    check_space(space)
    check_supernet(space, torch.randn(4, 3, 4, 4))


class Blind(Supernet):
    """Does not look at the first row."""

    def __init__(self, inner: Supernet) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor, weights: Tensor, drawn: Drawn | None = None) -> Tensor:
        return self.inner(images, torch.cat([torch.full_like(weights[:1], 1 / 3), weights[1:]]), drawn)


def relabelled(space: ChainSpace, network: nn.Module, a: Architecture) -> Iterator[tuple[int, int, nn.Module]]:
    for row, option, module in of("operation_modules")(space, network, a):
        yield row, (option + 1) % 3 if row != 1 else option, module


def same_network(space: ChainSpace, a: Architecture, **sizes: Any) -> nn.Module:
    network: nn.Module = of("network")(space, space.architecture([0, 0, 0]), **sizes)
    return network


def other_weights(space: ChainSpace, supernet: Supernet, a: Architecture) -> Iterator[SharedOperation]:
    other = space.architecture([(options[0] + 1) % 3 if row != 1 else 0 for row, options in enumerate(a.options)])
    shared = of("shared_operations")
    for mine, wrong in zip(shared(space, supernet, a), shared(space, supernet, other), strict=True):
        yield replace(mine, state=wrong.state)


def fewer(space: ChainSpace, supernet: Supernet, a: Architecture) -> Iterator[SharedOperation]:
    return iter(list(of("shared_operations")(space, supernet, a))[:-1])


def renamed(space: ChainSpace, supernet: Supernet, a: Architecture) -> Iterator[SharedOperation]:
    for each in of("shared_operations")(space, supernet, a):
        yield replace(each, choices=((each.choices[0][0], 7),))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"network": same_network}, "networks of different architectures compute something else"),
        ({"operation_modules": relabelled}, "operation_modules names option"),
        ({"shared_operations": other_weights}, "has other names or shapes in the supernet"),
        ({"shared_operations": fewer}, "2 shared operations belong to 3 modules"),
        ({"shared_operations": renamed}, "the shared operation of row 0 is of option"),
        ({"count": lambda space, a, **sizes: Counts(0, 0)}, "of the options make .* parameters of .*, which has 0"),
    ],
)
def test_check_supernet_names_the_fault(members: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_supernet(mine(**members), torch.randn(4, 3, 8, 8, dtype=torch.float64))


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
