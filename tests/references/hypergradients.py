"""What tests of hypergradients share: a quadratic problem with its matrices, and the error of a result."""

from typing import TypeAlias

from torch import Tensor

from nas_hypergrad import BilevelProblem

Quadratic: TypeAlias = tuple[BilevelProblem, dict[str, Tensor], dict[str, Tensor], Tensor, Tensor, Tensor]
"""What the fixture of that name gives: problem, inner and outer variables, Hessian, mixed derivatives, outer slope."""


def relative(grads: dict[str, Tensor], truth: dict[str, Tensor], name: str = "a") -> float:
    """The relative error of one outer variable's hypergradient."""
    return float((grads[name] - truth[name]).norm() / truth[name].norm())
