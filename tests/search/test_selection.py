from dataclasses import replace
from typing import Any

import pytest
import torch

from nas_search import ConfigError, ImageData, Method, methods
from nas_search.roles import Sampler
from nas_search.samplers import Bayesian, Evolution, Local, Relaxed
from nas_search.selection import BestEvaluated, BestSampled, Derive
from nas_search.state import SearchState
from nas_spaces import Architecture, nas_bench_201


def make(data: ImageData, small: dict[str, Any], method: Method) -> SearchState:
    return SearchState(nas_bench_201(), data, method, **small | {"seed": 0, "device": torch.device("cpu")})


def test_derive_takes_the_largest_probability_of_every_row(data: ImageData, small: dict[str, Any]) -> None:
    state = make(data, small, methods.darts())
    target = nas_bench_201().sample(torch.Generator().manual_seed(5))
    with torch.no_grad():
        state.outer_parameters()["relaxation.logits"].copy_(nas_bench_201().weights(target))
    assert Derive()(state) == target


def test_parts_that_need_a_relaxation_say_so(data: ImageData, small: dict[str, Any]) -> None:
    state = make(data, small, methods.random_nas())
    with pytest.raises(ConfigError, match="'random_nas' derives from its relaxation, but has none"):
        Derive()(state)
    with pytest.raises(ConfigError, match="'random_nas' samples from its relaxation, but has none"):
        Relaxed()(state)


def test_the_best_of_the_sampled_is_taken_and_all_are_noted(data: ImageData, small: dict[str, Any]) -> None:
    state = make(data, small, methods.random_nas())

    asked: list[Architecture] = []

    def convolutions(architecture: Architecture, state: SearchState) -> float:
        asked.append(architecture)
        return float(str(architecture).count("nor_conv_3x3"))

    best = BestSampled(30, convolutions)(state)
    assert len(state.archive) == 30
    assert {text for text, _ in state.archive} == {str(architecture) for architecture in asked}
    assert len(set(asked)) == len(asked)
    assert str(best).count("nor_conv_3x3") == max(score for _, score in state.archive)


@pytest.mark.parametrize(("sampler", "samples"), [(Evolution(10, 5), 60), (Local(), 60), (Bayesian(8, 100), 20)])
def test_samplers_that_learn_find_more_convolutions_than_chance(
    sampler: Sampler, samples: int, data: ImageData, small: dict[str, Any]
) -> None:
    """One architecture in 625 has five or all six: a tenth of the samples of 60 has one."""

    def convolutions(architecture: Architecture, state: SearchState) -> float:
        return float(str(architecture).count("nor_conv_3x3"))

    best = BestSampled(samples, convolutions, sampler)(make(data, small, methods.random_nas()))
    assert str(best).count("nor_conv_3x3") >= 5


def test_the_first_of_the_best_evaluated_is_taken(data: ImageData, small: dict[str, Any]) -> None:
    state = make(data, small, replace(methods.random_search()))
    texts = [str(architecture) for _, architecture in zip(range(3), nas_bench_201(), strict=False)]
    state.archive = list(zip(texts, [0.1, 0.7, 0.7], strict=True))
    assert str(BestEvaluated()(state)) == texts[1]
