"""The implicit estimator against closed forms, and its diagnostics, hooks and purity."""

import weakref
from typing import Any

import pytest
import torch
from hypergradients import Quadratic, relative
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from nas_hypergrad import (
    BilevelProblem,
    Curvature,
    FirstOrder,
    Implicit,
    ImplicitReport,
    InverseHessian,
    Loss,
    NonFiniteError,
    ProblemError,
    Products,
    Unrolled,
    Variables,
    amended,
    blend,
    chebyshev,
    conjugate_gradient,
    double_backward,
    finite_difference,
    identity,
    largest_eigenvalue,
    neumann,
    nystrom,
    preconditioned,
    sgd,
)
from nas_hypergrad.testing import check_hypergradient, quadratic_problem

D = torch.float64


LIMITS: dict[str, InverseHessian] = {
    "conjugate_gradient": conjugate_gradient(),
    "neumann": neumann(200, 0.6),
    "neumann tolerance": neumann(10_000, 0.6, tolerance=1e-13),
    "chebyshev": chebyshev(60, 0.5, 2.0),
    "preconditioned": preconditioned(
        conjugate_gradient(), {"w": torch.linspace(0.5, 2.0, 5, dtype=D), "b": torch.full((1,), 3.0, dtype=D)}
    ),
}


@pytest.mark.parametrize("part", LIMITS.values(), ids=LIMITS.keys())
@pytest.mark.parametrize("products", [double_backward(), finite_difference()], ids=["exact", "difference"])
def test_limit_is_the_closed_form_and_the_estimator_conforms(part: InverseHessian, products: Products) -> None:
    check_hypergradient(Implicit(part, products=products), exact=1e-10)


@pytest.mark.parametrize("part", [amended(), identity(0.3), neumann(3, 0.3), nystrom(3)])
def test_truncated_parts_conform(part: InverseHessian) -> None:
    check_hypergradient(Implicit(part), dtypes=(torch.float32, D))


def test_conforms_in_single_and_half_precision() -> None:
    check_hypergradient(Implicit(neumann(5, 0.5)), dtypes=(torch.float32, torch.bfloat16, torch.float16))
    check_hypergradient(
        Implicit(neumann(5, 0.5), products=finite_difference(radius=None)), dtypes=(torch.float32, torch.bfloat16)
    )


