"""Faster AutoAugment's losses, against what its equations say."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from nas_augment import LearnablePolicy
from nas_augment.latents import relax
from nas_search import ConfigError, ImageData, methods, search
from nas_search.batches import Batch
from nas_search.critic import CriticWeightStep, DensityStep, WithCritic, _Criticised
from nas_search.optimizers import SGD
from nas_search.schedules import Constant
from nas_search.state import SearchState
from nas_search.supernets import WholeChannels
from nas_spaces import nas_bench_201

PATH = "|nor_conv_1x1~0|+|nor_conv_3x3~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|"


def make(data: ImageData) -> tuple[SearchState, Batch, _Criticised, LearnablePolicy]:
    plain = SGD(Constant(1.0), 0.0, 0.0, clip=None)
    method = replace(
        methods.augment_only("faster_aa", network=PATH, per="image"), weights=plain, policy_optimizer=plain
    )
    sizes: dict[str, Any] = {"epochs": 1, "batch_size": 6, "channels": 2, "cells": 1}
    state = SearchState(nas_bench_201(), data, method, seed=0, device=torch.device("cpu"), **sizes)
    supernet, policy = state.require_supernet(), state.policy
    assert isinstance(supernet, _Criticised)
    assert isinstance(policy, LearnablePolicy)
    for module in (supernet, state.normalize, policy):
        module.double()
    return state, Batch(state.train, state.valid, 0), supernet, policy


def test_the_policy_minimises_minus_the_score_and_the_weighted_cross_entropy(data: ImageData) -> None:
    state, batch, supernet, policy = make(data)
    random = state.generator.get_state()
    sample = policy.sample(6, generator=state.generator)
    relaxation = relax(policy, sample, 0.05, generator=state.generator)
    fake = state.normalize(policy.apply(batch.train.images.float() / 255, sample, path="soft", relaxation=relaxation))
    entropy = F.cross_entropy(supernet(fake, *state.method.sampler(state)), batch.train.labels)
    parameters = dict(policy.named_parameters())
    expected = torch.autograd.grad(-supernet.critic(fake).mean() + 0.1 * entropy, list(parameters.values()))
    start = {name: value.detach().clone() for name, value in parameters.items()}
    state.generator.set_state(random)
    DensityStep()(state, batch)
    for (name, value), gradient in zip(parameters.items(), expected, strict=True):
        torch.testing.assert_close(start[name] - value.detach(), gradient, rtol=1e-5, atol=1e-9)
        assert float(gradient.abs().max()) > 0, name
    assert all(parameter.grad is None for parameter in supernet.parameters())


def test_network_and_critic_minimise_their_losses(data: ImageData) -> None:
    """Wasserstein distance with the gradient penalty, and the cross-entropy of images as they are."""
    state, batch, supernet, policy = make(data)
    random = state.generator.get_state()
    with torch.no_grad():
        fake = state.normalize(policy(batch.train.images, generator=state.generator).images)
        real = state.normalize(batch.valid.images)
    share = torch.rand(6, generator=state.generator).double().view(-1, 1, 1, 1)
    between = (share * real + (1 - share) * fake).requires_grad_()
    norms = [
        torch.autograd.grad(supernet.critic(between)[at], between, create_graph=True)[0][at].square().sum().sqrt()
        for at in range(6)
    ]
    penalty = torch.stack([(norm - 1) ** 2 for norm in norms]).mean()
    distance = supernet.critic(fake).mean() - supernet.critic(real).mean() + 10 * penalty
    entropy = F.cross_entropy(supernet(real, *state.method.sampler(state)), batch.valid.labels)
    parameters = dict(supernet.named_parameters())
    expected = torch.autograd.grad(entropy + distance, list(parameters.values()), materialize_grads=True)
    start = {name: value.detach().clone() for name, value in parameters.items()}
    state.generator.set_state(random)
    figures = CriticWeightStep()(state, batch)
    assert figures["critic_loss"] == pytest.approx(distance.item(), rel=1e-6)
    for (name, value), gradient in zip(parameters.items(), expected, strict=True):
        torch.testing.assert_close(start[name] - value.detach(), gradient, rtol=1e-5, atol=1e-8)


def test_what_does_not_fit_is_refused(data: ImageData, small: dict[str, Any]) -> None:
    for part, given in (
        (DensityStep, {"temperature": 0}),
        (DensityStep, {"classification": -1}),
        (WithCritic, {"width": 0}),
    ):
        with pytest.raises(ConfigError, match=f"{next(iter(given))} is "):
            part(**given)
    with pytest.raises(ConfigError, match="penalty is 0; expected a positive number"):
        CriticWeightStep(0)
    method = replace(methods.augment_only("faster_aa", network=PATH), supernet=WholeChannels())
    with pytest.raises(ConfigError, match=r"needs supernet=WithCritic\(\)"):
        search(nas_bench_201(), data, method, **small)
