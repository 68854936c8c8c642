"""Every named method obeys the laws of `check_method`, and does what its paper says."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from nas_search import ConfigError, ImageData, Method, methods, search
from nas_search.describe import describe
from nas_search.state import SearchState
from nas_search.testing import check_method
from nas_spaces import SearchSpace, nas_bench_201
from nas_spaces.allegro import allegro as allegro_space
from nas_spaces.amended import amended_s1, amended_s2
from nas_spaces.darts import darts as darts_space
from nas_spaces.mobile import mobile


@pytest.mark.parametrize("name", methods.__all__)
def test_every_method_obeys_the_laws(name: str) -> None:
    make = getattr(methods, name)
    method: Method = make(samples=10) if name == "random_nas" else make()
    result = check_method(method)
    assert result.method == name


@pytest.mark.parametrize("name", methods.__all__)
def test_a_method_is_a_value(name: str) -> None:
    make = getattr(methods, name)
    assert describe(make()) == describe(make())
    assert " at 0x" not in describe(make())


def test_settings_of_darts_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="order of darts is 3; expected 1 .* or 2"):
        methods.darts(3)
    with pytest.raises(ConfigError, match="central_difference of darts is for order=2"):
        methods.darts(central_difference=True)


VARIANTS = {
    "second order": methods.darts(2),
    "second order by differences": methods.darts(2, central_difference=True),
    "implicit by differences": methods.idarts(2, terms=1, central_difference=True),
    "amended by differences": methods.amended_darts(central_difference=True),
    "stopped by curvature": methods.darts(2, stop_eigenvalue=0.75),
    "stopped by skips": methods.darts(2, stop_skips=6),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_variants_obey_the_laws(name: str) -> None:
    check_method(VARIANTS[name])


SMALL_SPACES: dict[str, tuple[SearchSpace, int | None]] = {"darts": (darts_space(), 3), "amended_s1": (amended_s1(), 3)}
LARGE_SPACES: dict[str, tuple[SearchSpace, int | None]] = {
    "allegro": (allegro_space(), 3),
    "amended_s2": (amended_s2(), None),
    "mobile": (mobile(), None),
}
OUTER = ("darts", "idarts", "amended_darts", "allegro")


def one_step_each(name: str, space: SearchSpace, cells: int | None, data: ImageData, small: dict[str, Any]) -> None:
    method = methods.darts(2) if name == "darts" else getattr(methods, name)()
    settings = small | {"cells": cells, "channels": 4, "epochs": 1, "batch_size": 4}
    result = search(space, data, replace(method, steps=1), **settings)
    assert space.parse(str(result.architecture)) == result.architecture


@pytest.mark.parametrize("space", SMALL_SPACES)
@pytest.mark.parametrize("name", OUTER)
def test_second_derivatives_on_every_space(name: str, space: str, data: ImageData, small: dict[str, Any]) -> None:
    one_step_each(name, *SMALL_SPACES[space], data, small)


@pytest.mark.slow
@pytest.mark.parametrize("space", LARGE_SPACES)
@pytest.mark.parametrize("name", OUTER)
def test_second_derivatives_on_every_large_space(name: str, space: str, data: ImageData, small: dict[str, Any]) -> None:
    one_step_each(name, *LARGE_SPACES[space], data, small)


def test_amended_darts_starts_with_equal_operations(data: ImageData, small: dict[str, Any]) -> None:
    method = replace(methods.amended_darts(architecture_learning_rate=0.0), steps=1)
    history = search(nas_bench_201(), data, method, **small | {"epochs": 1}).history
    assert history[0]["entropy"] == history[0]["uniform_entropy"]


def test_an_epoch_of_idarts_has_as_many_outer_steps_as_darts_and_more_weight_steps(
    data: ImageData, small: dict[str, Any]
) -> None:
    counts = {}
    for method in (methods.darts(), methods.idarts(4)):
        state = SearchState(nas_bench_201(), data, method, seed=0, **small | {"device": torch.device("cpu")})
        before = state.steps
        state.advance()
        counts[method.name] = (before, state.images)
    assert counts == {"darts": (2, 16), "idarts": (2, 64)}


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "name", ["darts", "gdas", *(pytest.param(name, marks=SLOW) for name in ("allegro", "amended_darts", "idarts"))]
)
def test_the_architecture_that_explains_the_labels_is_found(name: str, small: dict[str, Any]) -> None:
    """Labels that only a path through the cell can tell: an edge that is cut leaves nothing to learn from.

    The space's `none` on every edge into the output gives constant logits, so a search that minimises the validation loss
    must move away from it.
    """
    from nas_search.data_sources import fake

    method = getattr(methods, name)(architecture_learning_rate=0.05, learning_rate=0.1)
    result = search(nas_bench_201(), fake("1x8x8", count=256, classes=4), method, **small | {"epochs": 12})
    into_output = [options for options in result.architecture.options[3:] if options != (0,)]
    assert into_output
    assert result.history[-1]["entropy"] < result.history[0]["entropy"] < torch.log(torch.tensor(5.0)) + 1e-6


def test_random_search_trains_one_candidate_an_epoch(data: ImageData, small: dict[str, Any]) -> None:
    result = search(nas_bench_201(), data, methods.random_search(), **small | {"epochs": 4})
    assert len(result.history) == 4
    assert result.metrics["selected_accuracy"] == max(record["valid_accuracy"] for record in result.history)
