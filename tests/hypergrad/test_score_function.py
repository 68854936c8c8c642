"""Score-function gradients: the unit factor, baselines, and DAAS Eq. 13."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nas_hypergrad import (
    BilevelProblem,
    ProblemError,
    Unrolled,
    Variables,
    leave_one_out,
    score_function,
    sgd,
    unit_factor,
)

D = torch.float64


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-50, 0), min_size=2, max_size=6), st.booleans())
def test_the_unit_factor_is_one_with_the_derivative_of_the_log_probability(values: list[float], baseline: bool) -> None:
    log_probs = torch.tensor(values, dtype=D, requires_grad=True)
    factor = unit_factor(log_probs, leave_one_out=baseline)
    assert torch.equal(factor.detach(), torch.ones(len(values), dtype=D))
    losses = torch.linspace(1, 2, len(values), dtype=D)
    (grad,) = torch.autograd.grad((factor * losses).sum(), log_probs)
    torch.testing.assert_close(grad, losses - leave_one_out(losses) if baseline else losses)


def test_expectation_over_all_draws_is_the_gradient_of_the_expectation() -> None:
    logits = torch.tensor([0.3, -0.2, 0.9], dtype=D, requires_grad=True)
    losses = torch.tensor([1.0, 4.0, -2.0], dtype=D)
    log_p = logits.log_softmax(0)
    p = log_p.exp().detach()
    (truth,) = torch.autograd.grad((log_p.exp() * losses).sum(), logits, retain_graph=True)
    for baseline in (0.0, 5.0):
        parts = [score_function(losses[i : i + 1], log_p[i : i + 1], baseline) for i in range(3)]
        (grad,) = torch.autograd.grad(torch.stack(parts) @ p, logits, retain_graph=True)
        torch.testing.assert_close(grad, truth)
    # Two draws with the leave-one-out baseline, over all nine pairs.
    total = torch.zeros((), dtype=D)
    for i in range(3):
        for j in range(3):
            factor = unit_factor(log_p[[i, j]], leave_one_out=True)
            total = total + p[i] * p[j] * (factor * losses[[i, j]]).mean()
    (grad,) = torch.autograd.grad(total, logits)
    torch.testing.assert_close(grad, truth)


def test_leave_one_out_lowers_the_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.zeros(4, dtype=D, requires_grad=True)
    losses = torch.tensor([10.0, 11.0, 12.0, 13.0], dtype=D)
    spread = []
    for baseline in (False, True):
        grads = []
        for _ in range(200):
            drawn = torch.randint(4, (4,), generator=generator)
            factor = unit_factor(logits.log_softmax(0)[drawn], leave_one_out=baseline)
            grads.append(torch.autograd.grad((factor * losses[drawn]).mean(), logits)[0])
        spread.append(torch.stack(grads).var(0).sum())
    assert spread[1] < spread[0] / 10


@pytest.mark.parametrize("baseline", [False, True])
def test_one_unrolled_step_of_a_sampled_inner_loss_is_daas_eq_13(baseline: bool) -> None:
    """``- xi mean_j <h, g_j> dlog p_j``, with the leave-one-out baseline ``<h, g_j - mean of the other g>``."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(3, 4, generator=generator, dtype=D)
    drawn = torch.tensor([2, 0])
    inner, outer = (
        {"w": torch.randn(4, generator=generator, dtype=D)},
        {"logits": torch.randn(3, generator=generator, dtype=D)},
    )

    def inner_loss(w: Variables, a: Variables) -> Tensor:
        losses = torch.stack([(w["w"] - targets[i]).square().sum() / 2 for i in drawn.tolist()])
        return (unit_factor(a["logits"].log_softmax(0)[drawn], leave_one_out=baseline) * losses).mean()

    problem = BilevelProblem(inner_loss, lambda w, a: w["w"].square().sum() / 2)
    g = inner["w"] - targets[drawn]
    h = inner["w"] - 0.1 * g.mean(0)
    s = g @ h
    s = s - s.flip(0) if baseline else s
    dlog_p = torch.nn.functional.one_hot(drawn, 3) - outer["logits"].softmax(0)
    torch.testing.assert_close(
        Unrolled(sgd(0.1))(problem, inner, outer)["logits"], -0.1 * (s[:, None] * dlog_p).mean(0)
    )


def test_bad_input() -> None:
    with pytest.raises(ProblemError, match=r"at least two draws .* given 1"):
        unit_factor(torch.zeros(1), leave_one_out=True)
    with pytest.raises(ProblemError, match="at least two draws"):
        leave_one_out(torch.tensor(1.0))
    with pytest.raises(ProblemError, match="expected the same"):
        score_function(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ProblemError, match=r"baseline has shape \(3, 1\)"):
        score_function(torch.zeros(3), torch.zeros(3), torch.zeros(3, 1))
