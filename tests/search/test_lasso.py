from collections.abc import Callable

import pytest
import torch
from sklearn.linear_model import Lasso
from torch import Tensor

from nas_search import ConfigError, ConvergenceError
from nas_search.relaxations.lasso import fista, ista, recover, soft_threshold, violation


def problems(n: int, scale: float = 1e-3) -> tuple[Tensor, Tensor]:
    """Four of ISTA-NAS's: 7 equations with entries of U[0, 1), n unknowns."""
    generator = torch.Generator().manual_seed(n)
    A = torch.rand(4, 7, n, generator=generator, dtype=torch.float64)
    return A, scale * torch.randn(4, 7, generator=generator, dtype=torch.float64)


def objective(A: Tensor, b: Tensor, x: Tensor, penalty: float) -> Tensor:
    return (torch.einsum("pmn,pn->pm", A, x) - b).square().sum(dim=1) / 2 + penalty * x.abs().sum(dim=1)


def peer(A: Tensor, b: Tensor, penalty: float) -> Tensor:
    """Coordinate descent, whose objective is divided by the number of equations."""
    model = Lasso(alpha=penalty / A.shape[1], fit_intercept=False, tol=1e-12, max_iter=500_000)
    return torch.stack(
        [torch.as_tensor(model.fit(a, y).coef_.copy()) for a, y in zip(A.numpy(), b.numpy(), strict=True)]
    )


def test_soft_threshold() -> None:
    values = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0])
    assert soft_threshold(values, 1.0).tolist() == [-1, 0, 0, 0, 1]


@pytest.mark.parametrize(("solve", "penalty"), [(ista, 0.3), (fista, 0.3), (fista, 0.01), (recover, 0.001)])
@pytest.mark.parametrize("n", [14, 35])
def test_the_solution_is_that_of_coordinate_descent(solve: Callable[..., Tensor], penalty: float, n: int) -> None:
    A, b = problems(n, scale=1.0)
    x = solve(A, b, penalty, tolerance=1e-6)
    torch.testing.assert_close(x, peer(A, b, penalty), atol=1e-4, rtol=0)
    assert (violation(A, b, x, penalty) <= 1e-6).all()


@pytest.mark.parametrize("n", [14, 21, 28, 35])
def test_the_problems_of_the_paper_are_solved(n: int) -> None:
    A, b = problems(n)
    x = recover(A, b, 1e-5)
    other = peer(A, b, 1e-5)
    assert (violation(A, b, x, 1e-5) <= 1e-3).all()
    torch.testing.assert_close(objective(A, b, x, 1e-5), objective(A, b, other, 1e-5), rtol=1e-5, atol=0)
    # Near basis pursuit: about as many entries as equations.
    assert ((x != 0).sum(dim=1) <= 8).all()
    assert ((torch.einsum("pmn,pn->pm", A, x) - b).norm(dim=1) < 0.1 * b.norm(dim=1)).all()


def test_the_largest_penalty_gives_zero_and_padding_stays_zero() -> None:
    A, b = problems(14, scale=1.0)
    largest = float(torch.einsum("pmn,pm->pn", A, b).abs().max())
    assert not recover(A, b, 1.001 * largest).any()
    padded = torch.cat([A, torch.zeros(4, 7, 5, dtype=torch.float64)], dim=2)
    x = recover(padded, b, 0.02, tolerance=1e-6)
    assert not x[:, 14:].any()
    torch.testing.assert_close(x[:, :14], recover(A, b, 0.02, tolerance=1e-6), atol=1e-6, rtol=1e-5)


def test_momentum_and_continuation_need_fewer_iterations() -> None:
    A, b = problems(14, scale=0.1)
    with pytest.raises(ConvergenceError, match=r"a violation of .* of its penalty 0\.0001, not 0\.001; allow more"):
        ista(A, b, 1e-4, iterations=8000)
    with pytest.raises(ConvergenceError):
        fista(A, b, 1e-5, iterations=8000)
    recover(A, b, 1e-5, iterations=8000)


def test_problems_that_do_not_fit_are_refused() -> None:
    A, b = problems(14)
    for arguments in ((A[0], b[0], 1e-5), (A, b[:, :3], 1e-5), (A, b, 0.0)):
        for solve in (ista, fista, recover):
            with pytest.raises(
                ConfigError, match=r"expected \(problems, m, n\), \(problems, m\) and a positive number"
            ):
                solve(*arguments)
