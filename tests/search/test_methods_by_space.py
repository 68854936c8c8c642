"""The methods of new relaxations on every space that has the rows they need, and the refusal of those that do not."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from covering import covering

from nas_search import ConfigError, ImageData, Method, methods, search
from nas_search.data_sources import fake
from nas_search.text_sources import fake_text
from nas_spaces import (
    SearchSpace,
    allegro,
    amended_s1,
    amended_s2,
    darts,
    darts_rnn,
    mobile,
    nas_bench_1shot1,
    nas_bench_101,
    nas_bench_201,
)

METHODS: dict[str, Method] = {
    "snas": methods.snas(),
    "drnas": methods.drnas(),
    "balenas": methods.balenas(),
    "balenas, second order": methods.balenas(2),
    "pc_darts": methods.pc_darts(parts=2, warm_up=0.0),
    "dha": methods.dha(),
    "ista, one stage": methods.ista(1),
    "ista, two stages": methods.ista(2),
    "en2as": methods.en2as(archive=2, perturbations=2, samples=3, validation_images=8),
    "setn": methods.setn(samples=3, validation_images=8),
    "enas": methods.enas(samples=3, controller_samples=2, validation_images=8),
    "daas": methods.daas(2, 2, 2, warmup=0.0),
}
SMALL_SPACES: dict[str, tuple[SearchSpace, int | None]] = {"darts": (darts(), 3), "amended_s1": (amended_s1(), 3)}
LARGE_SPACES: dict[str, tuple[SearchSpace, int | None]] = {
    "allegro": (allegro(), 3),
    "amended_s2": (amended_s2(), None),
    "darts_free": (darts(free=True), 3),
    "darts_inputs": (darts(inputs=True), 3),
    "darts_without_none": (darts(exclude=("none",)), 3),
    "mobile": (mobile(), None),
}
REFUSED = {
    ("pc_darts", "mobile"): "this space has no nodes",
    ("dha", "darts_inputs"): "rows 28 to 35 are no such edges",
    ("ista, one stage", "darts_inputs"): "rows 28 to 35 are no such edges",
    ("ista, two stages", "darts_inputs"): "rows 28 to 35 are no such edges",
}


def one_step(name: str, space: SearchSpace, cells: int | None, data: ImageData, small: dict[str, Any]) -> None:
    method, settings = METHODS[name], small | {"cells": cells, "channels": 4, "epochs": 1, "batch_size": 4}
    result = search(space, data, replace(method, steps=1), **settings)
    assert space.parse(str(result.architecture)) == result.architecture


@pytest.mark.parametrize(("name", "space"), covering(METHODS, SMALL_SPACES, 2))
def test_small_spaces(name: str, space: str, data: ImageData, small: dict[str, Any]) -> None:
    one_step(name, *SMALL_SPACES[space], data, small)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "space"), covering(METHODS, LARGE_SPACES, 3, without=REFUSED))
def test_large_spaces(name: str, space: str, data: ImageData, small: dict[str, Any]) -> None:
    one_step(name, *LARGE_SPACES[space], data, small)


@pytest.mark.parametrize(("name", "space"), REFUSED)
def test_spaces_without_the_rows_that_a_method_needs_are_refused(
    name: str, space: str, data: ImageData, small: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=REFUSED[name, space]):
        search(LARGE_SPACES[space][0], data, METHODS[name], **small | {"cells": LARGE_SPACES[space][1]})


VERTEX_SPACES = {space.name: space for space in (nas_bench_101(), *(nas_bench_1shot1(number) for number in (1, 2, 3)))}


@pytest.mark.parametrize("space", VERTEX_SPACES)
@pytest.mark.parametrize("name", ["en2as", "setn", "enas"])
def test_sampling_methods_in_spaces_of_vertices(name: str, space: str, data: ImageData, small: dict[str, Any]) -> None:
    one_step(name, VERTEX_SPACES[space], 1, data, small)


@pytest.mark.parametrize("name", ["en2as", "setn", "enas"])
def test_sampling_methods_search_recurrent_cells(name: str, small: dict[str, Any]) -> None:
    space, text = darts_rnn(), fake_text(8, count=400, time=4)
    result = search(space, text, replace(METHODS[name], steps=4), **small | {"epochs": 1})
    assert space.parse(str(result.architecture)) == result.architecture


@pytest.mark.slow
@pytest.mark.parametrize("name", ["snas", "drnas", "balenas", "pc_darts"])
def test_the_architecture_that_explains_the_labels_is_found(name: str, small: dict[str, Any]) -> None:
    """As for DARTS and GDAS: ``none`` on every edge into the output would leave nothing to learn from."""
    method = getattr(methods, name)(architecture_learning_rate=0.05, learning_rate=0.1)
    result = search(nas_bench_201(), fake("1x8x8", count=256, classes=4), method, **small | {"epochs": 12})
    assert [options for options in result.architecture.options[3:] if options != (0,)]
    assert result.history[-1]["entropy"] < result.history[0]["entropy"] < torch.log(torch.tensor(5.0)) + 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("stages", [1, 2])
def test_sparse_codes_learn_to_classify(stages: int, small: dict[str, Any]) -> None:
    method = methods.ista(stages, architecture_learning_rate=0.02, learning_rate=0.1)
    result = search(nas_bench_201(), fake("1x8x8", count=256, classes=4), method, **small | {"epochs": 12})
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"] - 0.1
