"""Optimisers as values: settings that a method holds, built for parameters when a search starts."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nas_search.distributed import average_gradients
from nas_search.errors import ConfigError
from nas_search.roles import Schedule
from nas_search.schedules import Constant, Cosine

__all__ = ["SGD", "Adam", "GaussianPosterior", "OptimizerSettings", "VariationalAdam", "apply_step"]


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
        momentum: factor of the velocity; a number, or over the run.
        weight_decay: added to the gradient times the parameter; a number, or over the run.
        nesterov: look ahead along the velocity.
        clip: largest norm of the gradient.
    """

    learning_rate: Schedule = Cosine(0.025, 0.001)
    momentum: float | Schedule = 0.9
    weight_decay: float | Schedule = 5e-4
    nesterov: bool = True
    clip: float | None = 5.0

    def __post_init__(self) -> None:
        for progress in (0.0, 1.0):
            _check_rates(self.learning_rate, _at(self.weight_decay, progress))
            if not 0 <= _at(self.momentum, progress) < 1:
                raise ConfigError(
                    f"momentum is {_at(self.momentum, progress)}; expected a factor of 0 or more, below 1."
                )
        _check_clip(self.clip)

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """A ``torch.optim.SGD``."""
        return torch.optim.SGD(parameters, lr=self.learning_rate(0.0), **self.options(0.0))

    def options(self, progress: float) -> dict[str, Any]:
        """What torch's optimiser is set to at this point of the run beside its learning rate.

        Nesterov's momentum is plain where it is 0, as torch asks for.
        """
        momentum = _at(self.momentum, progress)
        return {
            "momentum": momentum,
            "weight_decay": _at(self.weight_decay, progress),
            "nesterov": self.nesterov and momentum > 0,
        }


@dataclass(frozen=True)
class Adam:
    """Adam; the defaults are those of DARTS for architecture parameters.

    Args:
        learning_rate: over the run.
        betas: decay of the first and the second moment.
        weight_decay: added to the gradient times the parameter.
        clip: largest norm of the gradient.
        epsilon: added to the root of the second moment.
    """

    learning_rate: Schedule = Constant(3e-4)
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 1e-3
    clip: float | None = None
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _check_rates(self.learning_rate, self.weight_decay)
        _check_clip(self.clip)
        if not 0 < self.epsilon < math.inf:
            raise ConfigError(f"epsilon is {self.epsilon}; expected a positive number.")

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """A ``torch.optim.Adam``."""
        return torch.optim.Adam(
            parameters,
            lr=self.learning_rate(0.0),
            betas=self.betas,
            eps=self.epsilon,
            weight_decay=self.weight_decay,
        )


@dataclass(frozen=True)
class VariationalAdam:
    """Variational Adam: a Gaussian over the parameters instead of a point; see `GaussianPosterior`.

    The defaults are those of BaLeNAS; Khan et al., "Fast and Scalable Bayesian Deep Learning by Weight-Perturbation in
    Adam", ICML 2018.

    Args:
        learning_rate: over the run.
        betas: decay of the first and the second moment.
        prior_precision: of the prior N(0, 1 / prior_precision); it takes the place of a weight decay.
        initial_precision: the standard deviation starts at ``1 / sqrt(initial_precision)``; not below `prior_precision`.
        observations: N, the number of images that the loss is the mean over; 25,000 in BaLeNAS.

    Raises:
        ConfigError: a precision or a number of observations that is not positive, or too small an initial precision.
    """

    learning_rate: Schedule = Constant(3e-4)
    betas: tuple[float, float] = (0.5, 0.999)
    prior_precision: float = 1.0
    initial_precision: float = 1.0
    observations: int = 25_000

    def __post_init__(self) -> None:
        _check_rates(self.learning_rate, 0.0)
        if not (0 < self.prior_precision <= self.initial_precision < math.inf and self.observations > 0):
            raise ConfigError(
                f"prior precision is {self.prior_precision}, initial precision {self.initial_precision} and the number of "
                f"observations {self.observations}; expected positive numbers, the initial precision not below the prior's."
            )

    @property
    def clip(self) -> None:
        """The gradients are not clipped: the second moment needs them as they are."""
        return

    def build(self, parameters: Iterable[nn.Parameter]) -> "GaussianPosterior":
        """A `GaussianPosterior`."""
        return GaussianPosterior(parameters, self)


