"""Bad problems: each is refused with the variable's name and the remedy."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from nas_hypergrad import (
    BilevelProblem,
    FirstOrder,
    ForwardMode,
    Hypergradient,
    Implicit,
    Loss,
    ProblemError,
    Unrolled,
    Variables,
    blend,
    finite_difference,
    identity,
    neumann,
    sgd,
)
from nas_hypergrad.testing import quadratic_problem

ESTIMATORS: list[Hypergradient] = [
    Implicit(neumann(2, 0.1)),
    Implicit(identity(0.1), products=finite_difference()),
    Unrolled(sgd(0.1)),
    Unrolled(sgd(0.1), 2, recompute=True),
    ForwardMode(sgd(0.1)),
]
everywhere = pytest.mark.parametrize("estimator", [*ESTIMATORS, FirstOrder()], ids=lambda e: type(e).__name__)
two_level = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)


def changed(
    inner_loss: Loss | None = None, outer_loss: Loss | None = None
) -> tuple[BilevelProblem, Variables, Variables]:
    problem, inner, outer, _ = quadratic_problem(dtype=torch.float32)
    return BilevelProblem(inner_loss or problem.inner_loss, outer_loss or problem.outer_loss), inner, outer


@everywhere
def test_outer_loss_is_not_a_scalar(estimator: Hypergradient) -> None:
    with pytest.raises(ProblemError, match=r"outer_loss returned shape \(3,\); .* take its mean"):
        estimator(*changed(outer_loss=lambda w, a: a["a"] * w["w"].sum()))
    not_a_tensor: Any = lambda w, a: 1.0  # noqa: E731
    with pytest.raises(ProblemError, match=r"outer_loss returned a float; .* without .item\(\)"):
        estimator(*changed(outer_loss=not_a_tensor))


@two_level
def test_inner_loss_is_not_a_scalar(estimator: Hypergradient) -> None:
    with pytest.raises(ProblemError, match=r"inner_loss returned shape \(5,\)"):
        estimator(*changed(inner_loss=lambda w, a: w["w"] * a["a"].sum()))


@everywhere
def test_outer_loss_depends_on_nothing(estimator: Hypergradient) -> None:
    with pytest.raises(ProblemError, match=r"outer_loss depends on none of the inner variables \['b', 'w'\]"):
        estimator(*changed(outer_loss=lambda w, a: w["w"].argmax().float() + a["a"].detach().sum()))


def test_outer_loss_depends_on_no_outer_variable() -> None:
    with pytest.raises(ProblemError, match=r"none of the outer variables \['a', 'unused'\]"):
        FirstOrder()(*changed(outer_loss=lambda w, a: w["w"].sum() + 0 * torch.ones((), requires_grad=True)))


@two_level
def test_losses_depend_on_no_inner_variable(estimator: Hypergradient) -> None:
    with pytest.raises(ProblemError, match=r"outer_loss depends on none of the inner variables \['b', 'w'\]"):
        estimator(*changed(outer_loss=lambda w, a: a["a"].sum()))


@pytest.mark.parametrize(
    "estimator", [Implicit(neumann(1, 0.1)), Implicit(neumann(1, 0.1), products=finite_difference())]
)
def test_inner_loss_depends_on_one_side_only(estimator: Hypergradient) -> None:
    with pytest.raises(
        ProblemError, match=r"respond to none of the outer variables \['a', 'unused'\].* Use FirstOrder"
    ):
        estimator(*changed(inner_loss=lambda w, a: w["w"].square().sum()))
    if estimator.products == finite_difference():  # type: ignore[attr-defined]
        return
    with pytest.raises(ProblemError, match=r"inner_loss depends on none of the inner variables .* call_module"):
        estimator(*changed(inner_loss=lambda w, a: a["a"].sum()))


@everywhere
@pytest.mark.parametrize("side", [0, 1])
def test_dictionaries_of_something_else(estimator: Hypergradient, side: int) -> None:
    problem, *groups = changed()
    bad: list[tuple[Any, str]] = [
        ({}, "non-empty dictionary"),
        (torch.ones(2), "non-empty dictionary"),
        ({"n": torch.ones(2, dtype=torch.int64)}, r"variable 'n' has dtype torch.int64; .*n.float\(\)"),
        ({"n": 1.0}, "variable 'n' is a float; expected a tensor"),
    ]
    for value, message in bad:
        given: list[Any] = list(groups)
        given[side] = value
        with pytest.raises(ProblemError, match=message):
            estimator(problem, *given)


def in_place_operator(w: Mapping[str, Tensor]) -> None:
    w["w"].mul_(2.0)


def in_place_without_grad(w: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        w["w"].mul_(2.0)


@two_level
@pytest.mark.parametrize("change", [in_place_operator, in_place_without_grad])
def test_in_place_changes_are_named_and_do_not_reach_the_caller(
    estimator: Hypergradient, change: Callable[[Mapping[str, Tensor]], None]
) -> None:
    problem, inner, outer = changed()

    def loss(w: Variables, a: Variables) -> Tensor:
        change(w)
        return problem.inner_loss(w, a)

    before = inner["w"].clone()
    with pytest.raises(ProblemError, match=r"inner_loss changes \['w'\] in place; .* write x = x \+ y"):
        estimator(BilevelProblem(loss, problem.outer_loss), inner, outer)
    assert torch.equal(inner["w"], before)


def test_a_loss_may_not_leak_keys_into_the_next_evaluation() -> None:
    problem, inner, outer = changed()

    def loss(w: Any, a: Any) -> Tensor:
        return problem.inner_loss({"w": w.pop("w"), "b": w.pop("b")}, a)

    expected = Implicit(neumann(2, 0.1))(problem, inner, outer)
    leaking = BilevelProblem(loss, problem.outer_loss)
    torch.testing.assert_close(Implicit(neumann(2, 0.1))(leaking, inner, outer), expected)
    assert sorted(inner) == ["b", "w"]


class _Once(torch.autograd.Function):
    """A square that can be differentiated once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * grad


