"""What every family of spaces refuses, and that it says what was expected."""

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch

from nas_spaces import (
    Architecture,
    ArchitectureError,
    InputError,
    Layer,
    SearchSpace,
    WeightsError,
    allegro,
    amended_s1,
    chain,
    darts,
    darts_rnn,
    mobile,
    nas_bench_1shot1,
    nas_bench_101,
    nas_bench_201,
)
from nas_spaces.mobile import SMALL

MODULES = {
    "conv": lambda i, o, s: torch.nn.Conv2d(i, o, 3, s, padding=1),
    "wide": lambda i, o, s: torch.nn.Conv2d(i, o, 5, s, padding=2),
}
IMAGE = torch.zeros(2, 3, 8, 8)
SPACES: list[tuple[SearchSpace, int | None]] = [
    (nas_bench_201(), 1),
    (nas_bench_101(), 1),
    (nas_bench_1shot1(1), 1),
    (darts(), 3),
    (darts(inputs=True), 3),
    (allegro(), 3),
    (amended_s1(), 3),
    (mobile(((24, 2, 2), (32, 2, 2))), None),
    (chain([Layer(), Layer(2, 2, ("wide",)), Layer(2, 2)], MODULES), None),
]
every_space = pytest.mark.parametrize(
    ("space", "cells"), [*SPACES, (darts_rnn(), None)], ids=lambda value: getattr(value, "name", value)
)
of_images = pytest.mark.parametrize(("space", "cells"), SPACES, ids=lambda value: getattr(value, "name", value))


@every_space
def test_weights(space: SearchSpace, cells: int | None) -> None:
    rows, columns = space.choices.shape
    for shape in ((rows + 1, columns), (rows, columns + 1), (rows,), (1, rows, columns)):
        with pytest.raises(WeightsError, match="this space has"):
            space.discretize(torch.zeros(shape))
        with pytest.raises(WeightsError, match="this space has"):
            space.supernet(channels=4, cells=cells)(torch.zeros(2, 3, 8, 8), torch.zeros(shape))
    for value in (torch.nan, torch.inf):
        weights = torch.zeros(rows, columns)
        weights[rows - 1, 0] = value
        with pytest.raises(WeightsError, match=f"row {rows - 1} are not finite"):
            space.discretize(weights)


@every_space
def test_drawn_options(space: SearchSpace, cells: int | None) -> None:
    inputs = torch.zeros(2, 5, dtype=torch.int64) if space.reads == "tokens" else torch.zeros(2, 3, 16, 16)
    net = space.supernet(classes=3, channels=4, cells=cells)
    path = [list(taken) for taken in space.sample(torch.Generator().manual_seed(0)).options]
    weights = space.choices.one_hot(path)
    row = next(place for place, taken in enumerate(path) if taken)
    count = len(space.choices.options[row])
    for option in (-1, count, 99):
        wrong = [*path[:row], [option], *path[row + 1 :]]
        with pytest.raises(
            WeightsError, match=f"option {option} was drawn in row {row}, which has options 0 to {count - 1}"
        ):
            net(inputs, weights, wrong)
    with pytest.raises(WeightsError, match=f"drawn for {len(path) - 1} rows; this space has {len(path)}"):
        net(inputs, weights, path[1:])
    with pytest.raises(WeightsError, match=r"0 was drawn in row 0; expected a sequence of options, such as \(0,\)"):
        net(inputs, weights, [0] * len(path))


