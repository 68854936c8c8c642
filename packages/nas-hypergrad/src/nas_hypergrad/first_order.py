"""The first-order estimator: the inner variables are held constant."""

from dataclasses import dataclass

from torch import Tensor

from nas_hypergrad.differentiation import differentiate, own, zero_filled
from nas_hypergrad.errors import ProblemError
from nas_hypergrad.evaluation import averaged
from nas_hypergrad.point import isolated
from nas_hypergrad.problem import BilevelProblem, Variables

__all__ = ["FirstOrder"]


@dataclass(frozen=True)
class FirstOrder:
    """``d outer_loss(w, a) / d a`` at the current `w`: what first-order DARTS, GDAS and SNAS use.

    It leaves out the response of the inner variables to the outer ones, so it is exact only where the outer loss
    depends on `a` directly and the response is negligible. It costs one forward and one backward pass, without the
    gradient of the inner variables.

    Example:
        >>> import torch
        >>> problem = BilevelProblem(
        ...     inner_loss=lambda w, a: ((w["w"] - a["a"]) ** 2).sum(),
        ...     outer_loss=lambda w, a: (w["w"] * a["a"]).sum(),
        ... )
        >>> FirstOrder()(problem, {"w": torch.ones(2)}, {"a": torch.zeros(2)})
        {'a': tensor([1., 1.])}
    """

    def __call__(self, problem: BilevelProblem, inner: Variables, outer: Variables) -> dict[str, Tensor]:
        """Return the direct gradient, zeros for outer variables that the outer loss does not reach.

        Raises:
            ProblemError: the outer loss is not a scalar, or depends on no outer variable.
        """
        # Constant inner variables ask for no weight gradients, which would nearly double the cost of the pass.
        with isolated(problem, inner, outer, constant=True) as point:
            value = point.value(problem.outer_loss, "outer_loss", may_be_constant=True)
            grads = differentiate([value], point.learned, role="outer_loss") if value.requires_grad else {}
            if all(grad is None for grad in grads.values()):
                raise ProblemError(
                    f"outer_loss does not use the outer variables {sorted(outer)}, and FirstOrder leaves out how the inner ones "
                    "respond to them: take Implicit or Unrolled where they act through the inner loss alone; or compute "
                    "outer_loss from the dictionary it is given, with differentiable operations."
                )
            return averaged(problem, own(zero_filled({name: grads.get(name) for name in outer}, point.outer)))
