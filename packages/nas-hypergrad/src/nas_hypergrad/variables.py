"""Dictionaries of variables from modules and parameter lists, and gradients back into ``.grad``."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from nas_hypergrad.errors import ProblemError
from nas_hypergrad.point import is_frozen
from nas_hypergrad.problem import Variables

__all__ = ["call_module", "fill_grad", "list_variables", "module_variables"]


def module_variables(module: nn.Module) -> dict[str, Tensor]:
    """The module's own parameters that require grad, by name; shared parameters once, frozen ones not at all.

    Example:
        >>> sorted(module_variables(nn.Linear(2, 1)))
        ['bias', 'weight']
    """
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def list_variables(parameters: Iterable[Tensor], prefix: str = "") -> dict[str, Tensor]:
    """Tensors of a list, named by their position: ``"0"``, ``"1"``, ..."""
    return {f"{prefix}{i}": parameter for i, parameter in enumerate(parameters)}


def call_module(module: nn.Module, variables: Variables, *args: Any, **kwargs: Any) -> Any:
    """``module(*args, **kwargs)`` with these variables in place of its parameters, and without side effects.

    Names that are left out keep the module's own value. Buffers are copies: batch norm in training mode uses the
    batch's statistics, and neither its running statistics nor its counter move. Dropout draws from the global random
    state, which estimators put back; every evaluation within one call of an estimator sees the same masks.

    Args:
        module: any module, in the mode it is in.
        variables: by parameter name, as from `module_variables`.
        args: passed on.
        kwargs: passed on.

    Raises:
        ProblemError: a name is not one of the module's parameters.

    Example:
        >>> module = nn.BatchNorm1d(2)
        >>> call_module(module, module_variables(module), torch.randn(4, 2)).shape, module.num_batches_tracked.item()
        (torch.Size([4, 2]), 0)
    """
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    # functional_call passes over names it does not know, which would leave a misspelt variable without any effect.
    known = {name for name, _ in module.named_parameters(remove_duplicate=False)} | buffers.keys()
    if not variables.keys() <= known:
        unknown = sorted(variables.keys() - known)
        raise ProblemError(f"the module has no parameters {unknown}; its parameters are {sorted(known)}.")
    return functional_call(module, {**buffers, **variables}, args, kwargs)


def fill_grad(variables: Variables, grads: Mapping[str, Tensor], *, accumulate: bool = False) -> None:
    """Write gradients into ``.grad``, for a ``torch.optim`` optimiser over the same tensors.

    Args:
        variables: the outer variables that an estimator was given; constants among them are left out.
        grads: what it returned.
        accumulate: add to what is there, as ``backward()`` does, instead of replacing it.

    Raises:
        ProblemError: the keys, the shapes or the dtypes differ; nothing was written.

    Example:
        >>> a = {"a": torch.zeros(2, requires_grad=True)}
        >>> fill_grad(a, {"a": torch.ones(2)})
        >>> a["a"].grad
        tensor([1., 1.])
    """
    if variables.keys() != grads.keys():
        raise ProblemError(
            f"the variables are {sorted(variables)}, the gradients {sorted(grads)}; expected the same names."
        )
    for name, variable in variables.items():
        shape = tuple(grads[name].shape)
        if shape != tuple(variable.shape):
            raise ProblemError(
                f"the gradient of {name!r} has shape {shape}; expected that of the variable, {tuple(variable.shape)}."
            )
        if grads[name].dtype != variable.dtype:
            raise ProblemError(
                f"the gradient of {name!r} is {grads[name].dtype}; expected {variable.dtype}, as its variable: .to() makes it so."
            )
    with torch.no_grad():
        for name, variable in variables.items():
            if is_frozen(variable):
                continue  # a constant: optimisers pass over it because its .grad is None
            if accumulate and variable.grad is not None:
                variable.grad += grads[name]
            else:
                variable.grad = grads[name].detach().clone()
