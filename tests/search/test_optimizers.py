import pytest
import torch
from torch import nn

from nas_search.optimizers import SGD, Adam, apply_step
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


def test_the_gradient_is_clipped_over_all_parameters_together() -> None:
    a, b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    settings = SGD(Constant(1.0), momentum=0.0, weight_decay=0.0, clip=5.0)
    a.grad, b.grad = torch.tensor([30.0]), torch.tensor([40.0])
    apply_step(settings.build([a, b]), settings, 0.0)
    assert [a.item(), b.item()] == pytest.approx([-3.0, -4.0], rel=1e-4)


def test_adam_has_the_settings_of_darts() -> None:
    group = Adam().build([nn.Parameter(torch.zeros(1))]).param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (3e-4, (0.5, 0.999), 1e-3)


def test_parameters_without_gradient_are_left_alone() -> None:
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    a.grad = torch.ones(1)
    settings = SGD(Constant(0.1))
    apply_step(settings.build([a, b]), settings, 0.0)
    assert a.item() < 1
    assert b.item() == 1
