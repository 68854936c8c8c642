"""Forward mode where tangents vanish or tensors are laid out unusually; its numbers are in `test_unrolled`."""

import torch

from nas_hypergrad import BilevelProblem, ForwardMode, Unrolled, adam, sgd


def test_a_tangent_that_is_zero_is_not_taken_for_one_that_is_not_there() -> None:
    problem = BilevelProblem(lambda w, a: w["w"].square().sum() / 2, lambda w, a: w["w"].sum())
    inner, outer = {"w": torch.zeros(2)}, {"lr": torch.tensor(0.1)}  # at the minimum the learning rate moves nothing
    for estimator in (Unrolled(sgd("lr"), 2), ForwardMode(sgd("lr"), 2), ForwardMode(adam("lr"), 2)):
        assert estimator(problem, inner, outer)["lr"].item() == 0.0


def test_outer_variables_may_be_transposed() -> None:
    problem = BilevelProblem(
        lambda w, a: (w["w"] - a["a"]).square().sum() / 2,
        lambda w, a: (w["w"] * torch.arange(6.0).view(3, 2)).sum(),
    )
    inner, outer = {"w": torch.zeros(3, 2)}, {"a": torch.arange(6.0).view(2, 3).t()}
    expected = Unrolled(sgd(0.1), 2)(problem, inner, outer)
    torch.testing.assert_close(ForwardMode(sgd(0.1), 2)(problem, inner, outer), expected)
