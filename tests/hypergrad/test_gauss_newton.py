"""Gauss-Newton products against exact ones and closed forms."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_hypergrad import (
    BilevelProblem,
    Implicit,
    ProblemError,
    Variables,
    conjugate_gradient,
    gauss_newton,
)

D = torch.float64


def relative(grads: dict[str, Tensor], truth: dict[str, Tensor], name: str = "a") -> float:
    return float((grads[name] - truth[name]).norm() / truth[name].norm())


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
