"""The bilevel problem: what is given to every estimator."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from torch import Tensor

__all__ = ["BilevelProblem", "Hypergradient", "Loss", "Variables"]

Variables: TypeAlias = Mapping[str, Tensor]
Loss: TypeAlias = Callable[[Variables, Variables], Tensor]


@dataclass(frozen=True)
class BilevelProblem:
    """Minimise ``outer_loss(w*(a), a)`` over `a`, where ``w*(a)`` minimises ``inner_loss(w, a)`` over `w`.

    Both losses are called as ``loss(inner, outer)`` with dictionaries of tensors, and return a scalar. They must be
    functions of their arguments alone: an estimator calls them several times and at several points.

    Args:
        inner_loss: the training loss.
        outer_loss: the validation loss.
    """

    inner_loss: Loss
    outer_loss: Loss


class Hypergradient(Protocol):
    """What every estimator is: a pure function from a problem and a point to the gradient of the outer loss."""

    def __call__(self, problem: BilevelProblem, inner: Variables, outer: Variables) -> dict[str, Tensor]:
        """The estimate of ``d outer_loss(w*(a), a) / d a`` at ``w = inner``, ``a = outer``; one tensor per outer key."""
        ...
