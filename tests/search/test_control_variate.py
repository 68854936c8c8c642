"""DADA's RELAX: every term of its gradient, no bias against the enumerated expectation, and a variance that falls."""

from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from nas_augment import LearnablePolicy, Operation, PolicySample, Relaxation, Space
from nas_augment.gumbel import relax_gradients
from nas_augment.latents import latents, relax
from nas_search import ConfigError, ImageData, methods, search
from nas_search.batches import Batch
from nas_search.control_variate import ControlledPolicy, ControlVariateStep, WithControlVariate
from nas_search.optimizers import SGD
from nas_search.policies import LearnedOnTop
from nas_search.schedules import Constant
from nas_search.state import SearchState
from nas_spaces import nas_bench_201

PATH = "|nor_conv_1x1~0|+|nor_conv_3x3~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|"
RATE = 0.3
SMALL = Space(
    "small",
    (
        Operation("Rotate", -30.0, 30.0, "degrees", True),
        Operation("Sharpness", 0.1, 1.9, "factor"),
        Operation("Brightness", 0.1, 1.9, "factor"),
    ),
    3,
)


def make(data: ImageData, per: Literal["image", "batch"], space: Space = SMALL) -> tuple[SearchState, Batch]:
    """A search in float64 whose policy and control variate start anywhere, and move by minus their gradients."""
    method = replace(
        methods.augment_only("dada", network=PATH, learning_rate=RATE),
        policy=lambda: ControlledPolicy(space, 2, choice="unordered", per=per, hidden=8),
        policy_optimizer=SGD(Constant(1.0), 0.0, 0.0, clip=None),
    )
    sizes: dict[str, Any] = {"epochs": 1, "batch_size": 6, "channels": 2, "cells": 1}
    state = SearchState(nas_bench_201(), data, method, seed=0, device=torch.device("cpu"), **sizes)
    for module in (state.require_supernet(), state.normalize, state.policy):
        module.double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in state.policy.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2)
        controlled(state).discrete()[1].add_(2.0)  # most gates are open, so that levels count
    return state, Batch(state.train, state.valid, 0)


def controlled(state: SearchState) -> ControlledPolicy:
    assert isinstance(state.policy, ControlledPolicy)
    return state.policy


class Net:
    """The loss of the supernet as a function of its weights, by itself, and the unrolled step."""

    def __init__(self, state: SearchState, batch: Batch) -> None:
        self.state, self.batch, self.choice = state, batch, state.method.sampler(state)
        named = state.require_supernet().named_parameters()
        self.weights = {name: value.detach().requires_grad_() for name, value in named}

    def losses(self, weights: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        logits = functional_call(self.state.require_supernet(), weights, (self.state.normalize(images), *self.choice))
        return F.cross_entropy(logits, labels, reduction="none")

    def slopes(self, loss: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(loss, list(self.weights.values()), create_graph=True, materialize_grads=True))

    def valid(self, step: list[Tensor]) -> Tensor:
        moved = {name: w - RATE * g for (name, w), g in zip(self.weights.items(), step, strict=True)}
        return self.losses(moved, self.batch.valid.images, self.batch.valid.labels).mean()

    def rewards(self, images: Tensor) -> Tensor:
        """``- xi <h, dl_i / dw>`` of each image, one backward pass each."""
        each = self.losses(self.weights, images, self.batch.train.labels)
        step = [gradient.detach().requires_grad_() for gradient in self.slopes(each.mean())]
        # d L_valid(w - xi s) / ds is - xi h.
        direction = torch.autograd.grad(self.valid(step), step, materialize_grads=True)
        products = [
            sum((h * g).sum() for h, g in zip(direction, self.slopes(loss), strict=True)) for loss in each.unbind()
        ]
        return torch.stack([torch.as_tensor(product).detach() for product in products])


@pytest.mark.parametrize("per", ["batch", "image"])
def test_every_gradient_is_the_one_written(data: ImageData, per: Literal["image", "batch"]) -> None:
    """Choice and gates by the three terms of RELAX, levels through the unrolled step, `c` by the sum of squares."""
    state, batch = make(data, per)
    policy, net, start = controlled(state), Net(state, batch), state.generator.get_state()
    sample = policy.sample(6, generator=state.generator)
    draws = sample if per == "image" else sample[:1]
    level = relax(policy, draws, 0.5, generator=state.generator).level
    assert level is not None
    relaxation = Relaxation(level.expand(6, -1))
    draw = latents(policy, draws, 0.5, generator=state.generator).joined()
    images = policy.apply(batch.train.images.float() / 255, sample, path="soft", relaxation=relaxation)
    loss = net.losses(net.weights, images, batch.train.labels).mean()
    assert policy.level_logits is not None
    (of_levels,) = torch.autograd.grad(net.valid(net.slopes(loss)), policy.level_logits)
    rewards = net.rewards(images.detach())
    rewards = rewards if per == "image" else rewards.mean()[None]
    discrete = policy.discrete()
    terms = [
        (((rewards - RATE * policy.control(draw.conditional)).detach() * draw.log_prob).mean()),
        RATE * policy.control(draw.relaxed).mean(),
        -RATE * policy.control(draw.conditional).mean(),
    ]
    parts = [torch.autograd.grad(term, discrete, retain_graph=True) for term in terms]
    expected = [sum(each) for each in zip(*parts, strict=True)]
    squares = sum(each.square().sum() for each in relax_gradients(rewards / RATE, draw, policy.control, discrete))
    control = torch.autograd.grad(torch.as_tensor(squares), list(policy.control.parameters()))

    state.generator.set_state(start)
    ControlVariateStep()(state, batch)
    for parameter, gradient in zip([*discrete, policy.level_logits], [*expected, of_levels], strict=True):
        assert parameter.grad is not None
        assert float(torch.as_tensor(gradient).abs().max()) > 1e-7
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-6, atol=1e-10)
    for parameter, gradient in zip(policy.control.parameters(), control, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-6, atol=1e-10)
    assert all(parameter.grad is None for parameter in state.require_supernet().parameters())


