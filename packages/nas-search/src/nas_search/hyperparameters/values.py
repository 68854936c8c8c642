"""The hyper-parameters that are learned, their ranges, and where the optimiser gets them from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from nas_hypergrad import HypergradError, InnerStep, optimizer_step
from nas_search.errors import ConfigError

__all__ = ["OPTIONS", "Hyperparameters", "Range", "StepTaken"]

# How torch.optim calls them.
OPTIONS = {"learning_rate": "lr", "weight_decay": "weight_decay", "momentum": "momentum"}


@dataclass(frozen=True)
class Range:
    """Where a hyper-parameter starts, and where it may go.

    Args:
        start: its first value.
        low: the smallest, 0 or more.
        high: the largest.

    Raises:
        ConfigError: numbers that are not in this order.
    """

    start: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.start <= self.high < math.inf:
            raise ConfigError(f"{self} expects 0 <= low <= start <= high, all of them finite.")


@dataclass(frozen=True)
class StepTaken:
    """One step of the weights' optimiser, as it was about to be taken.

    Args:
        step: the optimiser's update, with its momentum buffers or moments before it.
        inner: the weights before it that had a gradient.
        gradient: their gradients, clipped as they were.
    """

    step: InnerStep
    inner: dict[str, Tensor]
    gradient: dict[str, Tensor]


class Hyperparameters(nn.Module):
    """The hyper-parameters that are learned, and where the optimiser gets them from.

    Args:
        ranges: of each of them, by ``learning_rate``, ``weight_decay``, ``momentum``.
        names: of the supernet's parameters.
        groups: prefixes of the names; each group has values of its own, and the longest prefix that fits a name counts.
        log: whether the logarithm is what is learned.

    Attributes:
        raw: by hyper-parameter, the value of each group or its logarithm, ``(groups,)`` float64 on the host.

    Raises:
        ConfigError: a prefix that no name has, or a name without a prefix.
    """

    def __init__(self, ranges: Mapping[str, Range], names: Sequence[str], groups: Sequence[str], log: bool) -> None:
        super().__init__()
        self.ranges, self.groups, self.log = dict(ranges), tuple(groups), log
        self.members = _members(names, groups)
        starts = {name: self._raw(item.start) for name, item in ranges.items()}
        self.raw = nn.ParameterDict(
            {name: torch.full((len(groups),), start, dtype=torch.float64) for name, start in starts.items()}
        )
        self.last: StepTaken | None = None

    def _raw(self, value: float) -> float:
        return math.log(value) if self.log else value

    def forward(self) -> dict[str, Tensor]:
        """The values, ``(groups,)`` each, by the name of the hyper-parameter."""
        return {name: raw.exp() if self.log else raw + 0.0 for name, raw in self.raw.items()}

    @torch.no_grad()
    def project(self) -> None:
        """Bring every value back into its range."""
        for name, item in self.ranges.items():
            self.raw[name].clamp_(self._raw(item.low), self._raw(item.high))

    @torch.no_grad()
    def options(self) -> dict[str, dict[str, float]]:
        """The values as torch's optimisers call them, by group: ``{"lr": {"": 0.1}}``."""
        return {
            OPTIONS[name]: dict(zip(self.groups, self._inside(name, values).tolist(), strict=True))
            for name, values in self().items()
        }

    def _inside(self, name: str, values: Tensor) -> Tensor:
        # The exponential of a logarithm at its bound may be one rounding beyond it.
        return values.clamp(self.ranges[name].low, self.ranges[name].high)

    @torch.no_grad()
    def values(self) -> dict[str, float]:
        """The mean over the groups of each hyper-parameter; with several groups also that of each, ``learning_rate[PREFIX]``."""
        record: dict[str, float] = {}
        for name, values in self().items():
            inside = self._inside(name, values)
            record[name] = float(inside.mean())
            if len(self.groups) > 1:
                record |= {f"{name}[{group}]": float(value) for group, value in zip(self.groups, inside, strict=True)}
        return record

    def attach(self, optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> None:
        """Make an optimiser take its next steps with these values, whatever a schedule says, and note each of them in `last`.

        Raises:
            ConfigError: the optimiser lacks an option that is learned, or its step cannot be differentiated.
        """
        (options,) = optimizer.param_groups
        lacking = [name for name in self.ranges if OPTIONS[name] not in options]
        if lacking:
            raise ConfigError(
                f"{', '.join(lacking)} cannot be learned of {type(optimizer).__name__}, which has no such option; learn only "
                f"what it has, or give the weights another optimiser."
            )
        try:
            optimizer_step(optimizer, dict(parameters))
        except HypergradError as error:
            raise ConfigError(
                f"hyper-parameters cannot be learned through a step of the weights' optimiser: {error}"
            ) from error
        shared = {key: value for key, value in options.items() if key != "params"}
        optimizer.param_groups.clear()
        for members in self.members:
            optimizer.add_param_group({**shared, "params": [parameters[name] for name in members]})
        self.write(optimizer)
        optimizer.register_step_pre_hook(lambda taker, args, kwargs: self._before(taker, parameters))

    def write(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the options of the optimiser's groups."""
        for option, values in self.options().items():
            for group, value in zip(optimizer.param_groups, values.values(), strict=True):
                group[option] = value

    def _before(self, optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> None:
        self.write(optimizer)
        # A parameter without a gradient is left as it is by the optimiser, and its decay too.
        stepped = {name: parameter for name, parameter in parameters.items() if parameter.grad is not None}
        step = optimizer_step(optimizer, stepped)
        gradient = {name: _copy(parameter.grad) for name, parameter in stepped.items() if parameter.grad is not None}
        self.last = StepTaken(_with_own_state(step), {name: _copy(value) for name, value in stepped.items()}, gradient)

    def learned(self, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What a result keeps: the last value of each, and as ``schedule`` the first one with those after every epoch."""
        last = self.values()
        schedule = {
            name: [item.start, *(record["hyperparameters"][name] for record in history)]
            for name, item in self.ranges.items()
        }
        return {**last, "schedule": schedule}


def _members(names: Sequence[str], groups: Sequence[str]) -> list[list[str]]:
    """The names of each group."""
    members: dict[str, list[str]] = {group: [] for group in groups}
    for name in names:
        fitting = [group for group in groups if name.startswith(group)]
        if not fitting:
            raise ConfigError(
                f"parameter {name!r} of the supernet is in none of the groups {tuple(groups)}; add '' for the rest."
            )
        members[max(fitting, key=len)].append(name)
    empty = [group for group, inside in members.items() if not inside]
    if empty:
        raise ConfigError(
            f"no parameter of the supernet is in group {empty[0]!r}; they are named like {names[0]!r} and {names[-1]!r}."
        )
    return list(members.values())


def _with_own_state(step: InnerStep) -> InnerStep:
    """The same with copies of the optimiser's buffers, which the optimiser changes in place."""
    field = "buffers" if hasattr(step, "buffers") else "moments"
    return replace(step, **{field: {name: _copy(value) for name, value in getattr(step, field).items()}})  # type: ignore[type-var]


def _copy(value: Tensor) -> Tensor:
    return value.detach().clone()
