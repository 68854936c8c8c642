"""Black-box methods against the truth that is shipped: what they find is better than the median of the space."""

import inspect
import statistics
from typing import Any

import pytest
import torch

from nas_search import ImageData, Method, catalog, methods
from nas_search.config import RunConfig
from nas_search.data_sources import digits
from nas_search.evaluation import TableScore
from nas_search.searching import complete
from nas_search.state import SearchState
from nas_spaces import load_table, nas_bench_201_small

SPACE, TABLE, SEEDS = nas_bench_201_small(), load_table("digits"), range(5)
MEDIAN = statistics.median(TABLE.query(a) for a in SPACE)
# Their evaluators are made for a budget of epochs; the table has a single one.
RACES = ("hyperband", "successive_halving")
BLACK_BOX = [name for name in methods.__all__ if "evaluator" in inspect.signature(getattr(methods, name)).parameters]
# The Gaussian process, which is fitted after ten, takes many times as long as all the others.
QUERIES = dict.fromkeys(BLACK_BOX, 24) | {"bayesian_optimization": 16}


def found(name: str, data: ImageData, seed: int) -> float:
    """The mean test accuracy in the table of what a search ends with; the images are never looked at."""
    score = TableScore(TABLE)
    method: Method = getattr(methods, name)(evaluator=(lambda budget: score) if name in RACES else score)
    sizes: dict[str, Any] = {"batch_size": 8, "channels": 3, "cells": 1}
    state = SearchState(SPACE, data, method, epochs=QUERIES[name], seed=seed, device=torch.device("cpu"), **sizes)
    return TABLE.query(complete(state, None).architecture)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name == "bayesian_optimization" else name for name in BLACK_BOX],
)
def test_a_black_box_method_finds_better_than_the_median_with_every_seed(name: str, data: ImageData) -> None:
    assert all(found(name, data, seed) > MEDIAN for seed in SEEDS)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["enas", "setn", "snas"])
def test_a_method_with_a_supernet_finds_better_than_the_median_with_every_seed(name: str) -> None:
    """The three that do so in ``benchmarks/evidence/digits_methods.json``, with the settings of that page."""
    for seed in SEEDS:
        method = catalog.method(name, RunConfig(space=SPACE.name, method=name, data="digits").resolved().settings)
        sizes: dict[str, Any] = {"batch_size": 64, "channels": 4, "cells": 1}
        state = SearchState(SPACE, digits(), method, epochs=12, seed=seed, device=torch.device("cpu"), **sizes)
        assert TABLE.query(complete(state, None).architecture) > MEDIAN


def test_there_are_black_box_methods() -> None:
    assert {"random_search", "local_search", "regularized_evolution", "bayesian_optimization"} <= set(BLACK_BOX)
