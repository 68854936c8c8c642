"""DADA's policy gradient, against differentiation through the unrolled step."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.func import functional_call
from torch.nn import functional as F

from nas_augment import LearnablePolicy
from nas_augment.latents import relax
from nas_search import ConfigError, ImageData, methods, search
from nas_search.batches import Batch
from nas_search.optimizers import SGD
from nas_search.relaxed_policy import RelaxedStep
from nas_search.schedules import Constant
from nas_search.state import SearchState
from nas_spaces import nas_bench_201

PATH = "|nor_conv_1x1~0|+|nor_conv_3x3~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|"


def test_the_gradient_is_that_through_one_step_of_the_weights(data: ImageData) -> None:
    """``d/dd L_valid(w - xi dL_train(w, x(d))/dw)``, every term of it differentiated, to rounding."""
    method = replace(
        methods.augment_only("dada", network=PATH, per="image", learning_rate=0.3, control_variate=False),
        policy_optimizer=SGD(Constant(1.0), 0.0, 0.0, clip=None),
    )
    sizes: dict[str, Any] = {"epochs": 1, "batch_size": 6, "channels": 2, "cells": 1}
    state = SearchState(nas_bench_201(), data, method, seed=0, device=torch.device("cpu"), **sizes)
    policy, batch, supernet = state.policy, Batch(state.train, state.valid, 0), state.require_supernet()
    assert isinstance(policy, LearnablePolicy)
    for module in (supernet, state.normalize, policy):
        module.double()
    before, random = dict(policy.named_parameters()), state.generator.get_state()
    start = {name: value.detach().clone() for name, value in before.items()}
    weights = {name: value.detach().requires_grad_() for name, value in supernet.named_parameters()}
    choice = method.sampler(state)

    sample = policy.sample(6, generator=state.generator)
    relaxation = relax(policy, sample, 0.5, generator=state.generator)
    images = state.normalize(policy.apply(batch.train.images.float() / 255, sample, path="soft", relaxation=relaxation))

    def loss(inner: dict[str, Any], images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(functional_call(supernet, inner, (images, *choice)), labels)

    train = loss(weights, images, batch.train.labels)
    grads = torch.autograd.grad(train, list(weights.values()), create_graph=True, materialize_grads=True)
    ahead = {name: weights[name] - 0.3 * grad for name, grad in zip(weights, grads, strict=True)}
    valid = loss(ahead, state.normalize(batch.valid.images), batch.valid.labels)
    expected = torch.autograd.grad(valid, list(before.values()), allow_unused=True, materialize_grads=True)

    state.generator.set_state(random)
    figures = RelaxedStep(0.5)(state, batch)
    assert figures["valid_loss"] == pytest.approx(valid.item(), rel=1e-6)
    for name, gradient in zip(start, expected, strict=True):
        torch.testing.assert_close(start[name] - before[name].detach(), gradient, rtol=1e-5, atol=1e-9)
    assert all(float(gradient.abs().max()) > 1e-7 for gradient in expected)


def test_what_it_does_not_fit_is_refused(data: ImageData, small: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"temperature is 0; expected a positive number"):
        RelaxedStep(0)
    method = replace(
        methods.augment_only("dada", network=PATH, control_variate=False), policy=None, policy_optimizer=None
    )
    with pytest.raises(ConfigError, match="has a RelaxedStep, which needs a supernet, a LearnablePolicy"):
        search(nas_bench_201(), data, method, **small)
