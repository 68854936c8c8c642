"""The first-order estimator."""

import pytest
import torch
from torch import nn

from nas_hypergrad import BilevelProblem, FirstOrder, Implicit, ProblemError, identity
from nas_hypergrad.testing import check_hypergradient, quadratic_problem


def test_conforms() -> None:
    check_hypergradient(FirstOrder(), dtypes=(torch.float64, torch.float32, torch.float16))


def test_it_is_the_direct_gradient_alone() -> None:
    problem, inner, outer, _ = quadratic_problem()
    torch.testing.assert_close(FirstOrder()(problem, inner, outer)["a"], 2 * outer["a"])


def test_it_asks_for_no_gradient_of_the_inner_variables() -> None:
    problem, inner, outer, _ = quadratic_problem()
    asked: list[bool] = []
    spied = BilevelProblem(
        problem.inner_loss,
        lambda w, a: asked.append(w["w"].requires_grad) or problem.outer_loss(w, a),  # type: ignore[func-returns-value]
    )
    FirstOrder()(spied, inner, outer)
    assert asked == [False]


def test_inner_variables_may_all_be_constants() -> None:
    problem, inner, outer, _ = quadratic_problem()
    frozen = {name: nn.Parameter(value, requires_grad=False) for name, value in inner.items()}
    torch.testing.assert_close(FirstOrder()(problem, frozen, outer), FirstOrder()(problem, inner, outer))


def test_the_gradient_can_be_changed_in_place() -> None:
    outer = {"a": torch.ones(3)}
    problem = BilevelProblem(lambda w, a: (w["w"] * a["a"]).sum() ** 2, lambda w, a: a["a"].sum() + w["w"].sum())
    for estimator in (FirstOrder(), Implicit(identity(0.1))):
        estimator(problem, {"w": torch.ones(3)}, outer)["a"].mul_(2)
    summed = BilevelProblem(lambda w, a: w["w"].sum(), lambda w, a: (a["a"] + a["b"]).square().sum())
    found = FirstOrder()(summed, {"w": torch.ones(3)}, {"a": torch.ones(3), "b": torch.ones(3)})
    found["a"].mul_(2)
    assert found["b"].tolist() == [4.0] * 3


def test_an_outer_loss_of_the_inner_variables_alone_is_for_another_estimator() -> None:
    """The commonest mistake: with the inner variables held constant there is nothing left to differentiate."""
    problem = BilevelProblem(lambda w, a: (w["w"] - a["a"]).square().sum(), lambda w, a: w["w"].square().sum())
    point = {"w": torch.ones(2)}, {"a": torch.zeros(2)}
    with pytest.raises(ProblemError, match=r"does not use the outer variables \['a'\].* take Implicit or Unrolled"):
        FirstOrder()(problem, *point)
    torch.testing.assert_close(Implicit()(problem, *point)["a"], torch.full((2,), 2.0))
