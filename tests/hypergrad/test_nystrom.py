"""The Nystroem approximation against dense matrices."""

import torch
from hypergradients import Quadratic, relative

from nas_hypergrad import (
    Implicit,
    nystrom,
)

D = torch.float64


def test_nystrom_of_full_rank_is_the_damped_solve(quadratic: Quadratic) -> None:
    problem, inner, outer, hessian, coupling, v = quadratic
    damped = -coupling.T @ torch.linalg.solve(hessian + 0.01 * torch.eye(6, dtype=D), v)
    grads = Implicit(nystrom(rank=6, damping=0.01))(problem, inner, outer)
    assert relative(grads, {"a": damped[:3]}) < 1e-10


def test_nystrom_leaves_negative_curvature_out() -> None:
    curvature = torch.tensor([2.0, -1.0], dtype=D)
    solution = nystrom(2, damping=0.1)(lambda v: {"w": curvature * v["w"]}, {"w": torch.ones(2, dtype=D)})
    torch.testing.assert_close(solution["w"], torch.tensor([1 / 2.1, 1 / 0.1], dtype=D))
