"""Preconditioning against dense matrices."""

import pytest
import torch
from hypergradients import Quadratic

from nas_hypergrad import (
    Implicit,
    ProblemError,
    identity,
    neumann,
    preconditioned,
)
from nas_hypergrad.testing import quadratic_problem

D = torch.float64


def test_preconditioned_neumann_is_the_series_of_the_preconditioned_step(quadratic: Quadratic) -> None:
    problem, inner, outer, hessian, coupling, v = quadratic
    diagonal = torch.linspace(0.2, 1.5, 6, dtype=D)
    step = torch.eye(6, dtype=D) - 0.3 * torch.diag(diagonal) @ hessian
    series = sum(torch.linalg.matrix_power(step, k) for k in range(4)) @ (0.3 * diagonal * v)
    part = preconditioned(neumann(3, 0.3), {"w": diagonal[:5], "b": diagonal[5:]})
    torch.testing.assert_close(Implicit(part)(problem, inner, outer)["a"], -coupling.T @ series, rtol=1e-10, atol=0)


def test_preconditioner_is_checked() -> None:
    with pytest.raises(ProblemError, match="not positive"):
        preconditioned(identity(0.1), {"w": torch.zeros(2)})
    problem, inner, outer, _ = quadratic_problem()
    with pytest.raises(ProblemError, match=r"missing \['b'\]"):
        Implicit(preconditioned(identity(0.1), {"w": torch.ones(5, dtype=D)}))(problem, inner, outer)
