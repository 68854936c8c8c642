"""Inner steps and preconditioners that continue a real ``torch.optim`` optimiser, with its groups and its state."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nas_hypergrad.errors import ProblemError
from nas_hypergrad.inner_step import SGD, Adam, InnerStep, OneSetting
from nas_hypergrad.point import is_frozen
from nas_hypergrad.problem import Variables

__all__ = ["adam_diagonal", "optimizer_step"]

# Options that change the update in a way the inner steps do not; at any other value the step would be a wrong one.
_NEUTRAL = {"dampening": 0, "amsgrad": False, "maximize": False}


def optimizer_step(optimizer: torch.optim.Optimizer, inner: Variables, **settings: OneSetting) -> InnerStep:
    """The next step of an optimiser as an `InnerStep`: its groups' settings, momentum buffers and moments.

    Args:
        optimizer: a ``torch.optim.SGD``, ``Adam`` or ``AdamW`` over the very tensors in `inner`; it is only read.
        inner: the inner variables by name, as given to the estimator; parameters that require no grad are constants.
        settings: replace a group's option of that name for all groups: ``lr="lr"`` makes it an outer variable. These
            are `lr`, `weight_decay` and, for SGD, `momentum`.

    Raises:
        ProblemError: another optimiser; a tensor it does not hold; an option without counterpart (dampening, amsgrad,
            maximize); groups that differ in an option which must be one; a setting of another name.

    Example:
        >>> w = torch.zeros(2, requires_grad=True)
        >>> optimizer_step(torch.optim.SGD([w], lr=0.1, momentum=0.9), {"w": w}).lr
        {'w': 0.1}
    """
    groups = _groups(optimizer, inner, (torch.optim.SGD, torch.optim.Adam))
    known = ["lr", "weight_decay", *(["momentum"] if isinstance(optimizer, torch.optim.SGD) else [])]
    for option in settings.keys() - known:
        raise ProblemError(
            f"the step of {type(optimizer).__name__} has no setting {option!r}; expected one of {known}."
        )

    def each(option: str) -> Mapping[str, OneSetting]:
        return {name: settings.get(option, group[option]) for name, group in groups.items()}

    state = {name: optimizer.state.get(inner[name], {}) for name in groups}
    if isinstance(optimizer, torch.optim.SGD):
        held = {name: entry.get("momentum_buffer") for name, entry in state.items()}
        return SGD(
            each("lr"),
            momentum=each("momentum"),
            nesterov=_common(groups, "nesterov"),
            weight_decay=each("weight_decay"),
            buffers={name: buffer for name, buffer in held.items() if buffer is not None},
        )
    return Adam(
        each("lr"),
        betas=_common(groups, "betas"),
        eps=_common(groups, "eps"),
        weight_decay=each("weight_decay"),
        decoupled=_common(groups, "decoupled_weight_decay"),
        moments=_moments(state),
    )


def adam_diagonal(optimizer: torch.optim.Optimizer, inner: Variables) -> dict[str, Tensor]:
    """``P = 1 / (sqrt(v) + eps)`` with Adam's bias-corrected second moment `v`, for `preconditioned`.

    Args:
        optimizer: a ``torch.optim.Adam`` or ``AdamW`` that has made at least one step; it is only read.
        inner: the inner variables by name, as given to the estimator.

    Raises:
        ProblemError: another optimiser; a tensor it does not hold or has not yet stepped.
    """
    diagonal = {}
    for name, group in _groups(optimizer, inner, (torch.optim.Adam,)).items():
        held = optimizer.state.get(inner[name], {})
        if "exp_avg_sq" not in held:
            raise ProblemError(f"Adam has no moments for {name!r} yet: make a step before reading its preconditioner.")
        second = held["exp_avg_sq"].detach() / (1 - group["betas"][1] ** int(held["step"]))
        diagonal[name] = 1 / (second.sqrt() + group["eps"])
    return diagonal


def _groups(
    optimizer: torch.optim.Optimizer, inner: Variables, kinds: tuple[type[torch.optim.Optimizer], ...]
) -> dict[str, dict[str, Any]]:
    """The parameter group of each inner variable, checked."""
    if not isinstance(optimizer, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise ProblemError(f"the optimiser is a {type(optimizer).__name__}; expected torch.optim {names}.")
    owners = {id(tensor): group for group in optimizer.param_groups for tensor in group["params"]}
    inner = {name: value for name, value in inner.items() if not is_frozen(value)}  # constants are not stepped
    if not inner:
        raise ProblemError("every inner variable is a parameter that requires no grad: nothing is stepped.")
    missing = [name for name, value in inner.items() if id(value) not in owners]
    if missing:
        raise ProblemError(
            f"the optimiser holds none of the tensors {missing}: give the same tensors to both, as "
            "module_variables does."
        )
    groups = {name: owners[id(value)] for name, value in inner.items()}
    for name, group in groups.items():
        changed = {
            option: group[option] for option, neutral in _NEUTRAL.items() if group.get(option, neutral) != neutral
        }
        if changed:
            raise ProblemError(
                f"the group of {name!r} sets {changed}, which inner steps do not have; expected {_NEUTRAL}."
            )
    return groups


def _common(groups: Mapping[str, Mapping[str, Any]], option: str) -> Any:
    values = [group.get(option, False) for group in groups.values()]
    if any(value != values[0] for value in values):
        raise ProblemError(f"the optimiser's groups differ in {option} ({values}); expected one value for all.")
    return values[0]


def _moments(state: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    moments = {}
    for name, held in state.items():
        if held:
            moments[f"step.{name}"] = torch.tensor(int(held["step"]))
            moments[f"first.{name}"], moments[f"second.{name}"] = held["exp_avg"], held["exp_avg_sq"]
    return moments
