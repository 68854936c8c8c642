from dataclasses import replace
from typing import Any

import pytest
import torch

from nas_search import ConfigError, ImageData, Method, methods, search
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


def test_daas_ends_with_the_best_of_its_draws_where_that_is_asked_for(data: ImageData, small: dict[str, Any]) -> None:
    assert methods.daas().selector == Derive()
    state = make(data, small, methods.daas(1, 2, 1, samples=12))
    best = state.method.selector(state)
    assert len(state.archive) == 12
    assert len({text for text, _ in state.archive}) > 1
    assert dict(state.archive)[str(best)] == max(score for _, score in state.archive)
    target = nas_bench_201().sample(torch.Generator().manual_seed(5))
    with torch.no_grad():
        state.outer_parameters()["relaxation.logits"].copy_(50 * nas_bench_201().weights(target))
    assert state.method.selector(state) == target


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


def test_the_best_within_the_limit_is_taken(data: ImageData, small: dict[str, Any]) -> None:
    state = make(data, small, methods.random_search())
    space = nas_bench_201()
    dear, cheap = space.architecture([3] * 6), space.architecture([1] * 6)
    state.archive = [(str(dear), 0.9), (str(cheap), 0.5)]

    def cost(architecture: Architecture, state: SearchState) -> float:
        return 100.0 if architecture == dear else 1.0

    assert BestEvaluated(cost)(state) == dear
    assert BestEvaluated(cost, 50.0)(state) == cheap
    with pytest.raises(ConfigError, match=r"all 2 architectures that were evaluated cost more than 0.5, the least 1"):
        BestEvaluated(cost, 0.5)(state)


def test_a_search_with_a_cost_records_it_and_keeps_the_limit(data: ImageData, small: dict[str, Any]) -> None:
    method = methods.bayesian_optimization(
        initial=4,
        pool=30,
        cost="parameters",
        cost_limit=6000.0,
        evaluator=lambda a, state: str(a).count("nor_conv_3x3") / 6,
    )
    result = search(nas_bench_201(), data, method, **small | {"epochs": 9})
    network = nas_bench_201().network(result.architecture, classes=4, channels=4, cells=1, in_channels=1)
    assert sum(p.numel() for p in network.parameters()) <= 6000
    for record in result.history:
        ((text, score, cost),) = record["candidates"]
        built = nas_bench_201().parse(text)
        counted = nas_bench_201().count(built, image=(1, 8, 8), classes=4, channels=4, cells=1)
        assert (score, cost) == (pytest.approx(record["valid_accuracy"]), counted.parameters)
    assert {record["cost_unit"] for record in result.history} == {"parameters"}
    with pytest.raises(ConfigError, match="cost_limit is 5, but there is no cost"):
        methods.bayesian_optimization(cost_limit=5.0)
    with pytest.raises(ConfigError, match="cost_limit is -5; expected a positive number"):
        methods.bayesian_optimization(cost="parameters", cost_limit=-5.0)
    with pytest.raises(ConfigError, match="kernel of bayesian_optimization is 'rbf'; expected auto, hamming"):
        methods.bayesian_optimization(kernel="rbf")
    with pytest.raises(ConfigError, match="cost of bayesian_optimization is 'seconds'"):
        methods.bayesian_optimization(cost="seconds")
