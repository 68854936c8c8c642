import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_search import ConfigError
from nas_search.optimizers import SGD, Adam, GaussianPosterior, VariationalAdam, apply_step
from nas_search.schedules import Constant, Linear


def test_sgd_step_meets_the_longhand_update() -> None:
    parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
    settings = SGD(Linear(0.1, 0.0), momentum=0.9, weight_decay=0.5, nesterov=True, clip=None)
    optimizer = settings.build([parameter])
    value, velocity = torch.tensor([1.0, -2.0]), torch.zeros(2)
    for progress in (0.0, 0.5):
        gradient = torch.tensor([0.3, 0.7])
        parameter.grad = gradient.clone()
        apply_step(optimizer, settings, progress)
        decayed = gradient + 0.5 * value
        velocity = 0.9 * velocity + decayed
        value = value - 0.1 * (1 - progress) * (decayed + 0.9 * velocity)
        torch.testing.assert_close(parameter.detach(), value)


def test_momentum_over_the_run_may_begin_at_zero_and_looks_ahead_from_then_on() -> None:
    parameter = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    settings = SGD(Constant(0.1), momentum=Linear(0.0, 0.8), weight_decay=Linear(0.0, 1.0), nesterov=True, clip=None)
    optimizer = settings.build([parameter])
    value, velocity = 0.0, 0.0
    for progress in (0.0, 0.5, 1.0):
        parameter.grad = torch.ones(1, dtype=torch.float64)
        apply_step(optimizer, settings, progress)
        decayed, momentum = 1.0 + progress * value, 0.8 * progress
        velocity = momentum * velocity + decayed if momentum else 0.0  # torch keeps no velocity without momentum
        value -= 0.1 * (decayed + momentum * velocity)
        assert parameter.item() == pytest.approx(value, rel=1e-12)


def test_the_gradient_is_clipped_over_all_parameters_together() -> None:
    a, b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    settings = SGD(Constant(1.0), momentum=0.0, weight_decay=0.0, clip=5.0)
    a.grad, b.grad = torch.tensor([30.0]), torch.tensor([40.0])
    apply_step(settings.build([a, b]), settings, 0.0)
    assert [a.item(), b.item()] == pytest.approx([-3.0, -4.0], rel=1e-4)


def test_adam_has_the_settings_of_darts() -> None:
    group = Adam().build([nn.Parameter(torch.zeros(1))]).param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (3e-4, (0.5, 0.999), 1e-3)
    assert group["eps"] == 1e-8
    assert Adam(epsilon=1e-3).build([nn.Parameter(torch.zeros(1))]).param_groups[0]["eps"] == 1e-3
    with pytest.raises(ConfigError, match="epsilon is 0.0; expected a positive number"):
        Adam(epsilon=0.0)


def test_parameters_without_gradient_are_left_alone() -> None:
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    a.grad = torch.ones(1)
    settings = SGD(Constant(0.1))
    apply_step(settings.build([a, b]), settings, 0.0)
    assert a.item() < 1
    assert b.item() == 1


def posterior(start: Tensor, **settings: Any) -> tuple[nn.Parameter, GaussianPosterior]:
    parameter = nn.Parameter(start.double().clone())
    return parameter, VariationalAdam(**settings).build([parameter])


def test_variational_adam_meets_the_longhand_update() -> None:
    mean, rate = 0.7, 0.01
    beta1, beta2, prior, initial, number = 0.5, 0.999, 2.0, 8.0, 50
    parameter, optimizer = posterior(
        torch.tensor([mean]), prior_precision=prior, initial_precision=initial, observations=number
    )
    first, second = 0.0, (initial - prior) / number
    for step, (g1, g2) in enumerate(((0.3, -0.2), (0.1, 0.9), (-0.4, 0.5)), start=1):
        optimizer.update([[torch.tensor([g1]).double()], [torch.tensor([g2]).double()]], rate)
        first = beta1 * first + (1 - beta1) * ((g1 + g2) / 2 + prior / number * mean)
        second = beta2 * second + (1 - beta2) * (g1**2 + g2**2) / 2
        corrected = first / (1 - beta1**step), second / (1 - beta2**step)
        mean = mean - rate * corrected[0] / (math.sqrt(corrected[1]) + prior / number)
        torch.testing.assert_close(parameter.item(), mean, rtol=1e-6, atol=0)
        torch.testing.assert_close(
            optimizer.deviations()[0].item(), 1 / math.sqrt(number * second + prior), rtol=1e-6, atol=0
        )


