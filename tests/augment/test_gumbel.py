"""Relaxed draws: frequencies, straight-through values, and RELAX without bias for any control variate."""

import pytest
import torch
from torch import Tensor

from nas_augment import PolicyError
from nas_augment.gumbel import (
    gumbel_softmax,
    relax_gradients,
    relax_surrogate,
    relaxed_bernoulli,
    relaxed_categorical,
)

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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_draws_in_half_precision_are_finite(dtype: torch.dtype) -> None:
    logits = torch.zeros(3000, 10, dtype=dtype)
    soft = gumbel_softmax(logits, 0.5, generator=generator())
    classes = relaxed_categorical(logits, 0.5, generator=generator())
    gates = relaxed_bernoulli(logits, 0.5, generator=generator())
    for drawn in (soft, *classes, *gates):
        assert drawn.dtype == dtype
        assert drawn.isfinite().all()
    torch.testing.assert_close(soft.sum(-1).float(), torch.ones(3000), atol=0.02, rtol=0)


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


def relaxed_draws(logits: Tensor) -> tuple[Tensor, Tensor]:
    draw = relaxed_categorical(logits.expand(50, 3), 0.5, generator=generator(3))
    return draw.hard @ torch.tensor([2.0, 7.0, 4.0]).double(), draw  # type: ignore[return-value]


def test_gradients_are_those_of_the_surrogate() -> None:
    logits = LOGITS.clone().requires_grad_()
    reward, draw = relaxed_draws(logits)
    control = torch.randn(3, generator=generator(), dtype=torch.float64)
    surrogate = relax_surrogate(reward, draw, lambda z: z.square() @ control)  # type: ignore[arg-type]
    (found,) = relax_gradients(reward, draw, lambda z: z.square() @ control, [logits])  # type: ignore[arg-type]
    torch.testing.assert_close(found, torch.autograd.grad(surrogate, logits)[0])


def test_the_control_variate_is_trained_on_the_variance() -> None:
    """The derivative of the squared estimate by its parameters, against differences; then descent along it."""

    def squared(control: Tensor) -> Tensor:
        logits = LOGITS.clone().requires_grad_()
        reward, draw = relaxed_draws(logits)
        return relax_gradients(reward, draw, lambda z: z.square() @ control, [logits])[0].square().sum()  # type: ignore[arg-type]

    control = torch.randn(3, generator=generator(), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(squared, (control,))

    def variance(control: Tensor) -> float:
        many = LOGITS.expand(COUNT, 3).clone().requires_grad_()
        draw = relaxed_categorical(many, 0.5, generator=generator(4))
        reward = draw.hard @ torch.tensor([2.0, 7.0, 4.0]).double()
        (each,) = torch.autograd.grad(relax_surrogate(reward, draw, lambda z: z @ control) * COUNT, many)
        return float(each.var(0).sum())

    learned, noise = torch.zeros(3, dtype=torch.float64, requires_grad=True), generator(5)
    optimizer = torch.optim.Adam([learned], 0.3)
    for _ in range(150):
        logits = LOGITS.clone().requires_grad_()
        draw = relaxed_categorical(logits.expand(8, 3), 0.5, generator=noise)
        reward = draw.hard @ torch.tensor([2.0, 7.0, 4.0]).double()
        (gradient,) = relax_gradients(reward, draw, lambda z: z @ learned, [logits])
        optimizer.zero_grad()
        gradient.square().sum().backward(inputs=[learned])
        optimizer.step()
    assert variance(learned.detach()) < variance(torch.zeros(3).double()) / 3


def test_what_was_given_is_what_is_relaxed() -> None:
    gates = (torch.rand(500, generator=generator()) < 0.3).double()
    draw = relaxed_bernoulli(torch.full((500,), 0.4).double(), 0.5, generator=generator(), given=gates)
    assert torch.equal(draw.hard, gates)
    assert torch.equal(draw.relaxed > 0.5, gates > 0)
    assert not torch.equal(draw.relaxed, draw.conditional)
    classes = torch.eye(3).double()[torch.randint(3, (500,), generator=generator())]
    drawn = relaxed_categorical(LOGITS.expand(500, 3), 0.5, generator=generator(), given=classes)
    assert torch.equal(drawn.hard, classes)
    assert torch.equal(drawn.relaxed.argmax(1), classes.argmax(1))
    # The latent is that of a draw forwards: the derivative by a logit is one, the noise a constant.
    logits = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    relaxed = relaxed_bernoulli(logits, 0.5, generator=generator(), given=torch.ones(1)).relaxed
    (slope,) = torch.autograd.grad(relaxed.sum(), logits)
    torch.testing.assert_close(slope, (relaxed * (1 - relaxed) / 0.5).detach())


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
    with pytest.raises(PolicyError, match=r"given is \(2,\); expected zeros and ones shaped as logits, \(4,\)"):
        relaxed_bernoulli(torch.zeros(4), 0.5, generator=generator(), given=torch.zeros(2))
    with pytest.raises(PolicyError, match="expected zeros and ones"):
        relaxed_bernoulli(torch.zeros(4), 0.5, generator=generator(), given=torch.full((4,), 0.5))
    with pytest.raises(PolicyError, match="not one-hot"):
        relaxed_categorical(torch.zeros(4), 0.5, generator=generator(), given=torch.ones(4))
    with pytest.raises(PolicyError, match="control variate gives"):
        relax_gradients(torch.zeros(4), draw, lambda z: z, [])
