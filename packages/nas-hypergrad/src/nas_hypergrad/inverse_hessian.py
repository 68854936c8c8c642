"""Approximate products with the inverse Hessian: the part that an implicit estimator takes.

An inverse Hessian is any callable ``(product, vector) -> solution`` that solves ``H solution = vector`` given only the
map ``product: v -> H v``; vectors are dictionaries keyed like the inner variables.

| part | products | use |
|---|---|---|
| `conjugate_gradient()` | one an iteration | the default: by far the most accurate on a convex problem |
| `neumann(K, gamma)` | K | stochastic minibatches, faithful to iDARTS |
| `chebyshev(K, smallest, largest)` | K | a Neumann series accelerated by known bounds; no inner products between its terms |
| `nystrom(rank)` | rank | a low-rank Hessian, damped |
| `identity(gamma)` | 0 | DARTS' one step |
| `amended(eta)` | 1 | Amended-DARTS |
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from nas_hypergrad.errors import ConvergenceWarning, NonFiniteError
from nas_hypergrad.settings import check_count, check_made, check_not_negative, check_positive
from nas_hypergrad.vectors import Vector, add_in_place, clone, dot, is_finite, norm, norms, scale, zeros_like

__all__ = [
    "Amended",
    "ConjugateGradient",
    "Identity",
    "InverseHessian",
    "Neumann",
    "Product",
    "amended",
    "check_inverse_hessian",
    "conjugate_gradient",
    "identity",
    "neumann",
]

Product: TypeAlias = Callable[[Vector], Vector]


class InverseHessian(Protocol):
    """A function that approximates ``H^-1 vector`` from products with `H`; it changes neither argument."""

    def __call__(self, product: Product, vector: Vector) -> Vector:
        """The approximate solution `s` of ``product(s) = vector``, keyed like `vector`."""
        ...


def check_inverse_hessian(inverse_hessian: object) -> None:
    """Raise SettingError unless it can be called with a product and a vector."""
    expected = "a function of a product and a vector, such as conjugate_gradient() or neumann(20, 0.1)"
    check_made("inverse_hessian", inverse_hessian, expected)


@dataclass(frozen=True)
class Identity:
    """``H^-1 ~ step_size I``: DARTS' one step taken at the current point, `neumann` with no further term (thesis 6.3).

    Args:
        step_size: the inner learning rate gamma.
    """

    step_size: float

    def __post_init__(self) -> None:
        check_positive("step_size", self.step_size)

    def __call__(self, product: Product, vector: Vector) -> Vector:
        """``step_size * vector``; no product is taken."""
        return scale(vector, self.step_size)


@dataclass(frozen=True)
class Amended:
    """``H^-1 ~ eta H``: the amending term of Amended-DARTS, Eq. 7.

    Args:
        eta: the amplitude; the paper's 0.1.
    """

    eta: float = 0.1

    def __post_init__(self) -> None:
        check_positive("eta", self.eta)

    def __call__(self, product: Product, vector: Vector) -> Vector:
        """``eta * H vector``, by one product."""
        return scale(product(vector), self.eta)


@dataclass(frozen=True)
class Neumann:
    """``H^-1 ~ gamma sum_{k=0..K} (I - gamma H)^k``: iDARTS, thesis Eq. 6.7 and 6.8.

    K + 1 terms by K products; `gamma` stands inside every power and in front of the sum. It converges for
    ``gamma < 2 / L`` with `L` the largest eigenvalue of a positive definite `H`, with the factor ``1 - gamma mu`` a
    term (Theorem 1).

    Args:
        terms: the number K of terms after the first; 0 is `identity`.
        step_size: gamma, by default in papers the current learning rate of the inner optimiser.
        tolerance: stop as soon as a term is shorter than this fraction of the vector, for which every term waits for
            the device; 0 takes all terms and waits once, at the end.
        halvings: how often the step size may be halved, and the series begun anew, where it grows because `step_size`
            exceeds 2/L; 0 never does. Negative curvature makes a series grow at any step size: nothing is halved then.

    Warns:
        ConvergenceWarning: the last term is longer than the first, with the bound on the step size.

    Raises:
        NonFiniteError: naming the first term that is NaN or infinite.
    """

    terms: int
    step_size: float
    tolerance: float = 0.0
    halvings: int = 0

    def __post_init__(self) -> None:
        check_count("terms", self.terms, 0)
        check_positive("step_size", self.step_size)
        check_not_negative("tolerance", self.tolerance)
        check_count("halvings", self.halvings, 0)

    def __call__(self, product: Product, vector: Vector) -> Vector:
        """The truncated series applied to `vector`."""
        term, total = clone(vector), clone(vector)
        enough = self.tolerance * float(norm(vector)) if self.tolerance else 0.0
        for _ in range(self.terms):
            bent = product(term)
            add_in_place(term, bent, -self.step_size)
            add_in_place(total, term)
            if enough and float(norm(term)) <= enough:
                return scale(total, self.step_size)
        if self.terms and self._should_be_smaller(product, vector, bent, term):
            return replace(self, step_size=self.step_size / 2, halvings=self.halvings - 1)(product, vector)
        return scale(total, self.step_size)

    def _should_be_smaller(self, product: Product, vector: Vector, bent: Vector, term: Vector) -> bool:
        # One look at the end, since NaN and growth stay: it costs one wait for the device instead of one a term.
        first, last = norms(vector, term)
        if not math.isfinite(last):
            if self.halvings and is_finite(vector):
                return True
            raise NonFiniteError(self._first_bad_term(product, vector))
        if last > (1 + 1e-3) * first:
            add_in_place(term, bent, self.step_size)  # the term before the last one, of which `bent` is the product
            curvature = float(dot(term, bent) / dot(term, term))
            if self.halvings and curvature > 0:
                return True
            warnings.warn(self._bound(curvature), ConvergenceWarning, stacklevel=5)
        return False

    def _first_bad_term(self, product: Product, vector: Vector) -> str:
        term = clone(vector)
        for k in range(self.terms + 1):
            if not is_finite(term):
                return f"the Neumann series is NaN or infinite from term {k} of {self.terms} on: " + (
                    "the outer loss's gradient is." if k == 0 else f"lower step_size={self.step_size}."
                )
            add_in_place(term, product(term), -self.step_size)
        return f"the Neumann series overflows within its {self.terms} terms: lower step_size={self.step_size}."

    def _bound(self, curvature: float) -> str:
        # The last term of a growing series points along the eigenvector that makes it grow: a power iteration.
        if curvature < 0:
            return (
                f"the Neumann series grows: the Hessian has negative curvature (about {curvature:.3g}), so no step "
                "size makes it converge: train the inner variables further, add weight decay, or take gauss_newton "
                "products."
            )
        if self.step_size * curvature <= 2:
            # The quotient is a mean over directions: what grows may only have begun to.
            return (
                f"the Neumann series grows: the Hessian has a curvature that is negative or above 2/step_size = "
                f"{2 / self.step_size:.4g} (the last term's mean is {curvature:.3g}): lower step_size={self.step_size}, train the "
                "inner variables further, add weight decay, or take gauss_newton products."
            )
        return (
            f"the Neumann series grows: step_size {self.step_size:.4g} exceeds 2/L = {2 / curvature:.4g} "
            f"with the largest eigenvalue L of the Hessian about {curvature:.4g}; take one below 2/L."
        )


@dataclass(frozen=True)
class ConjugateGradient:
    """Solve ``(H + damping I) s = v`` by conjugate gradient (Hestenes and Stiefel, 1952): the default.

    At equal numbers of products it is the most accurate for a fixed positive definite `H`. With a minibatch's Hessian
    the error of the sampling remains, and a more accurate solve of the wrong system gains nothing.

    Args:
        iterations: the largest number of products.
        tolerance: stop when the residual is below this fraction of the vector.
        damping: added to every eigenvalue; keeps the solve bounded where `H` is singular.

    Warns:
        ConvergenceWarning: a direction of zero or negative curvature; the solution up to there is returned, which at
            the first iteration is zero and makes the hypergradient the direct gradient.
    """

    iterations: int = 20
    tolerance: float = 1e-12
    damping: float = 0.0

    def __post_init__(self) -> None:
        check_count("iterations", self.iterations, 1)
        check_not_negative("tolerance", self.tolerance)
        check_not_negative("damping", self.damping)

    def __call__(self, product: Product, vector: Vector) -> Vector:
        """The iterate after at most `iterations` products, started at zero."""
        solution, residual, direction = zeros_like(vector), clone(vector), clone(vector)
        square = float(dot(residual, residual))
        enough = self.tolerance**2 * square
        for k in range(self.iterations):
            if square <= enough:
                break
            bent = self._damped(product, direction)
            curvature = float(dot(direction, bent))
            if not (math.isfinite(curvature) and math.isfinite(square)):
                raise NonFiniteError(
                    f"conjugate gradient met NaN or infinity at iteration {k + 1}: the inner loss's Hessian or the outer loss's "
                    "gradient is not finite at these inner variables; check them and the losses there."
                )
            if curvature <= 0:
                self._warn(k, curvature / float(dot(direction, direction)))
                return solution
            add_in_place(solution, direction, square / curvature)
            add_in_place(residual, bent, -square / curvature)
            previous, square = square, float(dot(residual, residual))
            direction = scale(direction, square / previous)
            add_in_place(direction, residual)
        return solution

    def _damped(self, product: Product, direction: Vector) -> Vector:
        bent = product(direction)
        if self.damping:
            bent = clone(bent)
            add_in_place(bent, direction, self.damping)
        return bent

    def _warn(self, iteration: int, curvature: float) -> None:
        warnings.warn(
            f"conjugate gradient stopped at iteration {iteration + 1}: curvature {curvature:.3g} along its "
            f"direction is not positive. Train the inner variables further, take gauss_newton products, or a damping "
            f"above {max(-curvature, 0.0):.3g}.",
            ConvergenceWarning,
            stacklevel=5,
        )


identity = Identity
amended = Amended
neumann = Neumann
conjugate_gradient = ConjugateGradient
