"""Inner steps: one update of an optimiser as a differentiable function.

A setting such as the learning rate is a number, the name of an outer variable, a function of the outer variables
(``lambda a: a["log_lr"].exp()``), or a mapping from prefixes of the inner variables' names to any of these: one entry
a parameter group, ``{"": 0.1, "head.": "head_lr"}``; the longest prefix that fits counts. Numbers are checked; the values of
outer variables are not, which would wait for the device at every step: a rate that might be learned below zero is kept above it by
learning its logarithm.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from numbers import Real
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from nas_hypergrad.errors import ProblemError, SettingError
from nas_hypergrad.problem import Variables
from nas_hypergrad.settings import check_made, check_not_negative
from nas_hypergrad.vectors import Vector

__all__ = ["SGD", "Adam", "InnerStep", "OneSetting", "Setting", "adam", "adamw", "check_inner_step", "sgd"]

OneSetting: TypeAlias = float | str | Callable[[Variables], Tensor]
Setting: TypeAlias = OneSetting | Mapping[str, OneSetting]


class InnerStep(Protocol):
    """One update of the inner variables from their gradient, differentiable in all arguments.

    The state (momentum buffers and the like) is a dictionary of tensors of any keys; integer tensors are counters.
    """

    def start(self, inner: Vector) -> Vector:
        """The state before the first step."""
        ...

    def __call__(self, inner: Vector, gradient: Vector, outer: Variables, state: Vector) -> tuple[Vector, Vector]:
        """The next inner variables, keyed like `inner`, and the next state; no argument is changed."""
        ...


def check_inner_step(inner_step: object) -> None:
    """Raise SettingError unless it is an optimiser's step."""
    expected = "an optimiser's step, such as sgd(0.1)"
    check_made("inner_step", inner_step, expected)
    if not hasattr(inner_step, "start"):
        raise SettingError(f"inner_step is {inner_step!r}, which has no start; expected {expected}.")