@pytest.fixture(scope="module")
def enumerated(data: ImageData) -> tuple[SearchState, PolicySample, Tensor]:
    """All choices and gates of two of three operations without levels, and the reward of each for the whole batch."""
    space = Space("plain", tuple(Operation(name) for name in ("Invert", "Equalize", "AutoContrast")), 2)
    state, batch = make(data, "batch", space)
    policy, net = controlled(state), Net(state, batch)
    every = policy.enumerate()
    draws, rewards = PolicySample((), len(every), every), []
    for at in range(len(draws)):
        sample = draws[torch.full((6,), at)]
        images = policy.apply(batch.train.images.float() / 255, sample, path="soft")
        rewards.append(net.rewards(images.detach()).mean())
    return state, draws, torch.stack(rewards)


def exact(policy: LearnablePolicy, draws: PolicySample, rewards: Tensor, parameters: list[Any]) -> Tensor:
    """The derivative of the expected reward, summed over all draws."""
    probability = policy.log_prob(draws).exp()
    assert float(probability.detach().sum()) == pytest.approx(1)
    gradients = torch.autograd.grad(probability @ rewards, parameters)
    return torch.cat([each.flatten() for each in gradients])


def estimates(policy: ControlledPolicy, draws: PolicySample, rewards: Tensor, count: int, seed: int) -> Tensor:
    """What the step leaves in choice and gates, from so many batches of 100 draws, ``(count, numbers)``."""
    generator, found = torch.Generator().manual_seed(seed), []
    probability = policy.log_prob(draws).detach().exp()
    for _ in range(count):
        at = torch.multinomial(probability, 100, replacement=True, generator=generator)
        ControlVariateStep()._learn(policy, draws[at], rewards[at], 1.0, generator)
        found.append(torch.cat([each.grad.flatten() for each in policy.discrete() if each.grad is not None]))
    return torch.stack(found)


def test_its_mean_is_the_gradient_of_the_enumerated_expectation(
    enumerated: tuple[SearchState, PolicySample, Tensor],
) -> None:
    """For a control variate at random; twelve draws, their rewards from the network through its step."""
    state, draws, rewards = enumerated
    policy = controlled(state)
    assert len(draws) == 12
    assert rewards.std() > 0.01 * rewards.abs().mean()
    scaled = rewards / rewards.std()  # so that neither the control variate nor the reward is nothing beside the other
    found, expected = estimates(policy, draws, scaled, 100, 1), exact(policy, draws, scaled, policy.discrete())
    # The same latents but another reward must be another gradient: the test can tell.
    wrong = exact(policy, draws, scaled.flip(0), policy.discrete())
    deviation = found.std(0) / len(found) ** 0.5
    used = deviation > 0  # the gate of the first operation in the second place is never asked
    assert used.sum() >= 7
    assert expected[~used].abs().max() == 0 if (~used).any() else True
    assert ((found.mean(0) - expected) / deviation)[used].abs().max() < 4.5
    assert ((found.mean(0) - wrong) / deviation)[used].abs().max() > 6


def test_the_control_variate_learns_to_lower_the_variance(
    enumerated: tuple[SearchState, PolicySample, Tensor],
) -> None:
    """From the score function, which the step is at the start, with the policy held still."""
    state, draws, rewards = enumerated
    space = controlled(state).space
    torch.manual_seed(0)
    policy = ControlledPolicy(space, 2, choice="unordered", per="batch").double()
    scaled = rewards / rewards.std() + 3  # which leaves the gradient as it is
    before = estimates(policy, draws, scaled, 60, 2)
    optimizer = torch.optim.Adam(policy.control.parameters(), 2e-2)
    for step in range(150):
        optimizer.zero_grad()
        estimates(policy, draws, scaled, 1, 100 + step)
        optimizer.step()
    after = estimates(policy, draws, scaled, 60, 2)
    assert float(after.var(0).sum()) < 0.3 * float(before.var(0).sum())


def test_it_starts_as_the_score_function_and_is_kept_with_the_policy() -> None:
    policy = WithControlVariate(choice="unordered", hidden=5)._make()
    assert isinstance(policy, ControlledPolicy)
    sample = policy.sample(4, generator=torch.Generator().manual_seed(0))
    relaxed = latents(policy, sample, 0.5, generator=torch.Generator().manual_seed(0)).joined().relaxed
    assert relaxed.shape == (4, 105 + 2 * 105)
    assert torch.equal(policy.control(relaxed), torch.zeros(4))
    assert "control.0.weight" in policy.state_dict()


def test_what_it_does_not_fit_is_refused(data: ImageData, small: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"temperature is 0; expected a positive number"):
        ControlVariateStep(0)
    with pytest.raises(ConfigError, match="hidden is 0"):
        WithControlVariate(hidden=0)
    with pytest.raises(ConfigError, match="control_variate is a setting of policy='dada'; leave it out with 'daas'"):
        methods.augment_only(control_variate=False)
    method = methods.augment_only("dada", network=PATH)
    with pytest.raises(ConfigError, match=r"ControlVariateStep, which needs policy=WithControlVariate"):
        search(nas_bench_201(), data, replace(method, policy=LearnedOnTop(choice="unordered")), **small)
    with pytest.raises(ConfigError, match="has a ControlVariateStep, which needs a supernet, a LearnablePolicy"):
        search(nas_bench_201(), data, replace(method, policy=None, policy_optimizer=None), **small)
