"""Every supernet gives the numbers of its definition: outputs and gradients, of the weights and of the choice weights."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import pytest
import torch
from longhand.cells import CellReference
from longhand.chains import convolution_chain_logits, mobile_logits
from longhand.nas_bench_201 import nas_bench_201_logits
from longhand.operations import Parameters
from longhand.recurrent import darts_rnn_logits
from longhand.vertices import nas_bench_1shot1_logits, nas_bench_101_logits
from torch import Tensor, nn

from nas_spaces import (
    Drawn,
    Layer,
    SearchSpace,
    Supernet,
    allegro,
    amended_s1,
    amended_s2,
    catalog,
    chain,
    darts,
    darts_rnn,
    mobile,
    nas_bench_1shot1,
    nas_bench_101,
    nas_bench_201,
    nas_bench_201_small,
)
from nas_spaces.cell_space import CellSpace
from nas_spaces.cells import CellShape
from nas_spaces.darts import make_operation

Reference: TypeAlias = Callable[[Parameters, Tensor, Tensor], Tensor]

BATCH = 8
DARTS = ("none", "max_pool_3x3", "avg_pool_3x3", "skip_connect",
         "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5")  # fmt: skip
ALLEGRO = (*DARTS[:4], *(f"allegro_{name}" for name in DARTS[4:]))
ALL = ((0, 1), (0, 1, 2), (0, 1, 2, 3), (0, 1, 2, 3, 4))
CHAINED = ((0, 1), (0, 2), (0, 3), (0, 4))
THREE = CellReference(DARTS, ALL, 3)
ONE = replace(THREE, cells=1)


@dataclass(frozen=True)
class Case:
    """A supernet and its definition.

    Args:
        space: whose supernet.
        reference: the definition.
        options: of the supernet.
        size: of the images.
        single: whether float32 is compared as well.
    """

    space: SearchSpace
    reference: Reference
    options: dict[str, Any]
    size: tuple[int, int] = (8, 8)
    single: bool = False

    def __str__(self) -> str:
        """What tells it from the others."""
        options = [f"{name}={value}" for name, value in self.options.items()]
        return "-".join([self.space.name, *options, "x".join(map(str, self.size))])


STAGES = ((16, 1, 1), (24, 2, 2))
MODULES = {
    "conv": lambda i, o, s: nn.Conv2d(i, o, 3, s, padding=1),
    "wide": lambda i, o, s: nn.Conv2d(i, o, 5, s, padding=2),
}
CHAIN = chain([Layer(), Layer(2, 2), Layer(2)], MODULES)
PARENTS = {1: (1, 2, 2, 2, 2), 2: (1, 1, 2, 2, 3), 3: (1, 1, 1, 2, 2, 2)}
TWO = ("skip_connect", "sep_conv_3x3")
TWENTY = CellReference(TWO, CHAINED, 20, unshared=True)
CASES = [
    Case(darts(), THREE, {"cells": 3}),
    Case(darts(), ONE, {"cells": 1}, (9, 7), single=True),
    Case(darts(), ONE, {"cells": 1, "checkpoint": True}),
    Case(darts(), replace(ONE, parts=4), {"cells": 1, "parts": 4}, single=True),
    Case(darts(), replace(ONE, parts=2), {"cells": 1, "parts": 2}, (9, 7)),
    Case(darts(), replace(ONE, stem="imagenet"), {"cells": 1, "stem": "imagenet"}, (32, 32)),
    Case(darts(exclude=("none",)), replace(ONE, operations=DARTS[1:]), {"cells": 1}, single=True),
    Case(darts(inputs=True), replace(ONE, inputs=True), {"cells": 1}, single=True),
    Case(darts(inputs=True), replace(ONE, inputs=True, parts=2), {"cells": 1, "parts": 2}),
    Case(darts(depth_constrained=True), replace(ONE, predecessors=CHAINED), {"cells": 1}, single=True),
    Case(darts(free=True), ONE, {"cells": 1}, single=True),
    Case(allegro(), replace(ONE, operations=ALLEGRO), {"cells": 1}, single=True),
    Case(allegro(sep_multiple=1.5, groups=2), replace(ONE, operations=ALLEGRO, groups=2), {"cells": 1}),
    Case(amended_s1(), CellReference(DARTS[1:], CHAINED, 1), {"cells": 1}, single=True),
    Case(amended_s2(), TWENTY, {}),
    Case(
        # The same cells, few of them: see `benchmarks/spaces.md` on float32 behind twenty.
        CellSpace(
            "amended_s2_of_three",
            CellShape(TWO, CHAINED),
            make_operation,
            cells=("a", "b", "c"),
            depth=(3, 3),
        ),
        replace(TWENTY, cells=3),
        {},
        single=True,
    ),
    Case(nas_bench_201(), partial(nas_bench_201_logits, cells=2), {"cells": 2}),
    Case(nas_bench_201_small(), partial(nas_bench_201_logits, cells=1), {"cells": 1}),
    Case(nas_bench_201(), partial(nas_bench_201_logits, cells=1), {"cells": 1}, (7, 9), single=True),
    Case(nas_bench_201(), partial(nas_bench_201_logits, cells=1, parts=4), {"cells": 1, "parts": 4}, single=True),
    Case(nas_bench_101(), partial(nas_bench_101_logits, cells=2), {"cells": 2}),
    Case(nas_bench_101(), partial(nas_bench_101_logits, cells=1), {"cells": 1}, (7, 9), single=True),
    *(
        Case(
            nas_bench_1shot1(number),
            partial(nas_bench_1shot1_logits, cells=1, parents=parents),
            {"cells": 1},
            single=True,
        )
        for number, parents in PARENTS.items()
    ),
    Case(mobile(STAGES), partial(mobile_logits, stages=STAGES), {}, (16, 16), single=True),
    Case(mobile(STAGES, stem_stride=2), partial(mobile_logits, stages=STAGES, stem_stride=2), {}, (15, 16)),
    Case(CHAIN, partial(convolution_chain_logits, strides=(1, 2, 1)), {}, single=True),
    Case(darts_rnn(), darts_rnn_logits, {}, single=True),
    Case(darts_rnn(), partial(darts_rnn_logits, normalize=False), {"normalize": False}, single=True),
]


def test_no_space_is_left_out() -> None:
    ours = {case.space.name for case in CASES}
    assert {name for name in catalog.names() if name != "mobile"} <= ours
    assert any(name.startswith("mobile") for name in ours)


def made(case: Case, dtype: torch.dtype, seed: int) -> tuple[Supernet, Tensor, Tensor]:
    """The supernet, a batch, and what its logits are multiplied with."""
    build: Callable[..., Supernet] = case.space.supernet
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        supernet = build(classes=5, channels=8, **case.options).to(dtype)
        for parameter in supernet.parameters():
            # Factors and offsets start as 1 and 0, and those of a recurrent cell so small that no gate bends.
            if parameter.ndim == 1 or case.space.reads == "tokens":
                nn.init.normal_(parameter, std=0.5)
        batch = (
            torch.randint(5, (BATCH, 6))
            if case.space.reads == "tokens"
            else torch.randn(BATCH, 3, *case.size, dtype=dtype)
        )
        target = torch.randn(BATCH, 5, *(batch.shape[1:] if case.space.reads == "tokens" else ()), dtype=dtype)
    return supernet, batch, target


def results(logits: Tensor, target: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    """The logits and the gradient of every leaf, in float64."""
    grads = torch.autograd.grad((logits * target).sum(), leaves, allow_unused=True)
    found = [torch.zeros_like(x) if grad is None else grad for x, grad in zip(leaves, grads, strict=True)]
    return [x.detach().double() for x in (logits, *found)]


def errors(case: Case, dtype: torch.dtype, seed: int, drawn: Drawn | None) -> list[float]:
    """Of logits and gradients, the largest difference from the definition in float64, relative to the largest entry."""
    supernet, batch, target = made(case, dtype, seed)
    if drawn is None:
        weights = torch.randn(case.space.choices.shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
        # Steps of a recurrent cell read up to eight states; without a normalisation, sums must not run away.
        weights = weights.softmax(dim=1) / (4 if case.space.reads == "tokens" else 1)
    else:
        weights = case.space.choices.one_hot(drawn).to(dtype)
    leaves = [weights.requires_grad_(), *supernet.parameters()]
    ours = results(supernet(batch, weights, drawn), target, leaves)
    exact = {name: value.detach().double().requires_grad_() for name, value in supernet.named_parameters()}
    choice = weights.detach().double().requires_grad_()
    inputs = batch.double() if batch.is_floating_point() else batch
    theirs = results(case.reference(exact, inputs, choice), target.double(), [choice, *exact.values()])
    if drawn is not None:
        # Gradients reach the weights of the drawn options alone.
        theirs[1] = theirs[1] * (weights > 0)
    floor = 0.01 * max(float(x.abs().max()) for x in theirs[1:])
    return [float((x - y).abs().max()) / max(float(y.abs().max()), floor) for x, y in zip(ours, theirs, strict=True)]


@pytest.mark.parametrize("drawn", [False, True], ids=["mixed", "drawn"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_numbers_of_the_definition(case: Case, drawn: bool) -> None:
    assert max(errors(case, torch.float64, 0, path(case, 0) if drawn else None)) < 1e-10


@pytest.mark.parametrize("case", [case for case in CASES if case.single], ids=str)
def test_the_numbers_of_the_definition_in_float32(case: Case) -> None:
    """The median of three seeds: at times a ReLU or the maximum of a window changes sides, in the definition as in ours."""
    assert statistics.median(max(errors(case, torch.float32, seed, None)) for seed in range(3)) < 1e-5


def path(case: Case, seed: int) -> Drawn:
    return case.space.sample(torch.Generator().manual_seed(seed)).options