class GaussianPosterior(torch.optim.Optimizer):
    """A Gaussian ``N(mu, 1 / (N s + prior))`` of each parameter: `mu` is the parameter, `s` this optimiser's second moment.

    A step takes the gradients ``g`` at draws from it, with the means over the draws of ``g`` and of ``g * g``
    (thesis, Eq. 5.16 and 5.17; d = prior / N):

    ``m <- b1 m + (1 - b1) (mean(g) + d mu)``, ``s <- b2 s + (1 - b2) mean(g g)``,
    ``mu <- mu - lr (m / (1 - b1^t)) / (sqrt(s / (1 - b2^t)) + d)``.

    `s` starts at ``(initial_precision - prior_precision) / N``.

    Differs from the paper:
        1. The root of `s` is taken, as in the cited paper and its code; Eq. 5.16 is printed without.
        2. Squares are averaged, as in that code; Eq. 5.14 squares the average. They agree for one draw.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], settings: VariationalAdam) -> None:
        super().__init__(parameters, {"lr": settings.learning_rate(0.0)})
        self.settings = settings
        start = (settings.initial_precision - settings.prior_precision) / settings.observations
        for parameter in self._parameters():
            self.state[parameter] = {
                "step": 0,
                "first": torch.zeros_like(parameter),
                "second": torch.full_like(parameter, start),
            }

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    @torch.no_grad()
    def deviations(self) -> list[Tensor]:
        """The standard deviation of each parameter, in the order in which they were given."""
        settings = self.settings
        return [
            (settings.observations * self.state[parameter]["second"] + settings.prior_precision).rsqrt()
            for parameter in self._parameters()
        ]

    @torch.no_grad()
    def sample(self, generator: torch.Generator) -> list[Tensor]:
        """A draw of all parameters, in the order in which they were given; they themselves stay where they are."""
        return [
            parameter
            + deviation * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype).to(parameter)
            for parameter, deviation in zip(self._parameters(), self.deviations(), strict=True)
        ]

    @torch.no_grad()
    def update(self, gradients: Sequence[Sequence[Tensor]], learning_rate: float) -> None:
        """One step along the gradients at one or more draws, each in the order of the parameters."""
        settings = self.settings
        (beta1, beta2), prior = settings.betas, settings.prior_precision / settings.observations
        for index, parameter in enumerate(self._parameters()):
            draws = torch.stack([gradient[index] for gradient in gradients])
            state = self.state[parameter]
            state["step"] += 1
            state["first"].mul_(beta1).add_(draws.mean(dim=0) + prior * parameter, alpha=1 - beta1)
            state["second"].mul_(beta2).add_(draws.square().mean(dim=0), alpha=1 - beta2)
            first = state["first"] / (1 - beta1 ** state["step"])
            second = state["second"] / (1 - beta2 ** state["step"])
            parameter.sub_(learning_rate * first / (second.sqrt() + prior))

    def step(self, closure: Any = None) -> Any:
        """Refused: gradients at the mean are not those at draws.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            "variational Adam needs the gradients at draws from its posterior; use the update PosteriorStep."
        )


def apply_step(
    optimizer: torch.optim.Optimizer, settings: OptimizerSettings, progress: float, *, averaged: bool = False
) -> Tensor:
    """Take one step along the gradients that the parameters hold, at the learning rate of this point of the run.

    Of several ranks along the mean of their gradients; with `averaged` they hold that already.

    Returns:
        The norm of the whole gradient before it was clipped, a scalar tensor.
    """
    parameters: list[Tensor] = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    if not averaged:
        average_gradients(parameters)
    norm = nn.utils.clip_grad_norm_(parameters, math.inf if settings.clip is None else settings.clip)
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate(progress)
        if isinstance(settings, SGD):
            group.update(settings.options(progress))
    optimizer.step()
    return norm


def _at(value: float | Schedule, progress: float) -> float:
    return value(progress) if callable(value) else value


def _check_rates(learning_rate: Schedule, weight_decay: float) -> None:
    for progress in (0.0, 1.0):
        rate = learning_rate(progress)
        if not 0 <= rate < math.inf:
            raise ConfigError(f"learning rate is {rate}; expected a number of 0 or more.")
    if not 0 <= weight_decay < math.inf:
        raise ConfigError(f"weight decay is {weight_decay}; expected a number of 0 or more.")


def _check_clip(clip: float | None) -> None:
    if clip is not None and not 0 < clip < math.inf:
        raise ConfigError(f"clip is {clip}; expected a positive norm, or None for no limit.")