def test_an_operation_without_second_derivative() -> None:
    def loss(w: Variables, a: Variables) -> Tensor:
        return (_Once.apply(w["w"]) * a["a"].sum()).sum()

    def partly(w: Variables, a: Variables) -> Tensor:
        return loss(w, a) + (w["w"] * a["a"].sum()).square().sum()  # autograd alone would give this part's Hessian

    for estimator in (Implicit(neumann(1, 0.1)), Unrolled(sgd(0.1)), Unrolled(sgd(0.1), 2, recompute=True)):
        for cut in (loss, partly):
            with pytest.raises(ProblemError, match=r"in inner_loss has no derivative .*=finite_difference\(\)"):
                estimator(*changed(inner_loss=cut))
    grads = Implicit(identity(0.01), products=finite_difference())(*changed(inner_loss=loss))
    exact = Implicit(identity(0.01))(*changed(inner_loss=lambda w, a: (w["w"].square() * a["a"].sum()).sum()))
    torch.testing.assert_close(grads, exact, rtol=1e-2, atol=1e-3)


def test_an_intermediate_changed_in_place() -> None:
    def loss(w: Variables, a: Variables) -> Tensor:
        hidden = (w["w"] * a["a"].sum()).exp()
        squared = hidden.square().sum()
        hidden += 1
        return squared

    with pytest.raises(ProblemError, match=r"changed in place .* write x = x \+ y"):
        Implicit(neumann(1, 0.1))(*changed(inner_loss=loss))


def test_errors_of_the_losses_pass_through() -> None:
    def loss(w: Variables, a: Variables) -> Tensor:
        raise KeyError("mine")

    for estimator in (*ESTIMATORS, FirstOrder()):
        with pytest.raises(KeyError, match="mine"):
            estimator(*changed(loss, loss))


def test_variables_that_are_not_reached_get_zeros() -> None:
    problem, inner, outer = changed()
    wider = {**inner, "extra": torch.ones(2)}
    for estimator in (*ESTIMATORS, FirstOrder()):
        grads = estimator(problem, wider, outer)
        torch.testing.assert_close(grads, estimator(problem, inner, outer))
        assert not bool(grads["unused"].any())


def test_blend_weights_may_be_tensors() -> None:
    loss = blend((lambda w, a: w["w"].sum(), torch.tensor(2.0)), (lambda w, a: a["a"].sum(), 0.5))
    assert loss({"w": torch.ones(3)}, {"a": torch.ones(2)}).item() == 7.0
