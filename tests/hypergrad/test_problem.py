"""Bad problems: each is refused with the variable's name and the remedy."""

from collections.abc import Callable, Mapping
from typing import Any, cast

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
    NonFiniteError,
    ProblemError,
    SettingError,
    Unrolled,
    Variables,
    adam,
    blend,
    finite_difference,
    identity,
    largest_eigenvalue,
    neumann,
    nystrom,
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
    with_aux: Any = lambda w, a: (w["w"].sum(), w)  # noqa: E731
    with pytest.raises(ProblemError, match=r"outer_loss returned a tuple; .* the loss alone"):
        estimator(*changed(outer_loss=with_aux))
    with pytest.raises(ProblemError, match=r"outer_loss is complex; .* \.real or \.abs\(\)"):
        estimator(*changed(outer_loss=lambda w, a: (w["w"] * 1j).sum()))


@two_level
def test_inner_loss_is_not_a_scalar(estimator: Hypergradient) -> None:
    with pytest.raises(ProblemError, match=r"inner_loss returned shape \(5,\)"):
        estimator(*changed(inner_loss=lambda w, a: w["w"] * a["a"].sum()))


@everywhere
def test_outer_loss_depends_on_nothing(estimator: Hypergradient) -> None:
    expected = "does not use the outer" if estimator == FirstOrder() else "depends on none of the inner"
    with pytest.raises(ProblemError, match=rf"outer_loss {expected} variables \['.*differentiable operation"):
        estimator(*changed(outer_loss=lambda w, a: w["w"].argmax().float() + a["a"].detach().sum()))


def test_outer_loss_depends_on_no_outer_variable() -> None:
    with pytest.raises(ProblemError, match=r"does not use the outer variables \['a', 'unused'\]"):
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
        ({"n": torch.ones(2, dtype=torch.complex64)}, r"complex64; .*torch.view_as_real\(n\)"),
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


def test_looking_for_what_was_changed_in_place_does_not_change_it() -> None:
    """The loss fails because autograd protects the tensor it captured; naming the cause must not get around that."""
    problem, inner, outer = changed()
    captured = torch.ones(2, requires_grad=True)

    def loss(w: Variables, a: Variables) -> Tensor:
        captured.mul_(0.5)
        return problem.inner_loss(w, a)

    for estimator in ESTIMATORS:
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            estimator(BilevelProblem(loss, problem.outer_loss), inner, outer)
    assert torch.equal(captured.detach(), torch.ones(2))


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
    problem, inner, outer = changed()
    later = BilevelProblem(problem.inner_loss, problem.outer_loss, step_losses=[problem.inner_loss, partly])
    for unrolled in (Unrolled(sgd(0.1), 2), Unrolled(sgd(0.1), 2, recompute=True)):
        with pytest.raises(ProblemError, match="in inner_loss has no derivative"):
            unrolled(later, inner, outer)
    grads = Implicit(identity(0.01), products=finite_difference())(*changed(inner_loss=loss))
    exact = Implicit(identity(0.01))(*changed(inner_loss=lambda w, a: (w["w"].square() * a["a"].sum()).sum()))
    torch.testing.assert_close(grads, exact, rtol=1e-2, atol=1e-3)


@pytest.mark.slow  # the compiler alone takes seconds
def test_a_compiled_loss_has_no_second_derivative() -> None:
    """Autograd raises for some products and gives zeros for others, as for the Hessian of this one."""
    problem, inner, outer = changed()
    compiled = torch.compile(problem.inner_loss, backend="aot_eager")
    for estimator in (Implicit(), Unrolled(sgd(0.1)), Unrolled(sgd(0.1), 2, recompute=True)):
        with pytest.raises(ProblemError, match=r"inner_loss is compiled .* \(products=finite_difference\(\)\)"):
            estimator(BilevelProblem(compiled, problem.outer_loss), inner, outer)
    difference = Implicit(identity(0.1), products=finite_difference(None))
    grads = difference(BilevelProblem(compiled, problem.outer_loss), inner, outer)
    torch.testing.assert_close(grads, Implicit(identity(0.1))(problem, inner, outer), rtol=1e-2, atol=1e-2)


def test_an_error_of_an_operation_is_passed_on_as_it_is() -> None:
    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.sum()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine") as caught:
        Implicit()(*changed(inner_loss=lambda w, a: Fails.apply(w["w"])))
    assert caught.value.__cause__ is None


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


@everywhere
def test_outer_variables_that_are_all_constants_are_named(estimator: Hypergradient) -> None:
    problem, inner, outer = changed()
    constant = {name: torch.nn.Parameter(value, requires_grad=False) for name, value in outer.items()}
    with pytest.raises(ProblemError, match=r"every outer variable \['a', 'unused'\] .* requires_grad_\(\)"):
        estimator(problem, inner, constant)


@everywhere
def test_tensors_without_entries_and_losses_of_one_entry(estimator: Hypergradient) -> None:
    problem, inner, outer = changed()
    empty = BilevelProblem(
        lambda w, a: (problem.inner_loss(w, a) + w["none"].sum() * a["none"].sum()).view(1),
        lambda w, a: (problem.outer_loss(w, a) + w["none"].sum()).view(1, 1),
    )
    none = {"none": torch.zeros(0, 3)}
    grads = estimator(empty, {**inner, **none}, {**outer, **none})
    torch.testing.assert_close(grads, {**estimator(problem, inner, outer), **none})


def test_nothing_is_made_on_the_default_device() -> None:
    """Somebody who calls ``torch.set_default_device("cuda")`` draws from generators of the CPU all the same."""
    problem, inner, outer = changed()
    for estimator in (*ESTIMATORS, FirstOrder(), Implicit(nystrom(2)), Unrolled(adam(0.1), 2), ForwardMode(adam(0.1))):
        expected = estimator(problem, inner, outer)
        with torch.device("meta"):
            torch.testing.assert_close(estimator(problem, inner, outer), expected)
    with torch.device("meta"):
        assert largest_eigenvalue(problem, inner, outer) == pytest.approx(2.0, rel=0.05)


def test_more_of_what_is_no_problem() -> None:
    with pytest.raises(ProblemError, match=r"losses to blend returned float; expected scalar tensors"):
        blend((cast("Any", lambda w, a: 1.0), 1.0))({}, {})
    problem = BilevelProblem(lambda w, a: (w["w"] * a["a"]).sum() ** 2, lambda w, a: w["w"].sum())
    with pytest.raises(ProblemError, match="a key of the inner variables is 0; expected a name, such as '0'"):
        Implicit()(problem, cast("Any", {0: torch.ones(2)}), {"a": torch.ones(2)})
    bad = BilevelProblem(lambda w, a: (w["w"].log() * a["a"]).sum(), lambda w, a: w["w"].sum())
    with pytest.raises(NonFiniteError, match="the Hessian is NaN or infinite along a direction of the power iteration"):
        largest_eigenvalue(bad, {"w": torch.zeros(2)}, {"a": torch.ones(2)})
    with pytest.raises(SettingError, match="eps is -1"):
        adam(0.1, eps=-1)


def test_blend_weights_may_be_tensors() -> None:
    loss = blend((lambda w, a: w["w"].sum(), torch.tensor(2.0)), (lambda w, a: a["a"].sum(), 0.5))
    assert loss({"w": torch.ones(3)}, {"a": torch.ones(2)}).item() == 7.0
    assert blend((lambda w, a: torch.ones(1), 2.0), (lambda w, a: torch.ones(()), 1.0))({}, {}).item() == 3.0
    with pytest.raises(ProblemError, match="at least one"):
        blend()
