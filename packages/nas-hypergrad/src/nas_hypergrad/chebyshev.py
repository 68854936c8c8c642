"""A Neumann series accelerated by Chebyshev's polynomials."""

from dataclasses import dataclass

from nas_hypergrad.errors import NonFiniteError, SettingError
from nas_hypergrad.inverse_hessian import Product
from nas_hypergrad.settings import check_count, check_positive
from nas_hypergrad.vectors import Vector, add_in_place, clone, is_finite, scale

__all__ = ["Chebyshev", "chebyshev"]


@dataclass(frozen=True)
class Chebyshev:
    """A Neumann series accelerated by Chebyshev's polynomials (Golub and Varga, 1961).

    With the spectrum in ``[smallest, largest]`` the error falls by ``(sqrt(kappa) - 1) / (sqrt(kappa) + 1)`` a
    product, where Neumann's falls by ``(kappa - 1) / (kappa + 1)`` at best. Like Neumann and unlike conjugate gradient
    it is a fixed linear map of the vector: no inner products, one wait for the device at the end, unbiased in the vector.

    Args:
        terms: the number of products; 0 gives ``2 / (smallest + largest)`` times the vector.
        smallest: a lower bound on the eigenvalues that matter, such as the weight decay.
        largest: an upper bound, such as `largest_eigenvalue` says with 10 % added; below the largest eigenvalue the
            iteration diverges.

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
            add_in_place(residual, product(step), -1.0)
            following = 1 / (2 * sigma - rho)
            step = scale(step, following * rho)
            add_in_place(step, residual, 2 * following / half)
            add_in_place(solution, step)
            rho = following
        if not is_finite(solution):
            raise NonFiniteError(self._first_bad_product(product, vector))
        return solution

    def _first_bad_product(self, product: Product, vector: Vector) -> str:
        if not is_finite(vector):
            return "chebyshev was given a vector that is NaN or infinite: the outer loss's gradient is."
        if not is_finite(product(vector)):
            return "chebyshev met NaN or infinity at product 1: the Hessian is."
        return f"chebyshev overflowed within {self.terms} products: the Hessian has an eigenvalue above largest={self.largest}."


chebyshev = Chebyshev