@dataclass(frozen=True)
class SGD:
    """``g <- g + decay w; b <- momentum b + g; w <- w - lr b``, with Nesterov ``w - lr (g + momentum b)``: torch's SGD.

    Args:
        lr: the learning rate; a setting.
        momentum: a setting.
        nesterov: whether the gradient is looked up ahead.
        weight_decay: a setting.
        buffers: momentum buffers to start from, keyed like the inner variables; zeros where left out.

    Example:
        >>> step = SGD(lr="lr", momentum=0.9)
        >>> w, state = step({"w": torch.ones(1)}, {"w": torch.ones(1)}, {"lr": torch.tensor(0.1)}, {})
        >>> w["w"]
        tensor([0.9000])
    """

    lr: Setting
    _: KW_ONLY
    momentum: Setting = 0.0
    nesterov: bool = False
    weight_decay: Setting = 0.0
    buffers: Variables = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_settings(lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
        if self.nesterov and self.momentum == 0.0:
            raise SettingError("nesterov=True needs a momentum above zero.")

    def start(self, inner: Vector) -> Vector:
        """The given buffers."""
        _check_state(self.buffers, inner, "buffers")
        return {name: value.detach() for name, value in self.buffers.items()}

    def __call__(self, inner: Vector, gradient: Vector, outer: Variables, state: Vector) -> tuple[Vector, Vector]:
        """One step."""
        following, buffers = {}, {}
        for name, value in inner.items():
            update = _decayed(gradient[name], value, resolve(self.weight_decay, name, outer))
            momentum = resolve(self.momentum, name, outer)
            if isinstance(momentum, Tensor) or momentum:
                buffer = momentum * state[name] + update if name in state else update
                buffers[name] = buffer
                update = update + momentum * buffer if self.nesterov else buffer
            following[name] = value - resolve(self.lr, name, outer) * update
        return following, buffers


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, 2015), with weight decay in the gradient or, decoupled, in the step (AdamW).

    Args:
        lr: the learning rate; a setting.
        betas: the decay rates of the two moments.
        eps: added to the root of the second moment.
        weight_decay: a setting.
        decoupled: AdamW: the decay shrinks `w` by ``lr * decay`` and does not enter the moments.
        moments: the state to start from: ``"step.NAME"`` (integer), ``"first.NAME"``, ``"second.NAME"``.

    Differs from the paper:
        1. Where the second moment is exactly zero its root has an infinite slope; there the slope is taken as zero,
           so that entries without gradient give zeros and not NaN. Values are torch's.
    """

    lr: Setting
    _: KW_ONLY
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: Setting = 0.0
    decoupled: bool = False
    moments: Variables = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_settings(lr=self.lr, weight_decay=self.weight_decay)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise SettingError(f"betas are {self.betas}; expected two numbers of at least 0 and below 1.")
        check_not_negative("eps", self.eps)

    def start(self, inner: Vector) -> Vector:
        """The given moments."""
        _check_state({name.partition(".")[2]: value for name, value in self.moments.items()}, inner, "moments")
        return {name: value.detach() for name, value in self.moments.items()}

    def __call__(self, inner: Vector, gradient: Vector, outer: Variables, state: Vector) -> tuple[Vector, Vector]:
        """One step."""
        following: Vector = {}
        moments: Vector = {}
        for name, value in inner.items():
            lr, decay = resolve(self.lr, name, outer), resolve(self.weight_decay, name, outer)
            slope = gradient[name] if self.decoupled else _decayed(gradient[name], value, decay)
            if self.decoupled:
                value = value - lr * decay * value
            moments |= self._moments(name, slope, state)
            following[name] = value - lr * self._direction(name, moments)
        return following, moments

    def _moments(self, name: str, slope: Tensor, state: Vector) -> Vector:
        first, second = (state.get(f"{kind}.{name}", torch.zeros_like(slope)) for kind in ("first", "second"))
        return {
            f"step.{name}": state.get(f"step.{name}", torch.tensor(0, device="cpu")) + 1,
            f"first.{name}": self.betas[0] * first + (1 - self.betas[0]) * slope,
            f"second.{name}": self.betas[1] * second + (1 - self.betas[1]) * slope * slope,
        }

    def _direction(self, name: str, moments: Vector) -> Tensor:
        count = int(moments[f"step.{name}"])
        root = _safe_root(moments[f"second.{name}"] / (1 - self.betas[1] ** count))
        return moments[f"first.{name}"] / (1 - self.betas[0] ** count) / (root + self.eps)


sgd = SGD
adam = Adam


def adamw(
    lr: Setting,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: Setting = 0.01,
    moments: Variables | None = None,
) -> Adam:
    """`Adam` with decoupled weight decay (Loshchilov and Hutter, 2019)."""
    return Adam(lr, betas=betas, eps=eps, weight_decay=weight_decay, decoupled=True, moments=moments or {})


def resolve(setting: Setting, name: str, outer: Variables) -> float | Tensor:
    """The value of a setting for the inner variable `name`.

    Raises:
        ProblemError: it names an outer variable that does not exist, or has no entry for the inner variable.
    """
    if isinstance(setting, Mapping):
        fitting = [prefix for prefix in setting if name.startswith(prefix)]
        if not fitting:
            raise ProblemError(
                f"no entry of the setting {dict(setting)} fits the inner variable {name!r}: add one under the key ''."
            )
        return resolve(setting[max(fitting, key=len)], name, outer)
    if isinstance(setting, str):
        if setting not in outer:
            raise ProblemError(f"a setting names the outer variable {setting!r}, but there are {sorted(outer)}.")
        return outer[setting]
    return setting(outer) if callable(setting) else setting


def _decayed(gradient: Tensor, value: Tensor, decay: float | Tensor) -> Tensor:
    return gradient + decay * value if isinstance(decay, Tensor) or decay else gradient


def _safe_root(value: Tensor) -> Tensor:
    positive = value > 0
    return torch.where(positive, torch.where(positive, value, 1.0).sqrt(), 0.0)


def _check_settings(**settings: Setting) -> None:
    for role, setting in settings.items():
        for value in setting.values() if isinstance(setting, Mapping) else (setting,):
            if isinstance(value, Real):
                fits = math.isfinite(value) and (value > 0 or (role != "lr" and value == 0))
            else:
                fits = isinstance(value, str | Tensor) or callable(value)
            if not fits:
                least = "above zero" if role == "lr" else "zero or above"
                raise SettingError(
                    f"{role} is {value!r}; expected a finite number {least}, an outer variable's name or a function, for "
                    "each prefix of a name in a dictionary if they differ."
                )


def _check_state(state: Variables, inner: Vector, role: str) -> None:
    unknown = sorted(state.keys() - inner.keys())
    if unknown:
        raise ProblemError(f"{role} hold entries for {unknown}, but the inner variables are {sorted(inner)}.")
