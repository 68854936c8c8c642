"""Forward mode where tangents vanish or tensors are laid out unusually; its numbers are in `test_unrolled`."""

import subprocess
import sys

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


def test_what_torch_loads_for_it_is_no_business_of_the_user() -> None:
    """In a process that has not used forward mode yet."""
    code = (
        "import torch; from nas_hypergrad import *\n"
        "problem = BilevelProblem(lambda w, a: (w['w'] ** 2).sum() / 2, lambda w, a: w['w'].sum())\n"
        "print(ForwardMode(sgd(lr='lr'))(problem, {'w': torch.ones(1)}, {'lr': torch.tensor(0.5)})['lr'].item())"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", "-c", code], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "-1.0\n"
    assert "torch.jit" not in ran.stderr