def ridge(with_direct: bool) -> tuple[BilevelProblem, dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Ridge regression with a log-penalty a feature: w* = (X'X/n + diag exp p)^-1 X'y/n."""
    generator = torch.Generator().manual_seed(3)
    x, v = (torch.randn(40, 8, generator=generator, dtype=D) for _ in range(2))
    y, z = (torch.randn(40, generator=generator, dtype=D) for _ in range(2))
    p = torch.randn(8, generator=generator, dtype=D)
    hessian = x.T @ x / 40 + torch.diag(p.exp())
    w = torch.linalg.solve(hessian, x.T @ y / 40)
    slope = v.T @ (v @ w - z) / 40
    truth = -p.exp() * w * torch.linalg.solve(hessian, slope) + (0.2 * p if with_direct else 0.0)

    def inner_loss(w: Variables, a: Variables) -> Tensor:
        return (x @ w["w"] - y).square().mean() / 2 + (a["p"].exp() * w["w"].square()).sum() / 2

    def outer_loss(w: Variables, a: Variables) -> Tensor:
        fit = (v @ w["w"] - z).square().mean() / 2
        return fit + 0.1 * a["p"].square().sum() if with_direct else fit

    return BilevelProblem(inner_loss, outer_loss), {"w": w}, {"p": p}, {"p": truth}


@pytest.mark.parametrize("direct", [True, False])
def test_ridge_penalties(direct: bool) -> None:
    problem, inner, outer, truth = ridge(direct)
    largest = largest_eigenvalue(problem, inner, outer, iterations=200)
    for part in (conjugate_gradient(), neumann(2000, 1 / largest), chebyshev(300, 0.05, 1.01 * largest)):
        assert relative(Implicit(part)(problem, inner, outer), truth, "p") < 1e-10


def test_conjugate_gradient_is_far_closer_at_equal_products_and_chebyshev_gains() -> None:
    problem, inner, outer, truth = ridge(False)
    hessian = torch.autograd.functional.hessian(lambda w: problem.inner_loss({"w": w}, outer), inner["w"])
    spectrum = torch.linalg.eigvalsh(hessian)
    smallest, largest = float(spectrum[0]), float(spectrum[-1])
    errors = {
        part: relative(Implicit(part)(problem, inner, outer), truth, "p")
        for part in (neumann(8, 1 / largest), chebyshev(8, smallest, largest), conjugate_gradient(8))
    }
    plain, accelerated, default = errors.values()
    assert default < plain / 10
    assert accelerated < plain / 3


def test_corollary_2_truncated_reverse_mode_is_neumann_at_a_stationary_point() -> None:
    problem, inner, outer, _ = quadratic_problem()
    for terms in (0, 1, 5):
        unrolled = Unrolled(sgd(0.3), steps=9, truncate=terms + 1)(problem, inner, outer)
        torch.testing.assert_close(
            unrolled["a"], Implicit(neumann(terms, 0.3))(problem, inner, outer)["a"], rtol=1e-10, atol=0
        )


def test_weight_decay_in_the_loss_is_in_the_hessian(quadratic: Quadratic) -> None:
    problem, inner, outer, hessian, coupling, v = quadratic
    decayed = BilevelProblem(
        blend((problem.inner_loss, 1.0), (lambda w, a: (w["w"].square().sum() + w["b"].square().sum()) / 2, 0.7)),
        problem.outer_loss,
    )
    expected = -coupling.T @ torch.linalg.solve(hessian + 0.7 * torch.eye(6, dtype=D), v)
    torch.testing.assert_close(Implicit()(decayed, inner, outer)["a"], expected, rtol=1e-10, atol=0)


def test_separate_minibatches_for_hessian_and_mixed_product() -> None:
    problem, inner, outer, _ = quadratic_problem(direct=False)
    twice = BilevelProblem(problem.inner_loss, problem.outer_loss, mixed_loss=lambda w, a: 2 * problem.inner_loss(w, a))
    single = Implicit()(problem, inner, outer)
    for products in (double_backward(), finite_difference()):
        torch.testing.assert_close(
            Implicit(products=products)(twice, inner, outer)["a"], 2 * single["a"], rtol=1e-9, atol=0
        )


def test_mixed_level_gradient_is_a_blend_of_outer_losses() -> None:
    problem, inner, outer, _ = quadratic_problem()
    estimator = Unrolled(sgd(0.3))
    blended = BilevelProblem(problem.inner_loss, blend((problem.outer_loss, 1.0), (problem.inner_loss, 0.1)))
    train = BilevelProblem(problem.inner_loss, problem.inner_loss)
    expected = estimator(problem, inner, outer)["a"] + 0.1 * estimator(train, inner, outer)["a"]
    torch.testing.assert_close(estimator(blended, inner, outer)["a"], expected)


def test_report_tells_residual_products_and_largest_eigenvalue(quadratic: Quadratic) -> None:
    problem, inner, outer, hessian, _, v = quadratic
    reports: list[ImplicitReport] = []
    Implicit(neumann(3, 0.4), observe=reports.append, power_iterations=100)(problem, inner, outer)
    Implicit(conjugate_gradient(), observe=reports.append)(problem, inner, outer)
    left = torch.linalg.matrix_power(torch.eye(6, dtype=D) - 0.4 * hessian, 4) @ v
    assert reports[0].products == 3
    assert reports[0].residual == pytest.approx(float(left.norm() / v.norm()), rel=1e-10)
    assert reports[0].largest_eigenvalue == pytest.approx(2.0, rel=1e-6)
    assert reports[1].products == 6  # six dimensions
    assert reports[1].residual < 1e-10
    assert reports[1].largest_eigenvalue is None
    flat = BilevelProblem(problem.inner_loss, lambda w, a: 0 * w["w"].sum() + a["a"].sum())
    Implicit(observe=reports.append, power_iterations=100)(flat, inner, outer)
    assert reports[2].residual == 0.0  # nothing to solve for, solved
    assert reports[2].largest_eigenvalue == pytest.approx(2.0, rel=1e-6)


def test_a_gradient_that_is_nan_is_named() -> None:
    problem, inner, outer, _ = quadratic_problem()
    broken = BilevelProblem(problem.inner_loss, lambda w, a: (w["w"] - w["w"].detach()).abs().sqrt().sum())
    with pytest.raises(NonFiniteError, match="term 0"):
        Implicit(neumann(2, 0.1))(broken, inner, outer)
    with pytest.raises(NonFiniteError, match="outer loss's gradient"):
        Implicit(identity(0.1))(broken, inner, outer)


@pytest.mark.parametrize("part", [chebyshev(3, 0.5, 2.0), nystrom(3), conjugate_gradient(), neumann(3, 0.1)])
def test_a_hessian_that_is_nan_is_named_with_the_product(part: InverseHessian) -> None:
    problem, inner, outer, _ = quadratic_problem()
    broken = BilevelProblem(lambda w, a: (w["w"] * a["a"].sum()).square().sum() * float("nan"), problem.outer_loss)
    with pytest.raises(NonFiniteError, match="(product|iteration|term) 1"):
        Implicit(part)(broken, inner, outer)


def test_the_graph_of_the_hessian_is_freed_before_that_of_the_mixed_loss_is_built() -> None:
    problem, inner, outer, _ = quadratic_problem()
    graphs: list[weakref.ref[object]] = []
    alive: list[int] = []

    class Counting:
        def __call__(self, loss: Loss, role: str, point: Any) -> Curvature:
            alive.append(sum(graph() is not None for graph in graphs))
            curvature = double_backward()(loss, role, point)
            graphs.append(weakref.ref(curvature))
            return curvature

    separate = BilevelProblem(problem.inner_loss, problem.outer_loss, mixed_loss=problem.inner_loss)
    for part in (conjugate_gradient(), neumann(2, 0.1), nystrom(2)):
        graphs.clear()
        Implicit(part, products=Counting(), observe=lambda report: None)(separate, inner, outer)
    assert alive == [0] * 6


def test_frozen_parameters_are_constants(quadratic: Quadratic) -> None:
    problem, inner, outer, hessian, coupling, v = quadratic
    frozen = {"w": inner["w"], "b": nn.Parameter(inner["b"], requires_grad=False)}
    expected = -coupling[:5].T @ torch.linalg.solve(hessian[:5, :5], v[:5])
    for products in (double_backward(), finite_difference()):
        grads = Implicit(products=products)(problem, frozen, outer)
        torch.testing.assert_close(grads["a"], expected, rtol=1e-9, atol=0)
    constant = {"a": nn.Parameter(outer["a"], requires_grad=False), "unused": outer["unused"]}
    with pytest.raises(ProblemError, match="respond to none"):
        Implicit()(problem, inner, constant)
    with pytest.raises(ProblemError, match="requires no grad"):
        Implicit()(problem, {"b": frozen["b"]}, outer)


def test_generators_of_the_losses_are_rewound() -> None:
    problem, inner, outer, _ = quadratic_problem()
    generator = torch.Generator().manual_seed(5)
    before = generator.get_state()
    draws: list[float] = []

    def loss(w: Variables, a: Variables) -> Tensor:
        draws.append(torch.rand((), generator=generator).item())
        return problem.inner_loss(w, a) * (1 + draws[-1])

    noisy = BilevelProblem(loss, problem.outer_loss, generators=[generator])
    Implicit(neumann(3, 0.1), products=finite_difference())(noisy, inner, outer)
    assert len(draws) == 8
    assert len(set(draws)) == 1
    assert torch.equal(generator.get_state(), before)


def test_reduce_hook_gives_the_hypergradient_of_the_mean() -> None:
    """Two ranks, simulated in lockstep: each rank's losses differ, the hook averages with what the other rank holds."""
    first, inner, outer, _ = quadratic_problem()

    def other_inner(w: Variables, a: Variables) -> Tensor:
        return 3 * first.inner_loss(w, a) + w["w"].square().sum()

    mean = BilevelProblem(blend((first.inner_loss, 0.5), (other_inner, 0.5)), first.outer_loss)
    exact = Implicit(neumann(4, 0.1))(mean, inner, outer)["a"]
    calls: list[dict[str, Tensor]] = []
    hooked = BilevelProblem(mean.inner_loss, mean.outer_loss, reduce=lambda v: calls.append(v) or v)  # type: ignore[func-returns-value]
    torch.testing.assert_close(Implicit(neumann(4, 0.1))(hooked, inner, outer)["a"], exact)
    assert len(calls) == 2 + 4 + 1  # both outer gradients, four Hessian products, one mixed product
    with pytest.raises(ProblemError, match=r"problem.reduce gave a dictionary whose keys differ"):
        Implicit()(BilevelProblem(mean.inner_loss, mean.outer_loss, reduce=lambda v: {}), inner, outer)


def test_autocast() -> None:
    generator = torch.Generator().manual_seed(0)
    module = nn.Linear(4, 1)
    with torch.no_grad():  # weights from a seed of their own: bfloat16 has two digits, and some draws nearly cancel
        module.weight.copy_(torch.rand(1, 4, generator=generator))
        module.bias.zero_()
    x, y = torch.randn(8, 4, generator=generator), torch.ones(8, 1)

    def inner_loss(w: Variables, a: Variables) -> Tensor:
        fit = (F.linear(x, w["weight"], w["bias"]) - y).float().square().mean()
        return fit + (a["decay"] * w["weight"].square()).sum()

    problem = BilevelProblem(
        inner_loss, lambda w, a: (F.linear(x, w["weight"], w["bias"]) - 2 * y).float().square().mean()
    )
    inner, outer = dict(module.named_parameters()), {"decay": torch.tensor(0.5)}
    for estimator in (
        Implicit(neumann(3, 0.1)),
        Implicit(neumann(3, 0.1), products=finite_difference()),
        Unrolled(sgd(0.1), 2),
    ):
        exact = estimator(problem, inner, outer)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            grads = estimator(problem, inner, outer)
        assert grads["decay"].dtype == torch.float32
        torch.testing.assert_close(grads["decay"], exact["decay"], rtol=0.1, atol=1e-2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda() -> None:
    problem, inner, outer, truth = quadratic_problem()
    moved = [{name: value.cuda() for name, value in group.items()} for group in (inner, outer)]

    def cpu(group: Variables) -> dict[str, Tensor]:
        return {name: value.cpu() for name, value in group.items()}

    on_cuda = BilevelProblem(
        lambda w, a: problem.inner_loss(cpu(w), cpu(a)).cuda() * (1 + 0 * torch.rand((), device="cuda")),
        lambda w, a: problem.outer_loss(cpu(w), cpu(a)).cuda(),
    )
    before = torch.cuda.get_rng_state()
    grads = Implicit()(on_cuda, *moved)
    assert grads["a"].is_cuda
    assert relative({"a": grads["a"].cpu()}, truth) < 1e-10
    assert torch.equal(torch.cuda.get_rng_state(), before)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), size=st.integers(1, 6), direct=st.booleans(), split=st.integers(0, 5))
def test_random_quadratics(seed: int, size: int, direct: bool, split: int) -> None:
    """Every estimator's limit on any strongly convex quadratic, however its variables are cut into tensors."""
    generator = torch.Generator().manual_seed(seed)
    root, coupling = (torch.randn(size, n, generator=generator, dtype=D) for n in (size, 3))
    a, t = torch.randn(3, generator=generator, dtype=D), torch.randn(size, generator=generator, dtype=D)
    hessian = root @ root.T / size + torch.eye(size, dtype=D)
    w = torch.linalg.solve(hessian, coupling @ a)
    truth = coupling.T @ torch.linalg.solve(hessian, w - t) + (a if direct else 0)
    cut = split % size

    def flat(inner: Variables) -> Tensor:
        return torch.cat(list(inner.values()))

    problem = BilevelProblem(
        lambda w, a: flat(w) @ hessian @ flat(w) / 2 - flat(w) @ coupling @ a["a"],
        lambda w, a: (flat(w) - t).square().sum() / 2 + (a["a"].square().sum() / 2 if direct else 0),
    )
    inner = {"left": w[:cut], "right": w[cut:]} if cut else {"all": w}
    gamma = 1 / float(torch.linalg.eigvalsh(hessian)[-1])
    for estimator in (
        Implicit(),
        Implicit(neumann(1000, gamma, tolerance=1e-12)),
        Implicit(products=finite_difference()),
        Unrolled(sgd(gamma), steps=150),
    ):
        error = (estimator(problem, inner, {"a": a})["a"] - truth).norm()
        assert float(error) <= 1e-8 * float(truth.norm()) + 1e-9
    if direct:
        torch.testing.assert_close(FirstOrder()(problem, inner, {"a": a})["a"], a)
