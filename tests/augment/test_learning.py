"""Policies learn what they should on images: what helps validation becomes likelier for DAAS, what hurts for DHA."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_augment import LearnablePolicy, Operation, Space
from nas_augment.adversarial import dha_loss
from nas_augment.score_function import alignment, daas_surrogate, leave_one_out

SPACE = Space("invert or not", (Operation("Identity"), Operation("Invert")), 2)
STEP = 0.5


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def data(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Dark images ``(count, 1, 6, 6)`` with a bright left or right half, and which."""
    labels = torch.randint(2, (count,), generator=generator(seed))
    images = torch.randint(0, 40, (count, 1, 6, 6), generator=generator(seed + 1))
    left = torch.arange(6) < 3
    lit = torch.where(labels[:, None] == 0, left, ~left)[:, None, None, :]
    return torch.where(lit, images + 200, images).to(torch.uint8), labels


def losses(weights: Mapping[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
    x = images.float().flatten(1) / 255 - 0.5
    return F.cross_entropy(x @ weights["w"] + weights["b"], labels, reduction="none")


def start() -> dict[str, Tensor]:
    return {"w": torch.randn(36, 2, generator=generator(7)) * 0.01, "b": torch.zeros(2)}


def trained(invert: bool) -> dict[str, Tensor]:
    weights, (images, labels) = start(), data(64, 20)
    for _ in range(60):
        weights = after_step(weights, 255 - images if invert else images, labels)
    return weights


def policy() -> LearnablePolicy:
    return LearnablePolicy(SPACE, 1, probability=1.0, learn_levels=False)


def chance_of_inverting(made: LearnablePolicy) -> float:
    return float(made.choice_logits.detach().softmax(1)[0, 1])


def after_step(weights: Mapping[str, Tensor], images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    live = {name: value.detach().requires_grad_() for name, value in weights.items()}
    gradients = torch.autograd.grad(losses(live, images, labels).mean(), list(live.values()))
    return {name: (live[name] - STEP * g).detach() for name, g in zip(live, gradients, strict=True)}


@pytest.mark.parametrize("inverted", [False, True])
def test_daas_learns_the_operation_that_leads_to_the_validation_data(inverted: bool) -> None:
    """Validation images are inverted, or are not; the policy sees only gradients of the validation loss."""
    made, rng = policy(), generator(0)
    optimizer = torch.optim.SGD(made.parameters(), lr=30.0)
    images, labels = data(64, 0)
    clean, targets = data(64, 10)
    validation = (255 - clean if inverted else clean, targets)
    weights, chances = start(), [chance_of_inverting(made)]
    for _ in range(25):
        augmented, log_prob = made(images, generator=rng)
        after = {name: value.requires_grad_() for name, value in after_step(weights, augmented, labels).items()}
        gradients = torch.autograd.grad(losses(after, *validation).mean(), list(after.values()))
        h = dict(zip(after, gradients, strict=True))
        products = alignment(lambda p: losses(p, augmented, labels), weights, h)  # noqa: B023
        optimizer.zero_grad()
        daas_surrogate(log_prob, products, STEP).backward()
        optimizer.step()
        chances.append(chance_of_inverting(made))
    assert chances[0] == 0.5
    assert chances[-1] > 0.9 if inverted else chances[-1] < 0.1


@pytest.mark.parametrize("weight", ["score", "paper"])
@pytest.mark.parametrize("inverted", [False, True])
def test_dha_learns_the_operation_that_the_network_does_badly_on(inverted: bool, weight: str) -> None:
    """A network trained on images as they are is bad at inverted ones, and the other way round."""
    made, rng, weights = policy(), generator(0), trained(inverted)
    optimizer = torch.optim.SGD(made.parameters(), lr=1.0)
    images, labels = data(64, 0)
    for _ in range(25):
        augmented, log_prob = made(images, generator=rng)
        optimizer.zero_grad()
        loss = dha_loss(log_prob, losses(weights, augmented, labels), weight)  # type: ignore[arg-type]
        loss.backward()
        optimizer.step()
    assert chance_of_inverting(made) < 0.1 if inverted else chance_of_inverting(made) > 0.9


def test_leaving_one_out_cuts_the_variance_of_the_policy_gradient_fivefold() -> None:
    """On the first step of the toy above, where losses are far from zero and hardly differ: the case of a search's start."""
    made, rng, weights = policy(), generator(3), trained(False)
    images, labels = data(16, 0)
    plain: list[Tensor] = []
    reduced: list[Tensor] = []
    for _ in range(400):
        augmented, log_prob = made(images, generator=rng)
        rewards = losses(weights, augmented, labels) + 1
        for rewarded, into in ((rewards, plain), (rewards - leave_one_out(rewards), reduced)):
            surrogate = (rewarded * log_prob).mean()
            into.append(torch.autograd.grad(surrogate, made.choice_logits, retain_graph=True)[0].flatten())
    first, second = torch.stack(plain), torch.stack(reduced)
    spread = ((first.var(0) + second.var(0)) / 400).sqrt()
    assert ((first.mean(0) - second.mean(0)).abs() < 5 * spread).all()
    assert first.var(0).sum() > 5 * second.var(0).sum()
