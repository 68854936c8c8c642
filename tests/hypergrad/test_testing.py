"""The conformance check catches estimators that break each of its rules."""

import pytest
import torch
from torch import Tensor

from nas_hypergrad import BilevelProblem, ConformanceError, FirstOrder, Hypergradient, Implicit, Variables, neumann
from nas_hypergrad.testing import check_hypergradient

good = Implicit()


def missing_key(problem: BilevelProblem, inner: Variables, outer: Variables) -> dict[str, Tensor]:
    return {"a": good(problem, inner, outer)["a"]}


def wrong_shape(problem: BilevelProblem, inner: Variables, outer: Variables) -> dict[str, Tensor]:
    return {name: grad.flatten()[:1] for name, grad in good(problem, inner, outer).items()}


def wrong_dtype(problem: BilevelProblem, inner: Variables, outer: Variables) -> dict[str, Tensor]:
    return {name: grad.half() for name, grad in good(problem, inner, outer).items()}


def attached(problem: BilevelProblem, inner: Variables, outer: Variables) -> dict[str, Tensor]:
    return {name: grad.clone().requires_grad_() for name, grad in good(problem, inner, outer).items()}


def not_zero(problem: BilevelProblem, inner: Variables, outer: Variables) -> dict[str, Tensor]:
    return {name: grad + 1 for name, grad in good(problem, inner, outer).items()}


def always_zero(problem: BilevelProblem, inner: Variables, outer: Variables) -> dict[str, Tensor]:
    return {name: 0 * grad for name, grad in good(problem, inner, outer).items()}


def random(problem: BilevelProblem, inner: Variables, outer: Variables) -> dict[str, Tensor]:
    return {name: grad * (1 + torch.rand(())) for name, grad in good(problem, inner, outer).items()}


def writes_grad(problem: BilevelProblem, inner: Variables, outer: Variables) -> dict[str, Tensor]:
    for value in inner.values():
        value.grad = None
    return good(problem, inner, outer)


def moves_random_state(problem: BilevelProblem, inner: Variables, outer: Variables) -> dict[str, Tensor]:
    torch.rand(1)
    return good(problem, inner, outer)


def drifts(problem: BilevelProblem, inner: Variables, outer: Variables) -> dict[str, Tensor]:
    if inner["w"].requires_grad and not torch.is_inference_mode_enabled():
        inner["w"].data.add_(1e-9)
    return good(problem, inner, outer)


def left_perturbed(problem: BilevelProblem, inner: Variables, outer: Variables) -> dict[str, Tensor]:
    before = inner["w"].detach().clone()
    inner["w"].data.add_(0.1)
    moved = good(problem, inner, outer)
    inner["w"].data.copy_(before)
    return moved


def swallows(problem: BilevelProblem, inner: Variables, outer: Variables) -> dict[str, Tensor]:
    try:
        return good(problem, inner, outer)
    except Exception:  # noqa: BLE001 - the fault to be caught
        return FirstOrder()(problem, inner, outer)


@pytest.mark.parametrize(
    ("estimator", "rule"),
    [
        (missing_key, "returned keys"),
        (wrong_shape, "has shape"),
        (wrong_dtype, "has dtype"),
        (attached, "requires grad"),
        (not_zero, "must get zeros"),
        (always_zero, "is zero where"),
        (random, "another hypergradient"),
        (writes_grad, "was written by a call"),
        (moves_random_state, "random state was moved by a call"),
        (drifts, "'w' was moved by a call|another hypergradient"),
        (left_perturbed, "when evaluation 1 of the losses raised|another hypergradient"),
    ],
)
def test_broken_estimators_are_caught(estimator: Hypergradient, rule: str) -> None:
    with pytest.raises(ConformanceError, match=rule):
        check_hypergradient(estimator)


def test_a_swallowed_exception_is_caught() -> None:
    with pytest.raises(ConformanceError, match="swallowed"):
        check_hypergradient(swallows)


def test_an_approximation_does_not_pass_for_exact() -> None:
    check_hypergradient(Implicit(neumann(3, 0.5)))
    with pytest.raises(ConformanceError, match=r"relative error .* with a direct term"):
        check_hypergradient(Implicit(neumann(3, 0.5)), exact=1e-6)
