"""A planted augmentation is found: what validates and tests is transformed, what trains is not."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from nas_augment import LearnablePolicy, Policy
from nas_augment.marginals import marginals
from nas_augment.published import randaugment
from nas_search import ImageData, Method, methods
from nas_search.data import Examples
from nas_search.data_sources import digits
from nas_search.evaluation import top1
from nas_search.loop import drive
from nas_search.optimizers import SGD
from nas_search.result import SearchResult
from nas_search.schedules import Cosine
from nas_search.searching import complete
from nas_search.state import SearchState
from nas_search.streams import split_indices
from nas_search.training import TrainState
from nas_spaces import SearchSpace, nas_bench_201, single

CPU = torch.device("cpu")


def inverted(examples: Examples) -> Examples:
    return Examples(255 - examples.images, examples.labels)


@pytest.fixture(scope="module")
def data() -> ImageData:
    """Real digits: half of those that train stay as they are; the other half, which validate, and the test are negatives."""
    whole = digits()
    first, second = split_indices(whole.train.labels, 0.5, 0)
    return replace(
        whole, train=whole.train.take(first), valid=inverted(whole.train.take(second)), test=inverted(whole.test)
    )


def found(
    space: SearchSpace, data: ImageData, method: Method, epochs: int, channels: int
) -> tuple[SearchResult, float]:
    """What a search ends with, and the rise of the share of the draws that apply ``Invert`` in the first or second slot."""
    state = SearchState(
        space, data, method, epochs=epochs, batch_size=64, seed=0, device=CPU, channels=channels, cells=1
    )
    policy = state.policy
    assert isinstance(policy, LearnablePolicy)

    def shares() -> torch.Tensor:
        now = marginals(policy)
        return 1 - (1 - now.chosen * now.applied).prod(dim=0)

    invert, before = policy.space.index("Invert"), shares()
    result, after = complete(state, None), shares()
    assert after.argmax() == invert
    return result, float(after[invert] / before[invert])


def accuracy(
    space: SearchSpace, data: ImageData, result: SearchResult, policy: Policy, epochs: int, channels: int
) -> float:
    """Of the network that was found on the test part, trained under a policy."""
    sizes = {"classes": 10, "channels": channels, "cells": 1, "in_channels": 1}
    state = TrainState(
        lambda: space.network(result.architecture, **sizes),
        data.train,
        policy=policy,
        optimizer=SGD(Cosine(0.05)),
        epochs=epochs,
        batch_size=64,
        seed=0,
        device=CPU,
    )
    drive(state)
    return top1(state.network.eval(), data.test, CPU)


def compare(
    space: SearchSpace, data: ImageData, result: SearchResult, epochs: int, channels: int = 1
) -> tuple[float, float, float]:
    """The accuracy under the policy found, under the customary one, and under RandAugment before that."""
    random = Policy((*randaugment().decide().stages, *data.policy.stages))
    policies = (result.policy, data.policy, random)
    trained = [accuracy(space, data, result, policy, epochs, channels) for policy in policies]
    return trained[0], trained[1], trained[2]


def perceptron(*, classes: int, in_channels: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, classes))


def test_the_policy_of_a_given_network_finds_it(data: ImageData) -> None:
    space = single(perceptron)
    method = methods.augment_only(share="operation", per="image", policy_learning_rate=0.05)
    result, rise = found(space, data, method, epochs=16, channels=1)
    assert rise > 6
    ours, customary, random = compare(space, data, result, epochs=12)
    assert ours > customary + 0.4
    assert ours > random + 0.4


@pytest.mark.slow
def test_a_joint_search_finds_it(data: ImageData) -> None:
    """Of `benchmarks/joint.md`: 0.98 against 0.18 and 0.08, after a longer search and training than here."""
    space = nas_bench_201()
    method = methods.daas(
        2, 2, 1, warmup=0.2, share="operation", per="image", architecture_learning_rate=0.01, policy_learning_rate=0.05
    )
    result, rise = found(space, data, method, epochs=8, channels=8)
    assert rise > 2
    ours, customary, random = compare(space, data, result, epochs=10, channels=8)
    assert ours > customary + 0.3
    assert ours > random + 0.3