@every_space
def test_architectures_of_another_space(space: SearchSpace, cells: int | None) -> None:
    other = Architecture("other", ((0,),) * len(space.choices), "text")
    ours = space.sample(torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    calls: tuple[Callable[[], object], ...] = (
        lambda: space.weights(other),
        lambda: space.graph(other),
        lambda: space.network(other, cells=cells),
        lambda: space.count(other, cells=cells),
        lambda: list(space.neighbors(other)),
        lambda: space.mutate(other, generator),
        lambda: space.distance(ours, other),
        lambda: space.distance(other, ours),
    )
    for call in calls:
        with pytest.raises(ArchitectureError, match="architecture text belongs to space 'other', not to"):
            call()


@every_space
def test_text(space: SearchSpace, cells: int | None) -> None:
    text = str(space.sample(torch.Generator().manual_seed(0)))
    for broken in ("", "?", text[:-1], text + "?", text.replace("conv", "cnov", 1), text[1:]):
        if broken == text:
            continue
        with pytest.raises(ArchitectureError, match="expected"):
            space.parse(broken)


@of_images
def test_images(space: SearchSpace, cells: int | None) -> None:
    weights = torch.zeros(space.choices.shape)
    network = space.network(space.sample(torch.Generator().manual_seed(0)), channels=4, cells=cells)
    supernet = space.supernet(channels=4, cells=cells)
    calls: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (network, lambda images: supernet(images, weights))
    for call in calls:
        with pytest.raises(InputError, match=r"images of 3 x 8 are too small for 2 .*enlarge them to 4 x 4"):
            call(torch.zeros(2, 3, 3, 8))
        for shape in ((2, 1, 8, 8), (3, 8, 8)):
            with pytest.raises(InputError, match=r"reads \(batch, 3, height, width\)"):
                call(torch.zeros(shape))
        with pytest.raises(InputError, match=r"images are torch.uint8; .* images.float\(\) / 255"):
            call(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))


def test_chains_of_one_name_are_told_apart() -> None:
    space = chain(2, MODULES)
    architecture = space.parse("conv|wide")
    others = (
        chain(3, MODULES),
        chain([Layer(options=("conv",))] * 2, MODULES),
        chain(2, dict(reversed(MODULES.items()))),
    )
    for other in others:
        with pytest.raises(ArchitectureError, match=r"another space of the name 'chain'.* chain\(..., name=...\)"):
            other.network(architecture)
    assert chain(2, MODULES).distance(architecture, space.parse("wide|wide")) == 1.0


@pytest.mark.parametrize("options", [((0,), (), (1,)), ((), (0,), (0,))])
def test_a_chain_without_a_path(options: tuple[tuple[int, ...], ...]) -> None:
    """A layer of which nothing is drawn; in cells a node without input is zero, and allowed."""
    space = SPACES[-1][0]
    with pytest.raises(WeightsError, match="no path leads from input to output"):
        space.supernet(channels=4)(torch.zeros(2, 3, 8, 8), torch.zeros(space.choices.shape), options)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: darts().supernet(channels=4, cells=1)(IMAGE, [[0.0]]),
            WeightsError,
            "choice weights are a list; expected",
        ),
        (
            lambda: nas_bench_201().supernet(channels=4, cells=1)(IMAGE, None),
            WeightsError,
            "choice weights are a NoneType",
        ),
        (lambda: darts().discretize(cast("Any", [[0.0]])), WeightsError, "choice weights are a list"),
        (
            lambda: nas_bench_201().parse(cast("Any", None)),
            ArchitectureError,
            "the text of an architecture is None; expected a str",
        ),
        (lambda: allegro(sep_multiple=float("nan")), InputError, "sep_multiple=nan.*expected finite multiples above 0"),
        (lambda: allegro(groups=cast("Any", 1.5)), InputError, "groups is 1.5; expected a whole number"),
        (
            lambda: mobile(cast("Any", ((24, 4),))),
            InputError,
            r"stages \(\(24, 4\),\) .*expected \(channels, layers, stride 1 or 2\)",
        ),
        (lambda: nas_bench_1shot1(True), InputError, "True"),
        (lambda: Layer(width=cast("Any", "2")), InputError, "width is '2'; expected a multiple"),
    ],
)
def test_what_python_would_stumble_over(make: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_names_tell_spaces_apart_and_equal_ones_not() -> None:
    assert allegro(sep_multiple=1.2345678).name != allegro(sep_multiple=1.2345679).name
    assert mobile(cast("Any", [list(stage) for stage in SMALL])).name == mobile().name
