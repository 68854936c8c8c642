"""Gauss-Newton products against exact ones and closed forms."""

import weakref
from typing import Any

import pytest
import torch
from hypergradients import relative
from torch import Tensor
from torch.nn import functional as F

from nas_hypergrad import (
    BilevelProblem,
    Implicit,
    ProblemError,
    Variables,
    conjugate_gradient,
    gauss_newton,
    neumann,
)
from nas_hypergrad.testing import quadratic_problem

D = torch.float64


def test_gauss_newton_is_the_hessian_of_a_linear_model_and_semi_definite_otherwise() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 4, generator=generator, dtype=D)
    y = torch.randint(3, (30,), generator=generator)
    inner, outer = {"w": torch.randn(4, 3, generator=generator, dtype=D)}, {"a": torch.zeros(30, dtype=D)}

    def outputs(w: Variables, a: Variables) -> Tensor:
        return x @ w["w"]

    def loss(z: Tensor, a: Variables) -> Tensor:
        return (F.cross_entropy(z, y, reduction="none") * a["a"].exp()).mean()

    def decay(w: Variables, a: Variables) -> Tensor:
        return 0.05 * w["w"].square().sum()

    problem = BilevelProblem(lambda w, a: loss(outputs(w, a), a) + decay(w, a), lambda w, a: (w["w"] ** 3).sum())
    exact = Implicit(conjugate_gradient(40))(problem, inner, outer)
    grads = Implicit(conjugate_gradient(40), products=gauss_newton(outputs, loss, decay))(problem, inner, outer)
    assert relative(grads, exact) < 1e-8
    with pytest.raises(ProblemError, match="give terms such as weight decay as rest"):
        Implicit(products=gauss_newton(outputs, loss))(problem, inner, outer)


def test_gauss_newton_meets_no_negative_curvature() -> None:
    target = torch.tensor([3.0, -2.0], dtype=D)
    problem = BilevelProblem(
        lambda w, a: (w["w"].sin() * a["a"] - target).square().sum() / 2, lambda w, a: w["w"].square().sum()
    )
    inner, outer = {"w": torch.tensor([1.5, 0.4], dtype=D)}, {"a": torch.ones(2, dtype=D)}
    products = gauss_newton(lambda w, a: w["w"].sin() * a["a"], lambda z, a: (z - target).square().sum() / 2)
    grads = Implicit(conjugate_gradient(), products=products)(problem, inner, outer)
    w, v = inner["w"], 2 * inner["w"]
    mixed = (2 * w.sin() - target) * w.cos()  # d2 L / da dw at a = 1
    torch.testing.assert_close(grads["a"], -mixed * v / w.cos().square())


def test_outputs_that_do_not_depend_on_the_inner_variables_are_named() -> None:
    problem, inner, outer, _ = quadratic_problem()
    products = gauss_newton(lambda w, a: torch.ones(2, dtype=D), lambda z, a: z.sum())
    with pytest.raises(ProblemError, match=r"outputs depends on none of the inner variables \['b', 'w'\]"):
        Implicit(products=products)(problem, inner, outer)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (gauss_newton(lambda w, a: (w["w"],), lambda z, a: z.sum()), "outputs returned a tuple; expected one tensor"),  # type: ignore[arg-type, return-value]
        (gauss_newton(lambda w, a: w["w"], lambda z, a: z**2), r"loss returned shape \(2,\); expected a scalar tensor"),
        (gauss_newton(lambda w, a: w["w"], lambda z, a: 1.0), "loss returned a float; expected a scalar tensor"),  # type: ignore[arg-type, return-value]
    ],
)
def test_parts_that_return_something_else_are_named(parts: Any, message: str) -> None:
    problem = BilevelProblem(lambda w, a: (w["w"] * a["a"]).square().sum(), lambda w, a: w["w"].sum())
    with pytest.raises(ProblemError, match=message):
        Implicit(neumann(1, 0.1), products=parts)(problem, {"w": torch.ones(2)}, {"a": torch.ones(2)})


def test_autocast_keeps_no_copies_of_the_weights() -> None:
    """Autocast caches a cast copy of every leaf it meets until it ends; the estimator's leaves are met once."""
    x = torch.ones(3, 4)

    def outputs(w: Variables, a: Variables) -> Tensor:
        return F.linear(x, w["w"]).float() * a["a"]

    def loss(z: Tensor, a: Variables) -> Tensor:
        return z.square().mean()

    casts: list[weakref.ref[Tensor]] = []

    def remembered(w: Variables, a: Variables) -> Tensor:
        casts.append(weakref.ref(w["w"]))
        return outputs(w, a)

    problem = BilevelProblem(lambda w, a: loss(outputs(w, a), a), lambda w, a: w["w"].square().sum())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        Implicit(products=gauss_newton(remembered, loss))(problem, {"w": torch.ones(2, 4)}, {"a": torch.ones(3, 2)})
        assert casts
        assert all(leaf() is None for leaf in casts)
