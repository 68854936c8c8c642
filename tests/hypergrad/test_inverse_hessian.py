"""The approximations of the inverse Hessian against dense matrices, and what they warn of."""

from collections.abc import Callable

import pytest
import torch
from hypergradients import Quadratic, relative
from torch import Tensor

from nas_hypergrad import (
    BilevelProblem,
    ConvergenceWarning,
    Implicit,
    ImplicitReport,
    NonFiniteError,
    SettingError,
    Variables,
    amended,
    chebyshev,
    conjugate_gradient,
    double_backward,
    finite_difference,
    identity,
    neumann,
    nystrom,
)
from nas_hypergrad.testing import quadratic_problem

D = torch.float64


@pytest.mark.parametrize("terms", [0, 1, 4])
def test_neumann_is_k_plus_one_terms_with_the_step_size_inside_and_in_front(terms: int, quadratic: Quadratic) -> None:
    problem, inner, outer, hessian, coupling, v = quadratic
    gamma = 0.3
    powers = [torch.linalg.matrix_power(torch.eye(6, dtype=D) - gamma * hessian, k) for k in range(terms + 1)]
    expected = -gamma * coupling.T @ torch.stack(powers).sum(0) @ v
    torch.testing.assert_close(
        Implicit(neumann(terms, gamma))(problem, inner, outer)["a"], expected, rtol=1e-12, atol=0
    )


def test_no_further_term_is_the_one_step_form() -> None:
    problem, inner, outer, _ = quadratic_problem()
    zero = Implicit(neumann(0, 0.3))(problem, inner, outer)
    assert torch.equal(zero["a"], Implicit(identity(0.3))(problem, inner, outer)["a"])


def test_amended_is_eta_times_the_hessian(quadratic: Quadratic) -> None:
    problem, inner, outer, hessian, coupling, v = quadratic
    expected = -0.1 * coupling.T @ hessian @ v
    for products in (double_backward(), finite_difference()):
        grads = Implicit(amended(0.1), products=products)(problem, inner, outer)
        torch.testing.assert_close(grads["a"], expected, rtol=1e-10, atol=0)


def test_amended_by_differences_on_a_tanh_net() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 3, generator=generator, dtype=D), torch.randn(20, generator=generator, dtype=D)
    inner = {"u": torch.randn(4, 3, generator=generator, dtype=D), "v": torch.randn(4, generator=generator, dtype=D)}
    outer = {"a": torch.randn(3, generator=generator, dtype=D)}

    def loss(w: Variables, a: Variables) -> Tensor:
        return ((x * a["a"]) @ w["u"].T @ torch.diag(w["v"]) @ torch.ones(4, dtype=D) - y).tanh().square().mean()

    problem = BilevelProblem(loss, lambda w, a: loss(w, {"a": torch.ones(3, dtype=D)}) + w["u"].square().sum())
    exact, difference = (
        Implicit(amended(), products=p)(problem, inner, outer) for p in (double_backward(), finite_difference())
    )
    assert relative(difference, exact) < 1e-3


def test_theorem_1_rate() -> None:
    """Error at most C (1 - gamma mu)^(K+1): the fitted slope of its logarithm is log(1 - gamma mu)."""
    problem, inner, outer, truth = quadratic_problem()
    gamma, mu = 0.4, 0.5
    terms = torch.arange(20, 60, 5)
    errors = torch.tensor([relative(Implicit(neumann(int(k), gamma))(problem, inner, outer), truth) for k in terms])
    steps = terms.double() - terms.double().mean()
    fitted = (steps * errors.log()).sum() / steps.square().sum()
    assert fitted.exp().item() == pytest.approx(1 - gamma * mu, rel=1e-3)
    assert bool((errors[1:] < errors[:-1]).all())


def test_tolerance_stops_the_series() -> None:
    problem, inner, outer, _ = quadratic_problem()
    reports: list[ImplicitReport] = []
    Implicit(neumann(1000, 0.6, tolerance=1e-3), observe=reports.append)(problem, inner, outer)
    assert reports[0].residual <= 1e-3
    assert reports[0].products < 30


def test_a_step_size_above_two_over_l_warns_with_the_bound() -> None:
    problem, inner, outer, _ = quadratic_problem()
    with pytest.warns(ConvergenceWarning, match=r"step_size 1.1 exceeds 2/L = 1 .*L of the Hessian about 2;"):
        Implicit(neumann(60, 1.1))(problem, inner, outer)


@pytest.mark.parametrize(("step_size", "halvings", "halved"), [(1.1, 1, 1), (1.1, 5, 1), (20.0, 6, 5), (0.5, 3, 0)])
def test_a_step_size_is_halved_if_asked_until_the_series_no_longer_grows(
    step_size: float, halvings: int, halved: int
) -> None:
    """L = 2: below 2/L = 1 it converges; at 20, in float32, 90 terms overflow."""
    problem, inner, outer, _ = quadratic_problem(dtype=torch.float32)
    found = Implicit(neumann(90, step_size, halvings=halvings))(problem, inner, outer)
    expected = Implicit(neumann(90, step_size / 2**halved))(problem, inner, outer)
    assert torch.equal(found["a"], expected["a"])


def test_too_few_halvings_still_warn_or_refuse() -> None:
    problem, inner, outer, _ = quadratic_problem(dtype=torch.float32)
    with pytest.warns(ConvergenceWarning, match=r"step_size 1.25 exceeds 2/L = 1 "):
        Implicit(neumann(90, 5.0, halvings=2))(problem, inner, outer)
    with pytest.raises(NonFiniteError, match="lower step_size=10.0"):
        Implicit(neumann(90, 20.0, halvings=1))(problem, inner, outer)


