"""Eigenvalues and trace of a symmetric matrix that is known by its products with vectors alone."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["hutchinson", "lanczos"]


def lanczos(product: Callable[[Tensor], Tensor], start: Tensor, iterations: int) -> Tensor:
    """Ritz values of a symmetric matrix `A` (Lanczos, 1950), with full reorthogonalisation.

    The largest one approaches the largest eigenvalue from below, the smallest the smallest from above; with as many
    iterations as `A` has rows, and a start that is orthogonal to no eigenvector, they are its different eigenvalues.

    Args:
        product: ``v -> A v``, of vectors ``(n,)``.
        start: ``(n,)``, not zero.
        iterations: products that are taken; fewer if the Krylov space is exhausted before.

    Returns:
        The Ritz values in increasing order, ``(iterations,)`` or fewer, float64.

    Example:
        >>> matrix = torch.diag(torch.tensor([1.0, 3.0, -2.0]))
        >>> [round(value, 4) for value in lanczos(lambda v: matrix @ v, torch.ones(3), 3).tolist()]
        [-2.0, 1.0, 3.0]
    """
    # In float64, whatever the products are in: the basis must stay orthogonal.
    basis = [start.double() / start.double().norm()]
    diagonal: list[Tensor] = []
    off_diagonal: list[Tensor] = []
    for _ in range(min(iterations, start.numel())):
        image = product(basis[-1].to(start)).double()
        diagonal.append(image @ basis[-1])
        known = torch.stack(basis, dim=1)
        rest = image - known @ (known.T @ image)
        rest = rest - known @ (known.T @ rest)  # twice is enough (Parlett, 1980)
        length = rest.norm()
        if length <= 10 * torch.finfo(start.dtype).eps * image.norm():
            break
        off_diagonal.append(length)
        basis.append(rest / length)
    tridiagonal = torch.diag(torch.stack(diagonal))
    if len(diagonal) > 1:
        beside = torch.stack(off_diagonal[: len(diagonal) - 1])
        tridiagonal = tridiagonal + torch.diag(beside, 1) + torch.diag(beside, -1)
    return torch.linalg.eigvalsh(tridiagonal)


def hutchinson(product: Callable[[Tensor], Tensor], probes: Tensor) -> tuple[Tensor, Tensor]:
    """The trace of a matrix `A` as the mean of ``z' A z`` over probes of random signs (Hutchinson, 1990).

    Args:
        product: ``v -> A v``, of vectors ``(n,)``.
        probes: ``(count, n)``, entries -1 and 1.

    Returns:
        The mean and its standard error, float64 scalars; the error of a single probe is not known, and NaN.
    """
    values = torch.stack([(probe.double() * product(probe).double()).sum() for probe in probes])
    error = values.std() / len(values) ** 0.5 if len(values) > 1 else torch.tensor(torch.nan, dtype=torch.float64)
    return values.mean(), error