def test_the_posterior_starts_at_the_initial_precision() -> None:
    _, optimizer = posterior(torch.zeros(3))
    assert optimizer.deviations()[0].tolist() == [1.0] * 3  # BaLeNAS
    _, optimizer = posterior(torch.zeros(3), initial_precision=16.0)
    torch.testing.assert_close(optimizer.deviations()[0], torch.full((3,), 0.25).double())


def test_draws_follow_the_posterior_and_leave_the_mean_alone() -> None:
    start = torch.tensor([1.0, -2.0])
    parameter, optimizer = posterior(start, initial_precision=4.0)
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([optimizer.sample(generator)[0] for _ in range(4000)])
    torch.testing.assert_close(draws.mean(dim=0), start.double(), atol=4 * 0.5 / 4000**0.5, rtol=0)
    torch.testing.assert_close(draws.std(dim=0), torch.full((2,), 0.5).double(), rtol=0.05, atol=0)
    assert torch.equal(parameter.detach(), start.double())
    assert not draws.requires_grad


def test_without_noise_and_prior_variational_adam_is_adam() -> None:
    start = torch.randn(5, generator=torch.Generator().manual_seed(1)).double()
    tiny = {"prior_precision": 1e-9, "initial_precision": 1e-9, "observations": 1}
    parameter, optimizer = posterior(start, **tiny)
    other = nn.Parameter(start.clone())
    adam = torch.optim.Adam([other], lr=0.01, betas=(0.5, 0.999), eps=1e-9)
    generator = torch.Generator().manual_seed(2)
    for _ in range(10):
        gradient = torch.randn(5, generator=generator).double()
        optimizer.update([[gradient]], 0.01)
        other.grad = gradient.clone()
        adam.step()
        torch.testing.assert_close(parameter, other, rtol=1e-6, atol=1e-9)


def test_the_prior_pulls_towards_zero() -> None:
    parameter, optimizer = posterior(torch.tensor([3.0]))
    # Without a gradient m = d mu and s = 0, so that the step is lr mu.
    optimizer.update([[torch.zeros(1).double()]], 0.1)
    assert parameter.item() == pytest.approx(3.0 * 0.9)


@pytest.mark.parametrize(
    "changes",
    [{"prior_precision": 0.0}, {"initial_precision": 0.5}, {"observations": 0}, {"initial_precision": math.inf}],
)
def test_precisions_that_make_no_distribution_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected positive numbers, the initial precision not below the prior's"):
        VariationalAdam(**changes)


def test_a_plain_step_of_variational_adam_is_refused() -> None:
    parameter, optimizer = posterior(torch.zeros(1))
    parameter.grad = torch.ones(1).double()
    with pytest.raises(ConfigError, match="use the update PosteriorStep"):
        apply_step(optimizer, VariationalAdam(), 0.0)


@pytest.mark.parametrize("settings", [{"momentum": -0.1}, {"momentum": 1.0}, {"clip": 0.0}, {"clip": -5.0}])
def test_a_momentum_or_a_clip_that_makes_no_step_is_refused(settings: dict[str, float]) -> None:
    """A negative clip would turn the gradient round."""
    (name,) = settings
    with pytest.raises(ConfigError, match=f"{name} is "):
        SGD(**settings)  # type: ignore[arg-type]
    if name == "clip":
        with pytest.raises(ConfigError, match="clip is "):
            Adam(**settings)  # type: ignore[arg-type]
