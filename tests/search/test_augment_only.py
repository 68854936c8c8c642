"""A policy for a given network, and a policy after the architecture."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from nas_augment import LearnablePolicy
from nas_search import ConfigError, ImageData, methods, search
from nas_search.samplers import Settled, Uniform
from nas_search.state import SearchState
from nas_search.testing import check_method
from nas_spaces import nas_bench_201, single

PATH = "|nor_conv_1x1~0|+|nor_conv_3x3~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|"


def make(*, classes: int, in_channels: int) -> nn.Module:
    convolution = nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2))
    return nn.Sequential(convolution, nn.Dropout(0.2), nn.Flatten(), nn.Linear(36, classes))


def test_a_policy_is_learned_for_any_network() -> None:
    result = check_method(methods.augment_only(policy_learning_rate=0.1), single(make, name="mine"))
    assert str(result.architecture) == "mine"
    assert len(result.policy.stages[0].entries) == 225  # type: ignore[attr-defined]
    weights = [entry.weight for entry in result.policy.stages[0].entries]  # type: ignore[attr-defined]
    assert sum(weights) == pytest.approx(1)
    assert max(weights) > 1.1 * min(weights)


@pytest.mark.parametrize(
    ("policy", "settings"), [("dada", {}), ("dada", {"control_variate": False}), ("faster_aa", {})]
)
def test_the_other_estimators_learn_for_any_network_too(policy: Any, settings: dict[str, Any]) -> None:
    network = make(classes=10, in_channels=1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    space = single(network, name="mine")
    result = check_method(methods.augment_only(policy, policy_learning_rate=0.1, **settings), space)
    assert str(result.architecture) == "mine"
    weights = [entry.weight for entry in result.policy.stages[0].entries]  # type: ignore[attr-defined]
    assert len(weights) == (105 if policy == "dada" else 225)
    assert max(weights) > 1.1 * min(weights)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())


def test_estimators_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="policy of augment_only is 'aa'; expected one of daas, dada, faster_aa"):
        methods.augment_only("aa")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="policies and baseline are settings of policy='daas'"):
        methods.augment_only("dada", policies=4)


def test_a_policy_is_learned_for_one_architecture_of_a_space(data: ImageData, small: dict[str, Any]) -> None:
    method = replace(methods.augment_only(network=PATH), steps=1)
    result = search(nas_bench_201(), data, method, **small)
    assert str(result.architecture) == PATH
    with pytest.raises(ConfigError, match=r"has 15,625: name one \(--set network=TEXT\)"):
        search(nas_bench_201(), data, methods.augment_only(), **small)


def test_independent_search_settles_the_architecture_before_the_policy(data: ImageData, small: dict[str, Any]) -> None:
    method = replace(methods.daas(1, 2, 2, warmup=0.5, independent=True, architecture_learning_rate=0.5), steps=2)
    state = SearchState(nas_bench_201(), data, method, seed=0, **small | {"device": torch.device("cpu")})
    assert isinstance(state.policy, LearnablePolicy)
    drawn: list[list[object]] = []
    state.require_supernet().register_forward_pre_hook(lambda _module, inputs: drawn[-1].append(inputs[2]))
    seen = []
    for _ in range(4):
        drawn.append([])
        state.advance()
        logits = state.outer_parameters()["relaxation.logits"].detach().clone()
        seen.append((logits, state.policy.choice_logits.detach().clone()))
        state.step += 1
        if state.step == state.steps:
            state.close_epoch()
    assert not torch.equal(seen[0][0], seen[1][0])
    assert torch.equal(seen[1][0], seen[3][0])
    assert torch.equal(seen[0][1], seen[1][1])
    assert not torch.equal(seen[1][1], seen[2][1])
    architecture = method.selector(state)
    assert len(set(drawn[0])) > 1
    assert set(drawn[2] + drawn[3]) == {architecture.options}


def test_a_search_settles_for_what_its_relaxation_says(data: ImageData, small: dict[str, Any]) -> None:
    method = replace(methods.random_nas(samples=2), sampler=Settled(0.0, Uniform()))
    with pytest.raises(ConfigError, match="settles for what its relaxation says, but has none"):
        search(nas_bench_201(), data, method, **small)
