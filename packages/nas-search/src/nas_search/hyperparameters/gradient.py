"""The gradient of a loss in the hyper-parameters, through one step of the optimiser."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.func import functional_call

from nas_hypergrad import Variables
from nas_search.hyperparameters.values import OPTIONS, Hyperparameters, StepTaken

__all__ = ["hypergradient"]


def hypergradient(hyperparameters: Hyperparameters, taken: StepTaken, vector: Variables) -> dict[str, Tensor]:
    """``d L(theta'(eta)) / d eta`` through one optimiser step ``theta' = OP(theta, eta, g)`` (DHA, Eq. 3 and 4).

    `theta`, the gradient `g` and the optimiser's buffers do not depend on `eta`: the step is differentiated, nothing before
    it. For SGD, with `v` the updated buffer, it is ``dL/dlr = - <dL/dtheta', v>`` and
    ``dL/ddecay = - lr <dL/dtheta', theta>``.

    Args:
        hyperparameters: eta.
        taken: the step.
        vector: ``dL/dtheta'`` by the names of the weights; those that are left out count as zero.

    Returns:
        By the names of the parameters of `hyperparameters`, ``(groups,)`` each.
    """
    eta = {name: value.detach().requires_grad_() for name, value in hyperparameters.named_parameters()}
    values: dict[str, Tensor] = functional_call(hyperparameters, eta, ())
    outer = {f"{name}.{index}": value for name, each in values.items() for index, value in enumerate(each)}
    settings = {
        OPTIONS[name]: {group: f"{name}.{index}" for index, group in enumerate(hyperparameters.groups)}
        for name in values
    }
    step = replace(taken.step, **settings)  # type: ignore[type-var]  # the inner steps of optimizer_step are dataclasses
    following, _ = step(taken.inner, taken.gradient, outer, step.start(taken.inner))
    reached = [name for name in following if name in vector and following[name].requires_grad]
    if not reached:
        return {name: torch.zeros_like(value) for name, value in eta.items()}
    grads = torch.autograd.grad(
        [following[name] for name in reached],
        list(eta.values()),
        [vector[name] for name in reached],
        allow_unused=True,
        materialize_grads=True,
    )
    return dict(zip(eta, grads, strict=True))
