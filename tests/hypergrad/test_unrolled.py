"""The unrolled estimator against closed forms of unrolled quadratics, in all its ways to the same number."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_hypergrad import (
    BilevelProblem,
    ForwardMode,
    Hypergradient,
    InnerStep,
    ProblemError,
    SettingError,
    Unrolled,
    Variables,
    adam,
    adamw,
    finite_difference,
    gauss_newton,
    sgd,
)
from nas_hypergrad.testing import check_hypergradient, quadratic_problem

D = torch.float64

STEPS: dict[str, InnerStep] = {
    "sgd": sgd(0.3),
    "momentum": sgd(0.2, momentum=0.8),
    "nesterov, decay": sgd(0.2, momentum=0.8, nesterov=True, weight_decay=0.1),
    "adam": adam(0.05, weight_decay=0.1),
    "adamw": adamw(0.05),
}
WAYS: dict[str, Callable[[InnerStep, int], Hypergradient]] = {
    "recompute": lambda step, n: Unrolled(step, n, recompute=True),
    "difference": lambda step, n: Unrolled(step, n, products=finite_difference(radius=1e-4)),
    "forward": lambda step, n: ForwardMode(step, n),
}


def away() -> tuple[BilevelProblem, dict[str, Tensor], dict[str, Tensor]]:
    """The conformance problem, made non-linear and started away from the minimum."""
    problem, inner, outer, _ = quadratic_problem()

    def loss(w: Variables, a: Variables) -> Tensor:
        return problem.inner_loss(w, a) + (w["w"].square() * a["a"].sum()).sin().sum() / 5

    return BilevelProblem(loss, problem.outer_loss), {name: value + 1 for name, value in inner.items()}, outer


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
def test_all_ways_agree(way: str, step: InnerStep) -> None:
    """Truth is central differences of the outer loss after real steps."""
    problem, inner, outer = away()
    for steps in (1, 7):
        graph = Unrolled(step, steps)(problem, inner, outer)["a"]
        other = WAYS[way](step, steps)(problem, inner, outer)["a"]
        # Differences of a non-linear loss have an error of their own.
        torch.testing.assert_close(other, graph, rtol=1e-5 if way == "difference" else 1e-11, atol=1e-9)


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
def test_truth_by_differences_of_the_trajectory(step: InnerStep) -> None:
    problem, inner, outer = away()

    def after(a: Tensor) -> float:
        w, state = dict(inner), step.start(inner)
        for _ in range(4):
            leaves = {name: value.detach().requires_grad_() for name, value in w.items()}
            loss = problem.inner_loss(leaves, {**outer, "a": a})
            grads = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
            w, state = step(w, grads, outer, state)
        return problem.outer_loss(w, {**outer, "a": a}).item()

    basis = 1e-6 * torch.eye(3, dtype=D)
    expected = torch.tensor([(after(outer["a"] + e) - after(outer["a"] - e)) / 2e-6 for e in basis], dtype=D)
    torch.testing.assert_close(Unrolled(step, 4)(problem, inner, outer)["a"], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize("direct", [True, False])
def test_one_step_closed_form(momentum: float, decay: float, direct: bool) -> None:
    """``w' = w - lr (momentum b + Hw - Ca + decay w)`` on the quadratic, so that ``dw'/da = lr C``."""
    problem, inner, outer, _ = quadratic_problem(direct=direct)
    buffers = {"w": torch.ones(5, dtype=D), "b": torch.ones(1, dtype=D)}
    step = sgd(0.1, momentum=momentum, weight_decay=decay, buffers=buffers)
    start = {name: value + 1 for name, value in inner.items()}
    hessian = torch.autograd.functional.hessian(
        lambda w: problem.inner_loss({"w": w[:5], "b": w[5:]}, outer), torch.zeros(6, dtype=D)
    )
    coupling = -torch.autograd.functional.jacobian(
        lambda a: torch.autograd.functional.jacobian(
            lambda w: problem.inner_loss({"w": w[:5], "b": w[5:]}, {"a": a}), torch.zeros(6, dtype=D), create_graph=True
        ),
        outer["a"],
    )
    w = torch.cat(list(start.values()))
    w = w - 0.1 * (momentum * torch.ones(6, dtype=D) + hessian @ w - coupling @ outer["a"] + decay * w)
    leaf = w.requires_grad_()
    (v,) = torch.autograd.grad(problem.outer_loss({"w": leaf[:5], "b": leaf[5:]}, outer), leaf)
    expected = 0.1 * coupling.T @ v + (2 * outer["a"] if direct else 0)
    for estimator in (Unrolled(step), Unrolled(step, recompute=True), Unrolled(step, products=finite_difference())):
        torch.testing.assert_close(estimator(problem, start, outer)["a"], expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("truncate", [1, 3, 10])
def test_truncation_differentiates_the_last_steps_only(truncate: int, recompute: bool) -> None:
    problem, inner, outer = away()
    reached = dict(inner)
    for _ in range(10 - truncate):
        leaves = {name: value.detach().requires_grad_() for name, value in reached.items()}
        grads = torch.autograd.grad(problem.inner_loss(leaves, outer), list(leaves.values()))
        reached = {n: v - 0.3 * g for (n, v), g in zip(reached.items(), grads, strict=True)}
    whole = Unrolled(sgd(0.3), 10, truncate, recompute=recompute)(problem, inner, outer)
    torch.testing.assert_close(whole["a"], Unrolled(sgd(0.3), truncate)(problem, reached, outer)["a"])


@pytest.mark.parametrize("recompute", [False, True])
def test_settings_as_outer_variables_of_parameter_groups(recompute: bool) -> None:
    """DHA Eq. 4: ``dL/dlr = -<dL/dw', g>``, ``dL/ddecay = -lr <dL/dw', w>``, group by group."""
    problem, inner, _, _ = quadratic_problem(direct=False)
    start = {name: value + 1 for name, value in inner.items()}
    a = torch.ones(3, dtype=D)
    outer = {
        "lr": torch.tensor(0.1, dtype=D),
        "log_decay": torch.tensor(-1.0, dtype=D),
        "mass": torch.tensor(0.5, dtype=D),
    }
    fixed = BilevelProblem(lambda w, _: problem.inner_loss(w, {"a": a}), lambda w, _: problem.outer_loss(w, {"a": a}))
    buffers = {name: torch.ones_like(value) for name, value in start.items()}
    step = sgd({"w": "lr", "": 0.05}, weight_decay=lambda o: o["log_decay"].exp(), momentum="mass", buffers=buffers)
    grads = Unrolled(step, recompute=recompute)(fixed, start, outer)
    leaves = {name: value.clone().requires_grad_() for name, value in start.items()}
    g = dict(zip(leaves, torch.autograd.grad(fixed.inner_loss(leaves, {}), list(leaves.values())), strict=True))
    decay, rates = outer["log_decay"].exp(), {"w": 0.1, "b": 0.05}
    update = {n: g[n] + decay * start[n] + 0.5 for n in start}
    moved = {n: (start[n] - rates[n] * update[n]).requires_grad_() for n in start}
    v = dict(zip(moved, torch.autograd.grad(fixed.outer_loss(moved, {}), list(moved.values())), strict=True))
    torch.testing.assert_close(grads["lr"], -(v["w"] * update["w"]).sum())
    torch.testing.assert_close(grads["log_decay"], -sum((rates[n] * v[n] * start[n]).sum() for n in start) * decay)
    torch.testing.assert_close(grads["mass"], -sum(rates[n] * v[n].sum() for n in start))
    torch.testing.assert_close(grads, ForwardMode(step)(fixed, start, outer))


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
@pytest.mark.parametrize("recompute", [False, True])
def test_conforms(step: InnerStep, recompute: bool) -> None:
    check_hypergradient(Unrolled(step, 3, recompute=recompute))


def test_limits_conform() -> None:
    check_hypergradient(Unrolled(sgd(0.6), 80), exact=1e-10)
    check_hypergradient(Unrolled(sgd(0.6), 80, recompute=True), exact=1e-10)
    check_hypergradient(Unrolled(sgd(0.3, momentum=0.3, nesterov=True), 100), exact=1e-10)
    check_hypergradient(ForwardMode(sgd(0.6), 40), exact=1e-5)


def test_single_and_half_precision_conform() -> None:
    check_hypergradient(Unrolled(sgd(0.5), 2), dtypes=(torch.float32, torch.bfloat16, torch.float16))
    check_hypergradient(Unrolled(adam(0.1), 2, recompute=True), dtypes=(torch.float32,))


def test_a_loss_a_step() -> None:
    problem, inner, outer = away()
    factors = (1.0, 0.5, 2.0)
    losses = [lambda w, a, f=f: f * problem.inner_loss(w, a) for f in factors]
    stochastic = BilevelProblem(problem.inner_loss, problem.outer_loss, step_losses=losses)

    class Scaled:
        """The same by a learning rate that changes from step to step."""

        def start(self, inner: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"t": torch.tensor(0)}

        def __call__(
            self, inner: dict[str, Tensor], gradient: dict[str, Tensor], outer: Variables, state: dict[str, Tensor]
        ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
            rate = 0.3 * factors[int(state["t"])]
            return {n: v - rate * gradient[n] for n, v in inner.items()}, {"t": state["t"] + 1}

    expected = Unrolled(Scaled(), 3)(problem, inner, outer)["a"]
    for estimator in (Unrolled(sgd(0.3), 3), Unrolled(sgd(0.3), 3, recompute=True), ForwardMode(sgd(0.3), 3)):
        torch.testing.assert_close(estimator(stochastic, inner, outer)["a"], expected)
    with pytest.raises(ProblemError, match="3 step_losses, the estimator takes 2"):
        Unrolled(sgd(0.3), 2)(stochastic, inner, outer)


@pytest.mark.parametrize("steps", [2, 5])
def test_recomputed_dropout_sees_the_same_masks_and_steps_see_different_ones(steps: int) -> None:
    problem, inner, outer, _ = quadratic_problem(dtype=D)
    masks: list[Tensor] = []

    def loss(w: Variables, a: Variables) -> Tensor:
        masks.append(F.dropout(torch.ones(5, dtype=D), 0.5))
        return problem.inner_loss({**w, "w": w["w"] * masks[-1]}, a)

    noisy = BilevelProblem(loss, problem.outer_loss)
    kept = Unrolled(sgd(0.2), steps)(noisy, inner, outer)
    drawn = {tuple(mask.tolist()) for mask in masks}
    assert len(masks) == steps
    assert len(drawn) > 1
    again = Unrolled(sgd(0.2), steps, recompute=True)(noisy, inner, outer)
    torch.testing.assert_close(again, kept)
    assert {tuple(mask.tolist()) for mask in masks} == drawn


def test_a_reduce_hook_walks_step_by_step() -> None:
    problem, inner, outer = away()
    calls: list[int] = []
    hooked = BilevelProblem(problem.inner_loss, problem.outer_loss, reduce=lambda v: calls.append(1) or v)  # type: ignore[func-returns-value]
    for step in (sgd(0.2, momentum=0.5), adam(0.1)):
        torch.testing.assert_close(Unrolled(step, 4)(hooked, inner, outer), Unrolled(step, 4)(problem, inner, outer))
    assert calls


def test_gauss_newton_products_equal_exact_ones_on_a_linear_model() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(9, 3, generator=generator, dtype=D), torch.randn(9, generator=generator, dtype=D)

    def outputs(w: Variables, a: Variables) -> Tensor:
        return x @ w["w"] * a["a"]

    def loss(z: Tensor, a: Variables) -> Tensor:
        return (z - y).square().mean()

    problem = BilevelProblem(lambda w, a: loss(outputs(w, a), a), lambda w, a: w["w"].square().sum())
    inner, outer = {"w": torch.ones(3, dtype=D)}, {"a": torch.ones(9, dtype=D)}
    exact = Unrolled(sgd(0.1), 3)(problem, inner, outer)
    torch.testing.assert_close(
        Unrolled(sgd(0.1), 3, products=gauss_newton(outputs, loss))(problem, inner, outer), exact
    )


def test_memory_of_recomputation_does_not_grow_with_the_graph() -> None:
    """The number of tensors alive that autograd saved: all steps' with the graph, one step's when recomputed."""
    problem, inner, outer = away()

    def most_saved(estimator: Hypergradient) -> int:
        alive = most = 0

        class Saved:
            def __init__(self, value: Tensor) -> None:
                nonlocal alive, most
                self.value = value
                alive += 1
                most = max(most, alive)

            def __del__(self) -> None:
                nonlocal alive
                alive -= 1

        with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.value):
            estimator(problem, inner, outer)
        return most

    assert most_saved(Unrolled(sgd(0.1), 32)) > 10 * most_saved(Unrolled(sgd(0.1), 2))
    assert most_saved(Unrolled(sgd(0.1), 32, recompute=True)) == most_saved(Unrolled(sgd(0.1), 2, recompute=True))
    assert most_saved(Unrolled(sgd(0.1), 32, truncate=2)) == most_saved(Unrolled(sgd(0.1), 2))


def test_bad_steps() -> None:
    problem, inner, outer = away()
    for make in (lambda: Unrolled(sgd(0.1), 0), lambda: Unrolled(sgd(0.1), 2, 3), lambda: ForwardMode(sgd(0.1), -1)):
        with pytest.raises(SettingError, match="expected"):
            make()

    class Forgetful:
        def start(self, inner: dict[str, Tensor]) -> dict[str, Tensor]:
            return {}

        def __call__(
            self, inner: dict[str, Tensor], gradient: dict[str, Tensor], outer: Variables, state: dict[str, Tensor]
        ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
            return {"w": inner["w"]}, {}

    for recompute in (False, True):
        with pytest.raises(ProblemError, match=r"the inner step .*missing \['b'\]"):
            Unrolled(Forgetful(), 1, recompute=recompute)(problem, inner, outer)

    def loss(w: Variables, a: Variables) -> Tensor:
        return torch.stack([value.square().sum() for value in w.values()]).sum()

    square = BilevelProblem(loss, loss)
    _, weights, _, _ = quadratic_problem(dtype=torch.float32)
    rates = {"shape": torch.full((3,), 0.1, dtype=D), "dtype": torch.full((1,), 0.1, dtype=D)}
    for estimator in (Unrolled(sgd("lr")), Unrolled(sgd("lr"), recompute=True), ForwardMode(sgd("lr"))):
        with pytest.raises(ProblemError, match=r"the inner step gave 'b' of shape \(3,\) .* expected shape \(1,\)"):
            estimator(square, {"b": weights["b"]}, {"lr": rates["shape"]})
        with pytest.raises(ProblemError, match=r"the inner step gave 'w' of .*float64; expected .*float32"):
            estimator(square, {"w": weights["w"]}, {"lr": rates["dtype"]})
    nothing = BilevelProblem(lambda w, a: w["w"].square().sum(), problem.outer_loss)
    for estimator in (Unrolled(sgd(0.1)), Unrolled(sgd(0.1), recompute=True), ForwardMode(sgd(0.1))):
        with pytest.raises(ProblemError, match="respond to none"):
            estimator(nothing, inner, outer)
