"""A Neumann series accelerated by Chebyshev's polynomials."""

import math
import warnings
from dataclasses import dataclass

import torch

from nas_hypergrad.errors import ConvergenceWarning, NonFiniteError, SettingError
from nas_hypergrad.inverse_hessian import Product
from nas_hypergrad.settings import check_count, check_positive
from nas_hypergrad.vectors import Vector, add_in_place, clone, dot, is_finite, norm, scale

__all__ = ["Chebyshev", "chebyshev"]


@dataclass(frozen=True)
class Chebyshev:
    """A Neumann series accelerated by Chebyshev's polynomials (Golub and Varga, 1961).

    With the spectrum in ``[smallest, largest]`` the error falls by ``(sqrt(kappa) - 1) / (sqrt(kappa) + 1)`` a
    product, where Neumann's falls by ``(kappa - 1) / (kappa + 1)`` at best. Like Neumann and unlike conjugate gradient
    it is a fixed linear map of the vector: no inner products between the terms, no wait for the device before the end,
    unbiased in the vector.

    Args:
        terms: the number of products; 0 gives ``2 / (smallest + largest)`` times the vector.
        smallest: a lower bound on the eigenvalues that matter, such as the weight decay.
        largest: an upper bound, such as `largest_eigenvalue` says with 10 % added; below the largest eigenvalue the
            iteration diverges.

    Warns:
        ConvergenceWarning: the last step shows an eigenvalue above `largest`, or a negative one.

    Raises:
        NonFiniteError: the vector, the Hessian or the iterate is NaN or infinite, and which of them.
    """

    terms: int
    smallest: float
    largest: float

    def __post_init__(self) -> None:
        check_count("terms", self.terms, 0)
        check_positive("smallest", self.smallest)
        check_positive("largest", self.largest)
        if self.smallest >= self.largest:
            raise SettingError(f"smallest is {self.smallest} and largest {self.largest}; expected smallest < largest.")

    def __call__(self, product: Product, vector: Vector) -> Vector:
        """The Chebyshev iterate after `terms` products, started at zero."""
        centre, half = (self.largest + self.smallest) / 2, (self.largest - self.smallest) / 2
        step = scale(vector, 1 / centre)
        solution, residual = clone(step), clone(vector)
        sigma = centre / half
        rho = 1 / sigma
        for _ in range(self.terms):
            bent, last = product(step), step
            add_in_place(residual, bent, -1.0)
            following = 1 / (2 * sigma - rho)
            step = scale(step, following * rho)
            add_in_place(step, residual, 2 * following / half)
            add_in_place(solution, step)
            rho = following
        if not is_finite(solution):
            raise NonFiniteError(self._first_bad_product(product, vector))
        if self.terms:
            self._check_bounds(last, bent)
        return solution

    def _check_bounds(self, step: Vector, bent: Vector) -> None:
        # Eigenvalues outside of the bounds rule the last step if any do, and its Rayleigh quotient is one of theirs.
        length = float(norm(step))
        if not 0 < length < math.inf:
            return
        # Of a unit vector: squares of small entries underflow, in half precision soon.
        step, bent = scale(step, 1 / length), scale(bent, 1 / length)
        curvature = float(dot(step, bent) / dot(step, step))
        slack = max(1e-3, *(4 * torch.finfo(value.dtype).eps for value in step.values()))
        if curvature > (1 + slack) * self.largest:
            told = (
                f"an eigenvalue of {curvature:.4g} or more, above largest={self.largest:.4g}, along which the solution is "
                "wrong and grows with the terms: take a largest above it; largest_eigenvalue() estimates it."
            )
        elif curvature < -slack * self.largest:
            told = (
                f"negative curvature (about {curvature:.3g}), along which the solution is wrong: train the inner variables "
                "further, add weight decay, or take gauss_newton products."
            )
        else:
            return
        warnings.warn(f"chebyshev: the Hessian has {told}", ConvergenceWarning, stacklevel=5)

    def _first_bad_product(self, product: Product, vector: Vector) -> str:
        if not is_finite(vector):
            return "chebyshev was given a vector that is NaN or infinite: the outer loss's gradient is."
        if not is_finite(product(vector)):
            return "chebyshev met NaN or infinity at product 1: the Hessian is."
        return f"chebyshev overflowed within {self.terms} products: the Hessian has an eigenvalue above largest={self.largest}."


chebyshev = Chebyshev
