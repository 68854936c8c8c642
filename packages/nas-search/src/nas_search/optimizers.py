"""Optimisers as values: settings that a method holds, built for parameters when a search starts."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from nas_search.errors import ConfigError
from nas_search.roles import Schedule
from nas_search.schedules import Constant, Cosine

__all__ = ["SGD", "Adam", "OptimizerSettings", "apply_step"]


class OptimizerSettings(Protocol):
    """What builds an optimiser, and what a step with it needs to know."""

    @property
    def learning_rate(self) -> Schedule:
        """The learning rate over the run."""
        ...

    @property
    def clip(self) -> float | None:
        """The largest norm of the whole gradient; None for no limit."""
        ...

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """An optimiser of these parameters."""
        ...


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum; the defaults are those of NAS-Bench-201's searches.

    Args:
        learning_rate: over the run, cosine from 0.025 to 0.001 by default.
        momentum: factor of the velocity.
        weight_decay: added to the gradient times the parameter.
        nesterov: look ahead along the velocity.
        clip: largest norm of the gradient.
    """

    learning_rate: Schedule = Cosine(0.025, 0.001)
    momentum: float = 0.9
    weight_decay: float = 5e-4
    nesterov: bool = True
    clip: float | None = 5.0

    def __post_init__(self) -> None:
        _check_rates(self.learning_rate, self.weight_decay)

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """A ``torch.optim.SGD``."""
        return torch.optim.SGD(
            parameters,
            lr=self.learning_rate(0.0),
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov and self.momentum > 0,
        )


@dataclass(frozen=True)
class Adam:
    """Adam; the defaults are those of DARTS for architecture parameters.

    Args:
        learning_rate: over the run.
        betas: decay of the first and the second moment.
        weight_decay: added to the gradient times the parameter.
        clip: largest norm of the gradient.
    """

    learning_rate: Schedule = Constant(3e-4)
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 1e-3
    clip: float | None = None

    def __post_init__(self) -> None:
        _check_rates(self.learning_rate, self.weight_decay)

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """A ``torch.optim.Adam``."""
        return torch.optim.Adam(
            parameters, lr=self.learning_rate(0.0), betas=self.betas, weight_decay=self.weight_decay
        )


def apply_step(optimizer: torch.optim.Optimizer, settings: OptimizerSettings, progress: float) -> Tensor:
    """Take one step along the gradients that the parameters hold, at the learning rate of this point of the run.

    Returns:
        The norm of the whole gradient before it was clipped, a scalar tensor.
    """
    parameters: list[Tensor] = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = nn.utils.clip_grad_norm_(parameters, math.inf if settings.clip is None else settings.clip)
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate(progress)
    optimizer.step()
    return norm


def _check_rates(learning_rate: Schedule, weight_decay: float) -> None:
    for progress in (0.0, 1.0):
        rate = learning_rate(progress)
        if not 0 <= rate < math.inf:
            raise ConfigError(f"learning rate is {rate}; expected a number of 0 or more.")
    if not 0 <= weight_decay < math.inf:
        raise ConfigError(f"weight decay is {weight_decay}; expected a number of 0 or more.")
