"""The first-order estimator: the inner variables are held constant."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nas_hypergrad.errors import ProblemError
from nas_hypergrad.problem import BilevelProblem, Variables

__all__ = ["FirstOrder"]


@dataclass(frozen=True)
class FirstOrder:
    """``d outer_loss(w, a) / d a`` at the current `w`: what first-order DARTS, GDAS and SNAS use.

    It leaves out the response of the inner variables to the outer ones, so it is exact only where the outer loss
    depends on `a` directly and the response is negligible. It costs one forward and one backward pass, without the
    gradient of the inner variables.
    """

    def __call__(self, problem: BilevelProblem, inner: Variables, outer: Variables) -> dict[str, Tensor]:
        """Return the direct gradient, zeros for outer variables that the outer loss does not reach.

        Raises:
            ProblemError: the outer loss is not a scalar, or depends on no outer variable.
        """
        with torch.enable_grad():
            # Detached inner variables ask for no weight gradients, which would nearly double the cost of the pass.
            at = {name: value.detach().requires_grad_() for name, value in outer.items()}
            loss = problem.outer_loss({name: value.detach() for name, value in inner.items()}, at)
            if loss.numel() != 1:
                raise ProblemError(
                    f"outer_loss returned shape {tuple(loss.shape)}; expected a scalar: take its mean()."
                )
            if not loss.requires_grad:
                raise ProblemError(f"outer_loss depends on none of the outer variables {sorted(outer)}.")
            grads = torch.autograd.grad(loss, list(at.values()), allow_unused=True)
        return {
            name: torch.zeros_like(value) if grad is None else grad
            for (name, value), grad in zip(at.items(), grads, strict=True)
        }