def test_negative_curvature_warns() -> None:
    problem = BilevelProblem(
        lambda w, a: (w["w"].square() * torch.tensor([1.0, -1.0])).sum() - (a["a"] * w["w"]).sum(),
        lambda w, a: w["w"].sum(),
    )
    inner, outer = {"w": torch.ones(2)}, {"a": torch.ones(2)}
    with pytest.warns(ConvergenceWarning, match="negative curvature") as caught:
        grown = Implicit(neumann(20, 0.1))(problem, inner, outer)
    with pytest.warns(ConvergenceWarning, match="negative curvature"):  # which no smaller step would cure
        assert torch.equal(Implicit(neumann(20, 0.1, halvings=9))(problem, inner, outer)["a"], grown["a"])
    with pytest.warns(ConvergenceWarning, match="damping above") as stopped:
        Implicit(conjugate_gradient())(problem, inner, outer)
    assert {warning.filename for warning in (*caught, *stopped)} == {__file__}  # it points at the caller


def test_a_steep_direction_that_has_only_begun_to_grow_is_not_taken_for_the_largest_eigenvalue() -> None:
    """The quotient of the last term is 0.29, and 0.3 does not exceed 2 / 0.29; what grows is the direction of 20."""
    curvature = torch.tensor([0.09, 20.0])

    def product(v: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"w": curvature * v["w"]}

    with pytest.warns(ConvergenceWarning, match=r"negative or above 2/step_size = 6\.667 .*mean is 0\.287") as caught:
        neumann(1, 0.3)(product, {"w": torch.tensor([1.0, 0.1])})
    assert "exceeds" not in str(caught[0].message)


def test_the_term_that_turned_nan_is_named() -> None:
    problem, inner, outer, _ = quadratic_problem(dtype=torch.float32)
    with pytest.raises(NonFiniteError, match=r"from term \d\d of 90"):
        Implicit(neumann(90, 20.0))(problem, inner, outer)


@pytest.mark.parametrize(
    "make",
    [
        lambda: neumann(-1, 0.1),
        lambda: neumann(1, 0.0),
        lambda: neumann(1, float("nan")),
        lambda: neumann(1.5, 0.1),  # type: ignore[arg-type]
        lambda: neumann(True, 0.1),
        lambda: neumann(1, "0.1"),  # type: ignore[arg-type]
        lambda: neumann(1, 0.1, tolerance=-1.0),
        lambda: neumann(1, 0.1, halvings=-1),
        lambda: identity(-0.1),
        lambda: amended(float("inf")),
        lambda: conjugate_gradient(0),
        lambda: conjugate_gradient(damping=-1.0),
        lambda: chebyshev(3, 2.0, 1.0),
        lambda: nystrom(0),
        lambda: nystrom(2, damping=0.0),
        lambda: finite_difference(radius=0.0),
        lambda: Implicit(power_iterations=-1),
    ],
)
def test_settings_out_of_range(make: Callable[[], object]) -> None:
    with pytest.raises(SettingError, match="expected"):
        make()


def test_numbers_of_numpy_are_numbers() -> None:
    numpy = pytest.importorskip("numpy")
    assert neumann(numpy.int64(3), numpy.float32(0.5)) == neumann(3, 0.5)


@pytest.mark.parametrize(
    ("curvatures", "bounds", "told"),
    [
        ((0.5, 1.0, 2.0), (0.5, 1.5), "an eigenvalue of 2 or more, above largest=1.5"),
        ((0.5, 1.0, 2.0), (0.1, 1.0), "an eigenvalue of 2 or more, above largest=1,"),
        ((0.5, 1.0, -0.5), (0.5, 1.0), r"negative curvature \(about -0.5\)"),
    ],
)
def test_chebyshev_warns_of_bounds_that_the_hessian_exceeds(
    curvatures: tuple[float, ...], bounds: tuple[float, float], told: str
) -> None:
    diagonal = torch.tensor(curvatures, dtype=D)
    with pytest.warns(ConvergenceWarning, match=told):
        chebyshev(30, *bounds)(lambda v: {"w": diagonal * v["w"]}, {"w": torch.ones(3, dtype=D)})


def test_chebyshev_is_silent_within_its_bounds_and_below_them() -> None:
    diagonal = torch.tensor([0.0, 0.1, 0.5, 1.0, 2.0])
    for vector in (torch.ones(5), torch.eye(5)[4], torch.eye(5)[0], torch.zeros(5), 1e-20 * torch.ones(5)):
        chebyshev(9, 0.5, 2.0)(lambda v: {"w": diagonal * v["w"]}, {"w": vector})  # a warning is an error here


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [5e-3, 1e-2, 1.0])
def test_chebyshev_is_silent_within_its_bounds_in_half_precision(dtype: torch.dtype, size: float) -> None:
    generator = torch.Generator().manual_seed(0)
    for largest in (1.0, 50.0):
        diagonal = (largest * (0.05 + 0.85 * torch.rand(1000, generator=generator))).to(dtype)
        vector = (size * torch.randn(1000, generator=generator)).to(dtype)
        bounds = (0.04 * largest, largest)
        chebyshev(10, *bounds)(lambda v, d=diagonal: {"w": d * v["w"]}, {"w": vector})  # type: ignore[misc]


def test_chebyshev_warns_of_what_is_little_beyond_its_bounds() -> None:
    for curvatures, told in (((0.5, 2.1), "an eigenvalue of 2.1 or more"), ((0.5, -0.1), "negative curvature")):
        diagonal = torch.tensor(curvatures)
        with pytest.warns(ConvergenceWarning, match=told):
            chebyshev(60, 0.4, 2.0)(lambda v, d=diagonal: {"w": d * v["w"]}, {"w": torch.ones(2)})  # type: ignore[misc]
