"""The implicit estimator: the response of the inner variables by the implicit function theorem."""

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from nas_hypergrad.errors import NonFiniteError
from nas_hypergrad.evaluation import averaged, averaged_response, check_alike, finite, outer_gradient
from nas_hypergrad.inverse_hessian import ConjugateGradient, InverseHessian, Product, check_inverse_hessian
from nas_hypergrad.point import isolated
from nas_hypergrad.problem import BilevelProblem, Variables
from nas_hypergrad.products import EXACT, Curvature, Products, check_products
from nas_hypergrad.settings import check_count
from nas_hypergrad.vectors import Vector, add_in_place, clone, dot, is_finite, norm, scale

__all__ = ["Implicit", "ImplicitReport", "largest_eigenvalue"]

_DEFAULT = ConjugateGradient()


@dataclass(frozen=True)
class ImplicitReport:
    """What one implicit solve did.

    Attributes:
        residual: ``|H s - v| / |v|`` of the solution `s`; near 0 for an accurate solve, near 1 for a poor one.
        products: the number of Hessian products that the solve took.
        largest_eigenvalue: the estimate of `H`'s largest eigenvalue in magnitude, None if it was not asked for.
    """

    residual: float
    products: int
    largest_eigenvalue: float | None


@dataclass(frozen=True)
class Implicit:
    """``d L_out / da - (d2 L_in / da dw) H^-1 d L_out / dw`` at the current `w` (thesis Eq. 6.6).

    The inner variables should be near a minimum of the inner loss; they are not moved. The graph of the training
    gradient is built once and serves all products. Weight decay is in `H` when the inner loss has it.

    Args:
        inverse_hessian: approximates ``H^-1 v``; conjugate gradient by default.
        products: how second derivatives are computed.
        observe: called with an `ImplicitReport` after each solve; costs one product more for the residual.
        power_iterations: products spent on the report's largest eigenvalue; 0 leaves it out.

    Example:
        >>> import torch
        >>> problem = BilevelProblem(
        ...     inner_loss=lambda w, a: (a["a"] * w["w"] ** 2 / 2 - w["w"]).sum(),  # w*(a) = 1 / a
        ...     outer_loss=lambda w, a: w["w"].sum(),
        ... )
        >>> Implicit()(problem, {"w": torch.tensor([0.5])}, {"a": torch.tensor([2.0])})
        {'a': tensor([-0.2500])}
    """

    inverse_hessian: InverseHessian = _DEFAULT
    _: KW_ONLY
    products: Products = EXACT
    observe: Callable[[ImplicitReport], None] | None = None
    power_iterations: int = 0

    def __post_init__(self) -> None:
        check_count("power_iterations", self.power_iterations, 0)
        check_inverse_hessian(self.inverse_hessian)
        check_products(self.products)

    def __call__(self, problem: BilevelProblem, inner: Variables, outer: Variables) -> dict[str, Tensor]:
        """Return the hypergradient.

        Raises:
            ProblemError: a loss is not a scalar, is not reached by the inner or outer variables, or has an operation
                without second derivative.
            NonFiniteError: the outer gradient, a term of the solve, or the result is not finite.
        """
        with isolated(problem, inner, outer) as point:
            vector, direct = outer_gradient(problem, point)
            curvature = self.products(problem.inner_loss, "inner_loss", point)
            solution = self._solved(problem, curvature, vector)
            if problem.mixed_loss is not None:
                del curvature  # its graph, before another one is built
                curvature = self.products(problem.mixed_loss, "mixed_loss", point)
            mixed = averaged_response(problem, curvature.mixed(solution), direct)
        total = {name: value - mixed[name] if name in mixed else value for name, value in direct.items()}
        # One look at the end: what is not finite stays so, and its origin is looked for only then.
        if not is_finite(total):
            finite(vector, "the outer loss's gradient")
            finite(solution, "the solution of the inverse Hessian")
            finite(total, "the hypergradient")
        return total

    def _solved(self, problem: BilevelProblem, curvature: Curvature, vector: Vector) -> Vector:
        product = _Counted(_averaged_hessian(problem, curvature))
        solution = self.inverse_hessian(product, vector)
        check_alike(solution, vector, "the inverse Hessian")
        if self.observe is not None:
            self.observe(self._report(product, vector, solution))
        return solution

    def _report(self, product: "_Counted", vector: Vector, solution: Vector) -> ImplicitReport:
        taken = product.calls
        rest = clone(product(solution))
        add_in_place(rest, vector, -1.0)
        length = float(norm(vector))
        residual = float(norm(rest)) / length if length else 0.0  # nothing to solve for is solved by zeros
        largest = _power_iteration(product, vector, self.power_iterations) if self.power_iterations else None
        return ImplicitReport(residual, taken, largest)


def largest_eigenvalue(
    problem: BilevelProblem,
    inner: Variables,
    outer: Variables,
    *,
    iterations: int = 20,
    products: Products = EXACT,
    seed: int = 0,
) -> float:
    """The inner Hessian's eigenvalue of largest magnitude, by power iteration from a random vector.

    A Neumann series converges for step sizes below 2 over it; the estimate approaches it from below.

    Args:
        problem: of which the inner loss is used.
        inner: where the Hessian is taken.
        outer: where the Hessian is taken.
        iterations: the number of products.
        products: how they are computed.
        seed: of the start.

    Raises:
        NonFiniteError: the Hessian is.

    Example:
        >>> import torch
        >>> problem = BilevelProblem(lambda w, a: (a["a"] * w["w"] ** 2).sum() / 2, lambda w, a: w["w"].sum())
        >>> round(largest_eigenvalue(problem, {"w": torch.ones(2)}, {"a": torch.tensor([1.0, 3.0])}), 3)
        3.0
    """
    check_count("iterations", iterations, 1)
    check_products(products)
    with isolated(problem, inner, outer) as point:
        curvature = products(problem.inner_loss, "inner_loss", point)
        return _power_iteration(_averaged_hessian(problem, curvature), point.moving, iterations, seed)


def _averaged_hessian(problem: BilevelProblem, curvature: Curvature) -> Product:
    def product(vector: Vector) -> Vector:
        return averaged(problem, curvature.hessian(vector))

    return product


class _Counted:
    """A product that counts its calls."""

    def __init__(self, product: Product) -> None:
        self._product, self.calls = product, 0

    def __call__(self, vector: Vector) -> Vector:
        self.calls += 1
        return self._product(vector)


def _power_iteration(product: Product, like: Vector, iterations: int, seed: int = 0) -> float:
    # A random start has a share of every eigenvector; the outer gradient may have none of the largest.
    generator = torch.Generator().manual_seed(seed)
    quotient = 0.0
    vector = {name: torch.randn(v.shape, generator=generator, device="cpu").to(v) for name, v in like.items()}
    for _ in range(iterations):
        length = float(norm(vector))
        if length == 0.0:
            return 0.0
        vector = scale(vector, 1 / length)
        bent = product(vector)
        quotient, vector = float(dot(vector, bent)), bent
        if not math.isfinite(quotient):
            raise NonFiniteError(
                "the Hessian is NaN or infinite along a direction of the power iteration: check the loss there."
            )
    return quotient
