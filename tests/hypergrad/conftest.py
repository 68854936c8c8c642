"""The conformance problem with its second derivatives as matrices."""

import pytest
import torch
from torch import Tensor

from nas_hypergrad import BilevelProblem
from nas_hypergrad.testing import quadratic_problem


@pytest.fixture
def quadratic() -> tuple[BilevelProblem, dict[str, Tensor], dict[str, Tensor], Tensor, Tensor, Tensor]:
    """Problem, inner and outer variables; Hessian (6, 6), mixed derivatives d2 L / dw da (6, 3), outer slope (6,)."""
    problem, inner, outer, _ = quadratic_problem(direct=False)
    flat = torch.cat([inner["w"], inner["b"]])

    def loss(flat: Tensor, a: Tensor) -> Tensor:
        return problem.inner_loss({"w": flat[:5], "b": flat[5:]}, {"a": a})

    rows = torch.autograd.functional.hessian(loss, (flat, outer["a"]))
    slope = torch.autograd.functional.jacobian(
        lambda flat: problem.outer_loss({"w": flat[:5], "b": flat[5:]}, outer), flat
    )
    return problem, inner, outer, rows[0][0], rows[0][1], slope
