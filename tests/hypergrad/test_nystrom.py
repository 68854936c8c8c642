"""The Nystroem approximation against dense matrices."""

import pytest
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


@pytest.mark.parametrize("size", [4, 100])
def test_nystrom_does_not_magnify_the_rounding_of_single_precision(size: int) -> None:
    vector = torch.randn(size, generator=torch.Generator().manual_seed(0))
    solution = nystrom(size, damping=1e-6)(lambda v: {"w": 2 * v["w"]}, {"w": vector})
    torch.testing.assert_close(solution["w"], vector / 2, rtol=1e-4, atol=1e-5)
