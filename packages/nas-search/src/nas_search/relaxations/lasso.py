"""Sparse recovery: the LASSO by iterative shrinkage and thresholding, many small problems at once.

``x* = argmin_x |A x - b|^2 / 2 + penalty |x|_1``. Optimal is what satisfies ``|A^T (A x - b)| <= penalty`` in every entry,
with equality and the opposite sign where x is not zero; `violation` measures by how much a point misses this.
"""

import torch
from torch import Tensor

from nas_search.errors import ConfigError, ConvergenceError

__all__ = ["fista", "ista", "recover", "soft_threshold", "violation"]


def soft_threshold(values: Tensor, threshold: Tensor | float) -> Tensor:
    """``sign(v) max(|v| - threshold, 0)``, the proximal operator of ``threshold |v|_1``."""
    return values.sign() * (values.abs() - threshold).clamp_min(0)


def ista(
    A: Tensor,
    b: Tensor,
    penalty: float,
    *,
    tolerance: float = 1e-3,
    iterations: int = 100_000,
    start: Tensor | None = None,
) -> Tensor:
    """``x <- soft_threshold(x - A^T (A x - b) / L, penalty / L)`` with L the largest eigenvalue of ``A^T A``.

    Daubechies, Defrise and De Mol, 2004. The objective falls in every iteration, as ``1 / k``; `fista` needs fewer.

    Args:
        A: ``(problems, m, n)`` float64.
        b: ``(problems, m)``.
        penalty: weight of the 1-norm, positive.
        tolerance: the violation of the optimality conditions that is accepted, as a part of the penalty.
        iterations: the most that are made.
        start: where to begin, ``(problems, n)``; zeros when left out.

    Returns:
        ``(problems, n)``.

    Raises:
        ConfigError: a penalty that is not positive, or shapes that do not fit.
        ConvergenceError: the tolerance was not reached.
    """
    x, step = _start(A, b, penalty, start)
    for iteration in range(iterations):
        if iteration % _LOOK == 0 and _optimal(A, b, x, penalty, tolerance):
            return x
        x = soft_threshold(x - step * _gradient(A, b, x), step * penalty)
    return _checked(A, b, x, penalty, tolerance)


def fista(
    A: Tensor,
    b: Tensor,
    penalty: float,
    *,
    tolerance: float = 1e-3,
    iterations: int = 100_000,
    start: Tensor | None = None,
) -> Tensor:
    """`ista` with momentum (Beck and Teboulle, 2009), which starts anew where the objective would rise.

    The objective falls as ``1 / k^2``; with the restarts of O'Donoghue and Candes (2015) at a linear rate in the end.
    Arguments, result and errors are those of `ista`.
    """
    x, step = _start(A, b, penalty, start)
    ahead, momentum = x, torch.ones_like(x[:, :1])
    for iteration in range(iterations):
        if iteration % _LOOK == 0 and _optimal(A, b, x, penalty, tolerance):
            return x
        following = soft_threshold(ahead - step * _gradient(A, b, ahead), step * penalty)
        turned = ((ahead - following) * (following - x)).sum(dim=1, keepdim=True) > 0
        momentum = torch.where(turned, 1.0, momentum)
        longer = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
        ahead = following + torch.where(turned, 0.0, (momentum - 1) / longer) * (following - x)
        x, momentum = following, longer
    return _checked(A, b, x, penalty, tolerance)


def recover(
    A: Tensor, b: Tensor, penalty: float, *, tolerance: float = 1e-3, iterations: int = 100_000, factor: float = 0.1
) -> Tensor:
    """`fista` by continuation: for penalties that fall to the given one, each from the solution before.

    Where the penalty is small against ``A^T b`` this takes a fraction of the iterations (Hale, Yin and Zhang, "Fixed-Point
    Continuation", 2008).

    Args:
        A: ``(problems, m, n)`` float64.
        b: ``(problems, m)``.
        penalty: weight of the 1-norm, positive.
        tolerance: the violation of the optimality conditions that is accepted, as a part of the penalty.
        iterations: the most that are made for each penalty.
        factor: of one penalty to the next.

    Returns:
        ``(problems, n)``.

    Raises:
        ConfigError, ConvergenceError: as `ista`.
    """
    x, _ = _start(A, b, penalty, None)
    current = max(penalty, float(torch.einsum("pmn,pm->pn", A, b).abs().max()))
    while current > penalty:
        current = max(penalty, factor * current)
        x = fista(A, b, current, tolerance=tolerance, iterations=iterations, start=x)
    return x


def violation(A: Tensor, b: Tensor, x: Tensor, penalty: float) -> Tensor:
    """By how much x misses the optimality conditions, as a part of the penalty; the worst entry, ``(problems,)``."""
    gradient = _gradient(A, b, x)
    zero = (gradient.abs() - penalty).clamp_min(0)
    return torch.where(x == 0, zero, (gradient + penalty * x.sign()).abs()).amax(dim=1) / penalty


_LOOK = 50
"""Iterations between two looks at the optimality conditions, which cost as much as one."""


def _gradient(A: Tensor, b: Tensor, x: Tensor) -> Tensor:
    residual = torch.einsum("pmn,pn->pm", A, x) - b
    return torch.einsum("pmn,pm->pn", A, residual)


def _start(A: Tensor, b: Tensor, penalty: float, start: Tensor | None) -> tuple[Tensor, Tensor]:
    if A.ndim != 3 or b.shape != A.shape[:2] or penalty <= 0:
        raise ConfigError(
            f"A has shape {tuple(A.shape)}, b {tuple(b.shape)} and the penalty is {penalty}; expected (problems, m, n), "
            "(problems, m) and a positive number."
        )
    largest = torch.linalg.eigvalsh(A @ A.mT)[:, -1:]
    return torch.zeros_like(A[:, 0]) if start is None else start, 1 / largest


def _optimal(A: Tensor, b: Tensor, x: Tensor, penalty: float, tolerance: float) -> bool:
    return bool((violation(A, b, x, penalty) <= tolerance).all())


def _checked(A: Tensor, b: Tensor, x: Tensor, penalty: float, tolerance: float) -> Tensor:
    if not _optimal(A, b, x, penalty, tolerance):
        worst = float(violation(A, b, x, penalty).max())
        raise ConvergenceError(
            f"a sparse recovery came to a violation of {worst:.1e} of its penalty {penalty:g}, not {tolerance:g}; allow more "
            "iterations, or raise the tolerance or the penalty."
        )
    return x
