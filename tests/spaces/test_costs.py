from collections.abc import Iterator, Sequence
from typing import Any

import networkx as nx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nas_spaces import (
    Architecture,
    Choices,
    InputError,
    Layer,
    RowwiseSpace,
    SearchSpace,
    Supernet,
    WeightsError,
    allegro,
    amended_s1,
    amended_s2,
    chain,
    darts,
    darts_rnn,
    mobile,
    nas_bench_1shot1,
    nas_bench_101,
    nas_bench_201,
)
from nas_spaces.costs import Costs, Place, operation_costs, places

MODULES = {
    "conv": lambda i, o, s: torch.nn.Conv2d(i, o, 3, s, padding=1),
    "wide": lambda i, o, s: torch.nn.Conv2d(i, o, 5, s, padding=2),
}
SPACES: list[Any] = [
    (nas_bench_201(), 1),
    pytest.param(darts(), 3, marks=pytest.mark.slow),
    pytest.param(darts(free=True), 3, marks=pytest.mark.nightly),
    pytest.param(allegro(), 3, marks=pytest.mark.slow),
    pytest.param(amended_s1(), 3, marks=pytest.mark.slow),
    (mobile(((24, 2, 2), (32, 1, 1))), None),
    (chain([Layer(), Layer(2, 2, ("wide",)), Layer(2)], MODULES), None),
]


