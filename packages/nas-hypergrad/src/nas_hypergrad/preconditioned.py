"""Preconditioning of any inverse Hessian by a diagonal, such as Adam's."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nas_hypergrad.errors import ProblemError
from nas_hypergrad.evaluation import check_alike
from nas_hypergrad.inverse_hessian import InverseHessian, Product, check_inverse_hessian
from nas_hypergrad.problem import Variables
from nas_hypergrad.vectors import Vector

__all__ = ["Preconditioned", "preconditioned"]


@dataclass(frozen=True)
class Preconditioned:
    """Solve with ``P^1/2 H P^1/2`` in the place of `H`, for a diagonal ``P > 0``: the metric of the inner optimiser.

    ``H^-1 v = P^1/2 (P^1/2 H P^1/2)^-1 P^1/2 v``, so exact solvers give the same answer in fewer products, and the
    truncated ones give the series of the preconditioned optimiser: ``preconditioned(neumann(K, gamma), P)`` is
    ``gamma sum_k (I - gamma P H)^k P v``, the limit of back-propagation through Adam with its second moment frozen.

    Args:
        inverse_hessian: the part to wrap.
        diagonal: `P`, one tensor for each inner variable; `adam_diagonal` reads Adam's.
    """

    inverse_hessian: InverseHessian
    diagonal: Variables

    def __post_init__(self) -> None:
        check_inverse_hessian(self.inverse_hessian)
        bad = [name for name, value in self.diagonal.items() if not bool((value > 0).all())]
        if bad:
            raise ProblemError(
                f"the preconditioner of {bad} has entries that are not positive; expected all above zero."
            )

    def __call__(self, product: Product, vector: Vector) -> Vector:
        """The wrapped part's solution, in the original variables.

        Raises:
            ProblemError: the diagonal's keys, shapes or dtypes are not the vector's.
        """
        check_alike(self.diagonal, vector, "the preconditioner")
        roots = {name: value.detach().sqrt() for name, value in self.diagonal.items()}

        def symmetric(inside: Vector) -> Vector:
            return _times(roots, product(_times(roots, inside)))

        return _times(roots, self.inverse_hessian(symmetric, _times(roots, vector)))


preconditioned = Preconditioned


def _times(diagonal: dict[str, Tensor], vector: Vector) -> Vector:
    product = torch._foreach_mul([diagonal[name] for name in vector], list(vector.values()))
    return dict(zip(vector, product, strict=True))
