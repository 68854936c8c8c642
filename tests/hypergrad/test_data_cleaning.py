"""Every estimator against dense solves on real data: logistic regression on digits with a weight for each example."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_hypergrad import (
    BilevelProblem,
    Hypergradient,
    Implicit,
    Unrolled,
    Variables,
    adam,
    amended,
    chebyshev,
    conjugate_gradient,
    finite_difference,
    gauss_newton,
    identity,
    neumann,
    nystrom,
    preconditioned,
    sgd,
)

D = torch.float64
DECAY = 0.02


class Cleaning(NamedTuple):
    """A trained problem, and its derivatives as matrices: Hessian ``(650, 650)``, mixed ``(650, 200)``, slope ``(650,)``."""

    x: Tensor
    y: Tensor
    problem: BilevelProblem
    inner: dict[str, Tensor]
    outer: dict[str, Tensor]
    hessian: Tensor
    mixed: Tensor
    slope: Tensor

    def response(self, solution: Tensor) -> Tensor:
        """The hypergradient that an approximate ``H^-1 slope`` gives."""
        return -self.mixed.T @ solution

    def error(self, estimator: Hypergradient, solution: Tensor) -> float:
        """Of an estimator, relative to what the dense solution gives."""
        truth = self.response(solution)
        return float((estimator(self.problem, self.inner, self.outer)["a"] - truth).norm() / truth.norm())


def split(flat: Tensor) -> dict[str, Tensor]:
    return {"w": flat[:640].view(64, 10), "b": flat[640:]}


@pytest.fixture(scope="module")
def cleaning() -> Cleaning:
    datasets = pytest.importorskip("sklearn.datasets")
    images, labels = datasets.load_digits(return_X_y=True)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(images), generator=generator)
    x, x_valid, *_ = (torch.tensor(images, dtype=D)[order] / 16).split(200)
    y, y_valid, *_ = torch.tensor(labels)[order].split(200)
    y = torch.where(torch.rand(200, generator=generator) < 0.3, (y + 1) % 10, y)  # wrong labels

    def inner_loss(w: Variables, a: Variables) -> Tensor:
        losses = F.cross_entropy(x @ w["w"] + w["b"], y, reduction="none")
        return (losses * a["a"].sigmoid()).mean() + DECAY / 2 * sum(value.square().sum() for value in w.values())

    def outer_loss(w: Variables, a: Variables) -> Tensor:
        return F.cross_entropy(x_valid @ w["w"] + w["b"], y_valid)

    outer = {"a": torch.zeros(200, dtype=D)}
    flat = torch.zeros(650, dtype=D)
    for _ in range(8):  # Newton's method
        slope = torch.func.grad(lambda z: inner_loss(split(z), outer))(flat)
        flat = flat - torch.linalg.solve(torch.func.hessian(lambda z: inner_loss(split(z), outer))(flat), slope)
    assert float(slope.norm()) < 1e-12
    gradient = torch.func.grad(lambda z, a: inner_loss(split(z), {"a": a}))
    return Cleaning(
        x,
        y,
        BilevelProblem(inner_loss, outer_loss),
        split(flat),
        outer,
        torch.func.jacrev(gradient, 0)(flat, outer["a"]),
        torch.func.jacrev(gradient, 1)(flat, outer["a"]),
        torch.func.grad(lambda z: outer_loss(split(z), outer))(flat),
    )


def test_limits_are_the_dense_solve(cleaning: Cleaning) -> None:
    largest = float(torch.linalg.eigvalsh(cleaning.hessian)[-1])
    solution = torch.linalg.solve(cleaning.hessian, cleaning.slope)
    curvature = split(cleaning.hessian.diagonal())
    convex = gauss_newton(
        lambda w, a: cleaning.x @ w["w"] + w["b"],
        lambda z, a: (F.cross_entropy(z, cleaning.y, reduction="none") * a["a"].sigmoid()).mean(),
        lambda w, a: DECAY / 2 * sum(value.square().sum() for value in w.values()),  # type: ignore[arg-type, return-value]
    )
    for estimator in (
        Implicit(conjugate_gradient(200)),
        Implicit(conjugate_gradient(200), products=convex),
        Implicit(preconditioned(conjugate_gradient(200), {name: 1 / value for name, value in curvature.items()})),
        Implicit(neumann(4000, 1.9 / largest, tolerance=1e-13)),
        Implicit(chebyshev(200, DECAY, 1.001 * largest)),
        Unrolled(sgd(1.9 / largest), 700),
        Unrolled(sgd(1.9 / largest), 700, recompute=True),
    ):
        assert cleaning.error(estimator, solution) < 1e-10, estimator
    # Differences are exact up to truncation and rounding only.
    assert cleaning.error(Implicit(conjugate_gradient(200), products=finite_difference(None)), solution) < 1e-6


def test_truncated_estimators_are_their_own_formulas(cleaning: Cleaning) -> None:
    hessian, slope = cleaning.hessian, cleaning.slope
    unit = torch.eye(650, dtype=D)
    term = total = slope
    for _ in range(5):
        term = term - 0.7 * hessian @ term
        total = total + term
    damped = torch.linalg.solve(hessian + 0.1 * unit, slope)
    for estimator, solution in (
        (Implicit(identity(0.7)), 0.7 * slope),
        (Implicit(neumann(5, 0.7)), 0.7 * total),
        (Unrolled(sgd(0.7), 9, truncate=6), 0.7 * total),  # Corollary 2
        (Implicit(amended(0.1)), 0.1 * hessian @ slope),
        (Implicit(nystrom(650, damping=0.1)), damped),
        (Implicit(conjugate_gradient(200, damping=0.1)), damped),
        (Implicit(preconditioned(identity(0.7), split(torch.full((650,), 2.0, dtype=D)))), 1.4 * slope),
    ):
        assert cleaning.error(estimator, solution) < 1e-10, estimator


def test_adam_at_a_stationary_point_moves_by_the_size_of_eps(cleaning: Cleaning) -> None:
    """The first moments are those of zero gradients: one step is ``w - lr g / (|g| + eps)``, of slope lr / eps there."""
    estimator = Unrolled(adam(1e-3, eps=1.0), 1)
    assert cleaning.error(estimator, 1e-3 * cleaning.slope) < 1e-8


def test_the_default_is_ten_times_closer_than_neumann_at_equal_products(cleaning: Cleaning) -> None:
    largest = float(torch.linalg.eigvalsh(cleaning.hessian)[-1])
    solution = torch.linalg.solve(cleaning.hessian, cleaning.slope)
    series = min(cleaning.error(Implicit(neumann(20, s / largest)), solution) for s in (0.5, 1.0, 1.5, 1.9))
    accelerated = cleaning.error(Implicit(chebyshev(20, DECAY, 1.01 * largest)), solution)
    default = cleaning.error(Implicit(), solution)
    assert default < series / 10
    assert default < accelerated < series


def test_on_a_minibatchs_hessian_the_accurate_solve_is_the_worse_one(cleaning: Cleaning) -> None:
    """What the README says of noise, with the Hessian of a twentieth of the examples."""
    x, y = cleaning.x[:10], cleaning.y[:10]

    def sampled(w: Variables, a: Variables) -> Tensor:
        losses = F.cross_entropy(x @ w["w"] + w["b"], y, reduction="none")
        return (losses * a["a"][:10].sigmoid()).mean() + DECAY / 2 * sum(value.square().sum() for value in w.values())

    problem = cleaning.problem
    noisy = cleaning._replace(problem=BilevelProblem(sampled, problem.outer_loss, mixed_loss=problem.inner_loss))
    solution = torch.linalg.solve(cleaning.hessian, cleaning.slope)
    accurate = noisy.error(Implicit(conjugate_gradient(50)), solution)
    series = min(noisy.error(Implicit(neumann(20, s)), solution) for s in (0.3, 1.0))
    assert series < accurate
