"""Relaxed draws: frequencies, straight-through values, and RELAX without bias for any control variate."""

import pytest
import torch
from torch import Tensor

from nas_augment import PolicyError
from nas_augment.gumbel import gumbel_softmax, relax_surrogate, relaxed_bernoulli, relaxed_categorical

LOGITS = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64)
COUNT = 40000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_hard_gumbel_is_exactly_one_hot_and_categorical() -> None:
    drawn = gumbel_softmax(LOGITS.expand(COUNT, 3), 0.7, generator=generator(), hard=True)
    assert ((drawn == 0) | (drawn == 1)).all()
    expected = LOGITS.softmax(0) * COUNT
    assert float(((drawn.sum(0) - expected).square() / expected).sum()) < 18.4  # 2 degrees of freedom, p = 1e-4


def test_hard_gumbel_has_the_gradient_of_the_soft_one() -> None:
    gradients = []
    for hard in (False, True):
        logits = LOGITS.clone().requires_grad_()
        drawn = gumbel_softmax(logits, 0.7, generator=generator(4), hard=hard)
        gradients.append(torch.autograd.grad(drawn @ torch.tensor([1.0, 2.0, 5.0]).double(), logits)[0])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_a_gate_is_bernoulli_and_its_relaxations_agree_with_it() -> None:
    draw = relaxed_bernoulli(torch.full((COUNT,), -0.6), 0.5, generator=generator())
    p = torch.sigmoid(torch.tensor(-0.6))
    assert draw.hard.mean() == pytest.approx(float(p), abs=0.01)
    assert ((draw.relaxed > 0.5) == (draw.hard > 0)).all()
    assert ((draw.conditional > 0.5) == (draw.hard > 0)).all()
    torch.testing.assert_close(draw.log_prob.exp(), torch.where(draw.hard > 0, p, 1 - p))
    # Over all draws the two latents have the same distribution.
    levels = torch.linspace(0.05, 0.95, 19)
    torch.testing.assert_close(draw.relaxed.quantile(levels), draw.conditional.quantile(levels), rtol=0, atol=0.02)


def test_a_class_is_categorical_and_its_relaxations_agree_with_it() -> None:
    draw = relaxed_categorical(LOGITS.expand(COUNT, 3), 0.5, generator=generator())
    expected = LOGITS.softmax(0) * COUNT
    assert float(((draw.hard.sum(0) - expected).square() / expected).sum()) < 18.4
    assert torch.equal(draw.relaxed.argmax(1), draw.hard.argmax(1))
    assert torch.equal(draw.conditional.argmax(1), draw.hard.argmax(1))
    levels = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    for k in range(3):
        torch.testing.assert_close(
            draw.relaxed[:, k].quantile(levels), draw.conditional[:, k].quantile(levels), rtol=0, atol=0.03
        )


@pytest.mark.parametrize("scale", [0.0, 1.0, -3.0])
@pytest.mark.parametrize("kind", ["bernoulli", "categorical"])
def test_relax_is_unbiased_for_every_control_variate(kind: str, scale: float) -> None:
    rewards = torch.tensor([2.0, 7.0, 4.0], dtype=torch.float64)
    logits = LOGITS.clone().requires_grad_()
    if kind == "bernoulli":
        logits = LOGITS[:1].clone().requires_grad_()
        exact = torch.autograd.grad(torch.sigmoid(logits[0]) * 5 + 2, logits)[0]
    else:
        exact = torch.autograd.grad(logits.softmax(0) @ rewards, logits)[0]
    many = logits.detach().expand(COUNT, -1).clone().requires_grad_()

    def control(relaxed: Tensor) -> Tensor:
        return scale * (relaxed.square() @ torch.arange(1.0, relaxed.shape[1] + 1).double() + relaxed[:, 0])

    if kind == "bernoulli":
        draw = relaxed_bernoulli(many, 0.5, generator=generator(1))
        reward = draw.hard[:, 0] * 5 + 2
    else:
        draw = relaxed_categorical(many, 0.5, generator=generator(1))
        reward = draw.hard @ rewards
    (each,) = torch.autograd.grad(relax_surrogate(reward, draw, control) * COUNT, many)
    z = (each.mean(0) - exact) / (each.std(0) / COUNT**0.5)
    assert z.abs().max() < 5


def test_a_good_control_variate_cuts_the_variance() -> None:
    variances = []
    for scale in (0.0, 5.0):
        many = torch.zeros(COUNT, 1, dtype=torch.float64, requires_grad=True)
        draw = relaxed_bernoulli(many, 1.0, generator=generator(2))
        surrogate = relax_surrogate(draw.hard[:, 0] * 5, draw, lambda z, s=scale: s * z[:, 0])  # type: ignore[misc]
        variances.append(float(torch.autograd.grad(surrogate * COUNT, many)[0].var()))
    assert variances[0] > 2 * variances[1]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(PolicyError, match="temperature is 0"):
        gumbel_softmax(LOGITS, 0, generator=generator())
    with pytest.raises(PolicyError, match="temperature is -1"):
        relaxed_bernoulli(LOGITS, -1, generator=generator())
    with pytest.raises(PolicyError, match="temperature is nan"):
        relaxed_categorical(LOGITS, float("nan"), generator=generator())
    draw = relaxed_bernoulli(torch.zeros(4, 1), 0.5, generator=generator())
    with pytest.raises(PolicyError, match="control variate gives"):
        relax_surrogate(torch.zeros(4), draw, lambda z: z)