@pytest.mark.parametrize(("space", "cells"), SPACES, ids=lambda value: getattr(value, "name", value))
def test_the_options_taken_and_the_constant_are_the_count(space: SearchSpace, cells: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    parameters = operation_costs(space, channels=4, cells=cells, image=(1, 10, 8), classes=3)
    adds = operation_costs(space, measure="multiply_adds", channels=4, cells=cells, image=(1, 10, 8), classes=3)
    assert parameters.constant > 0
    for _ in range(3):
        a = space.sample(generator)
        counts = space.count(a, image=(1, 10, 8), classes=3, channels=4, cells=cells)
        weights = space.weights(a).double()
        assert float(parameters.of(weights)) == counts.parameters
        assert float(adds.of(weights)) == counts.multiply_adds


@pytest.mark.slow
def test_cells_of_their_own() -> None:
    space = amended_s2()
    costs = operation_costs(space, channels=4, image=(3, 8, 8))
    a = space.sample(torch.Generator().manual_seed(0))
    assert float(costs.of(space.weights(a).double())) == space.count(a, image=(3, 8, 8), channels=4).parameters


def test_the_published_costs_of_nas_bench_201() -> None:
    costs = operation_costs(nas_bench_201(), measure="multiply_adds")
    assert costs.constant == 7_783_050
    assert costs.options.tolist() == [[0, 0, 3_932_160, 35_389_440, 0]] * 6


def test_the_expected_cost_is_linear_and_differentiable() -> None:
    space = nas_bench_201()
    costs = operation_costs(space, cells=1, channels=4, image=(3, 8, 8))
    logits = torch.zeros(6, 5, dtype=torch.float64, requires_grad=True)
    expected = costs.of(logits.softmax(dim=1))
    assert float(expected.detach()) == pytest.approx(costs.constant + float(costs.options.sum()) / 5)
    (grad,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(grad, (costs.options - costs.options.mean(dim=1, keepdim=True)) / 5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision(dtype: torch.dtype) -> None:
    costs = operation_costs(nas_bench_201(), measure="multiply_adds", cells=1)
    assert float(costs.options.max()) > torch.finfo(torch.float16).max
    weights = torch.full((6, 5), 0.25, dtype=dtype, requires_grad=True)
    expected = costs.of(weights)
    assert float(expected.detach()) == pytest.approx(costs.constant + float(costs.options.sum()) / 4, rel=1e-6)
    assert expected.dtype == torch.float32


def test_the_default_device_does_not_matter() -> None:
    space = nas_bench_201()
    expected = operation_costs(space)
    with torch.device("meta"):
        costs = operation_costs(space)
    assert torch.equal(costs.options, expected.options)
    assert costs.constant == expected.constant


def test_a_function_is_summed_over_the_places() -> None:
    space = nas_bench_201()
    costs = operation_costs(space, measure=lambda place: float(place.inputs[2]), cells=2, channels=4, image=(3, 8, 8))
    assert costs.constant == 0
    # Two cells at each of 8, 4 and 2 pixels.
    assert costs.options.tolist() == [[0, 28, 28, 28, 28]] * 6


def test_places_name_operation_and_shapes() -> None:
    found = list(places(darts(), channels=4, cells=3, image=(3, 8, 8)))
    assert len({(p.row, p.option, id(p.module)) for p in found}) == len(found)
    keys = {place.key for place in found if place.row >= 14}
    assert "sep_conv_3x3 8x8x8 8x4x4" in keys
    assert all(isinstance(place, Place) and place.name != "none" for place in found)


def test_bad_input() -> None:
    with pytest.raises(InputError, match="unknown measure 'flops'"):
        operation_costs(nas_bench_201(), measure="flops")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="rows of their own"):
        operation_costs(darts(inputs=True))
    with pytest.raises(WeightsError, match=r"shape \(5, 6\); the costs have \(6, 5\)"):
        Costs(torch.zeros(6, 5), 0.0).of(torch.zeros(5, 6))


def test_a_space_that_does_not_say_where_its_operations_stand() -> None:
    for other in (nas_bench_101(), nas_bench_1shot1(1), darts_rnn()):
        with pytest.raises(InputError, match=f"{other.name} does not say where its operations stand"):
            operation_costs(other)


class Third(RowwiseSpace):
    """What somebody else has to write for a space of two layers, without `operation_modules`."""

    @property
    def name(self) -> str:
        return "third"

    @property
    def choices(self) -> Choices:
        return Choices((("conv", "skip_connect"),) * 2)

    def format(self, options: Sequence[int]) -> str:
        return "".join(map(str, options))

    def parse(self, text: str) -> Architecture:
        return self.architecture([int(letter) for letter in text])

    def graph(self, architecture: Architecture) -> "nx.DiGraph[int]":
        return nx.path_graph(3, create_using=nx.DiGraph)

    def supernet(self, **sizes: Any) -> Supernet:
        pytest.fail("costs are those of networks; no supernet is asked for")

    def network(self, architecture: Architecture, *, in_channels: int = 3, **sizes: Any) -> torch.nn.Module:
        modules = [
            torch.nn.Identity() if option else torch.nn.Conv2d(in_channels, in_channels, 1)
            for (option,) in architecture.options
        ]
        return torch.nn.Sequential(*modules)


class Priced(Third):
    def operation_modules(
        self, network: torch.nn.Module, architecture: Architecture
    ) -> Iterator[tuple[int, int, torch.nn.Module]]:
        for row, ((option,), module) in enumerate(zip(architecture.options, network.children(), strict=True)):
            yield row, option, module


def test_a_space_of_somebody_else_is_told_what_to_write() -> None:
    with pytest.raises(
        InputError,
        match=r"third does not say where .* let Third.operation_modules\(network, architecture\) yield \(row, option, mod",
    ):
        operation_costs(Third())
    costs = operation_costs(Priced())
    assert costs.options.tolist() == [[12.0, 0.0]] * 2
    assert costs.constant == 0.0


def test_what_a_space_of_somebody_else_has_without_writing_it() -> None:
    space = Third()
    assert [str(a) for a in space.enumerate()] == ["00", "01", "10", "11"]
    assert str(space.mutate(space.parse("00"), torch.Generator().manual_seed(0))) in ("01", "10")


class Raw(nn.Module):
    """A product with a hidden layer, whose width its text does not tell."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.into = nn.Parameter(torch.zeros(hidden, inputs, 1, 1))
        self.out = nn.Parameter(torch.zeros(outputs, hidden, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        return functional.conv2d(functional.conv2d(features, self.into), self.out)


def test_modules_that_look_alike_are_counted_one_by_one() -> None:
    widths = iter([4, 8] * 100)
    space = chain(2, {"raw": lambda i, o, s: Raw(i, next(widths), o), "skip": lambda i, o, s: nn.Identity()})
    sizes: dict[str, Any] = {"channels": 4, "image": (3, 4, 4)}
    assert repr(Raw(1, 1, 1)) == repr(Raw(1, 2, 1))
    for measure, one in (("parameters", 8.0), ("multiply_adds", 8.0 * 16)):
        costs = operation_costs(space, measure=measure, **sizes)  # type: ignore[arg-type]
        assert sorted(costs.options[:, 0].tolist()) == [4 * one, 8 * one]
