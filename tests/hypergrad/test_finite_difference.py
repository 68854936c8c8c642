"""Products by differences of gradients: their order of accuracy, their cost, and what they ask for."""

import pytest
import torch
from torch import Tensor

from nas_hypergrad import BilevelProblem, Implicit, SettingError, Unrolled, Variables, finite_difference, neumann, sgd
from nas_hypergrad.testing import check_hypergradient

D = torch.float64


def cubic() -> tuple[BilevelProblem, dict[str, Tensor], dict[str, Tensor]]:
    """A training loss with third and fourth derivatives, so that differences of gradients have a truncation error."""
    inner = {"w": torch.tensor([0.4, -0.3, 0.9], dtype=D)}

    def inner_loss(w: Variables, a: Variables) -> Tensor:
        return (w["w"] ** 4 / 12 + w["w"] ** 3 / 6 + w["w"] ** 2 / 2 + (a["a"] * w["w"]).sin()).sum()

    problem = BilevelProblem(inner_loss, lambda w, a: (w["w"] ** 2).sum())
    return problem, inner, {"a": torch.tensor([0.5, 0.2, -0.7], dtype=D)}


@pytest.mark.parametrize(("one_sided", "order"), [(False, 2), (True, 1)])
def test_the_error_falls_with_the_order_of_the_difference(one_sided: bool, order: int) -> None:
    problem, inner, outer = cubic()
    exact = Implicit(neumann(2, 0.2))(problem, inner, outer)["a"]

    def error(radius: float) -> float:
        products = finite_difference(radius, one_sided=one_sided)
        return float((Implicit(neumann(2, 0.2), products=products)(problem, inner, outer)["a"] - exact).norm())

    assert error(1e-2) / error(1e-3) == pytest.approx(10.0**order, rel=0.02)


@pytest.mark.parametrize(("one_sided", "tolerance"), [(False, 1e-8), (True, 1e-6)])
def test_the_automatic_radius_is_near_the_best(one_sided: bool, tolerance: float) -> None:
    problem, inner, outer = cubic()
    exact = Implicit(neumann(2, 0.2))(problem, inner, outer)["a"]
    products = finite_difference(None, one_sided=one_sided)
    grads = Implicit(neumann(2, 0.2), products=products)(problem, inner, outer)["a"]
    assert float((grads - exact).norm() / exact.norm()) < tolerance


@pytest.mark.parametrize(("one_sided", "evaluations"), [(False, 1 + 2 * 5 + 2), (True, 1 + (1 + 5) + (1 + 1))])
def test_evaluations_of_a_neumann_series(one_sided: bool, evaluations: int) -> None:
    """Two gradients a product, or one and those at the point itself, which are taken once."""
    problem, inner, outer = cubic()
    calls: list[None] = []

    def counted(loss: object) -> object:
        def call(w: Variables, a: Variables) -> Tensor:
            calls.append(None)
            return loss(w, a)  # type: ignore[operator]

        return call

    watched = BilevelProblem(counted(problem.inner_loss), counted(problem.outer_loss))  # type: ignore[arg-type]
    Implicit(neumann(5, 0.1), products=finite_difference(one_sided=one_sided))(watched, inner, outer)
    assert len(calls) == evaluations


def test_one_sided_differences_conform_and_walk_back_through_inner_steps() -> None:
    check_hypergradient(Implicit(neumann(200, 0.6), products=finite_difference(one_sided=True)), exact=1e-10)
    problem, inner, outer = cubic()
    graph = Unrolled(sgd(0.1, momentum=0.9), 4)(problem, inner, outer)["a"]
    products = finite_difference(1e-6, one_sided=True)
    walked = Unrolled(sgd(0.1, momentum=0.9), 4, products=products)(problem, inner, outer)["a"]
    torch.testing.assert_close(walked, graph, rtol=1e-5, atol=0)


def test_the_radius_is_checked() -> None:
    for radius in (0.0, -1.0, float("nan")):
        with pytest.raises(SettingError, match="radius"):
            finite_difference(radius)


def test_the_automatic_radius_knows_the_precision_of_autocast() -> None:
    """The variables have 24 bits there and the products 8: differences over the radius of the former are noise."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(64, 8, generator=generator), torch.randn(64, 1, generator=generator)

    def fit(w: Variables) -> Tensor:
        return ((x @ w["w"]).float() - y).square()

    problem = BilevelProblem(
        lambda w, a: (fit(w) * a["a"].exp()).mean() + w["w"].square().sum() / 10, lambda w, a: fit(w).mean()
    )
    inner, outer = {"w": torch.randn(8, 1, generator=generator)}, {"a": torch.zeros(64, 1)}
    exact = Implicit(neumann(3, 0.1))(problem, inner, outer)["a"]

    def error(radius: float | None) -> float:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            grads = Implicit(neumann(3, 0.1), products=finite_difference(radius))(problem, inner, outer)
        return float((grads["a"] - exact).norm() / exact.norm())

    assert error(None) < 0.05 < error(torch.finfo(torch.float32).eps ** (1 / 3) * float(inner["w"].norm()))
