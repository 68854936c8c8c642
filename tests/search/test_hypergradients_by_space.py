"""One outer step of every hypergradient in every space that DARTS searches, and the refusal of what makes no sense."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from covering import covering

from nas_hypergrad import (
    FirstOrder,
    Hypergradient,
    Implicit,
    amended,
    conjugate_gradient,
    finite_difference,
    neumann,
    nystrom,
)
from nas_search import ConfigError, ImageData, methods
from nas_search.batches import Batch
from nas_search.data import Data
from nas_search.data_sources import fake
from nas_search.estimators import NeumannSeries, OneStep
from nas_search.relaxations import HardGumbel
from nas_search.roles import HypergradientFactory
from nas_search.state import SearchState
from nas_search.text_sources import fake_text
from nas_search.updates import OuterStep
from nas_spaces import (
    SearchSpace,
    amended_s1,
    darts,
    darts_rnn,
    nas_bench_1shot1,
    nas_bench_101,
    nas_bench_201,
)

ESTIMATORS: dict[str, Hypergradient | HypergradientFactory] = {
    "first order": FirstOrder(),
    "one step": OneStep(),
    "one step, difference": OneStep(finite_difference()),
    "neumann": Implicit(neumann(1, 0.01)),
    "neumann series": NeumannSeries(1),
    "neumann series, difference": NeumannSeries(1, finite_difference()),
    "amended": Implicit(amended(0.1)),
    "conjugate gradient": Implicit(conjugate_gradient(iterations=2, damping=1.0)),
    "nystrom": Implicit(nystrom(2)),
}
SMALL: dict[str, tuple[SearchSpace, int | None]] = {
    "nas_bench_201": (nas_bench_201(), 1),
    "nas_bench_1shot1": (nas_bench_1shot1(3), 1),
    "darts_rnn": (darts_rnn(), 1),
}
LARGE: dict[str, tuple[SearchSpace, int | None]] = {
    "nas_bench_101": (nas_bench_101(), 1),
    "amended_s1": (amended_s1(), 3),
    "darts_inputs": (darts(inputs=True), 3),
}


@cache
def text() -> Data:
    return fake_text(8, count=400, time=4)


def outer_step(space: SearchSpace, cells: int | None, estimator: str, images: ImageData) -> dict[str, torch.Tensor]:
    """The gradients that the estimator gives to the optimiser, at weights that have made a step."""
    data = text() if space.reads == "tokens" else images
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 4, "seed": 0, "channels": 4, "cells": cells}
    method = replace(methods.darts(), hypergradient=ESTIMATORS[estimator])
    state = SearchState(space, data, method, device=torch.device("cpu"), **settings)
    state.advance()
    state.step += 1
    OuterStep()(state, Batch(state.train, state.valid, 1))
    return {name: value.grad for name, value in state.outer_parameters().items() if value.grad is not None}


@cache
def small_step(space: str, estimator: str) -> dict[str, torch.Tensor]:
    """`outer_step` in a small space, which two tests look at."""
    return outer_step(*SMALL[space], estimator, fake("1x8x8", count=64, classes=4))


def check(grads: dict[str, torch.Tensor]) -> None:
    assert grads
    for grad in grads.values():
        assert grad.isfinite().all()
        assert grad.abs().max() > 0


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("space", SMALL)
def test_small_spaces(space: str, estimator: str) -> None:
    check(small_step(space, estimator))


@pytest.mark.slow
@pytest.mark.parametrize(("estimator", "space"), covering(ESTIMATORS, LARGE, 3))
def test_large_spaces(space: str, estimator: str, data: ImageData) -> None:
    check(outer_step(*LARGE[space], estimator, data))


@pytest.mark.parametrize("space", ["nas_bench_201", "darts_rnn"])
def test_estimators_differ_in_what_they_find(space: str) -> None:
    """None of them falls back to another: their gradients at one point are different."""
    found = {
        name: small_step(space, name)["relaxation.logits"]
        for name in ESTIMATORS
        if name not in ("neumann", "neumann series")
    }
    names = list(found)
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            assert not torch.equal(found[one], found[other]), (one, other)


@pytest.mark.parametrize("space", SMALL)
@pytest.mark.parametrize("estimator", [name for name, value in ESTIMATORS.items() if isinstance(value, Implicit)])
def test_implicit_differentiation_of_drawn_paths_is_refused_in_every_space(
    space: str, estimator: str, data: ImageData
) -> None:
    where, cells = SMALL[space]
    method = replace(methods.darts(), relaxation=HardGumbel, hypergradient=ESTIMATORS[estimator])
    given = text() if where.reads == "tokens" else data
    with pytest.raises(ConfigError, match="differentiates implicitly, but its relaxation HardGumbel draws paths"):
        SearchState(where, given, method, epochs=1, batch_size=4, seed=0, device=torch.device("cpu"), cells=cells)
