"""A Gaussian kernel over places in a table of distances. Imported only where a process is fitted: gpytorch is slow to load."""

from collections.abc import Sequence
from typing import Any

import torch
from gpytorch.kernels import Kernel
from torch import Tensor

__all__ = ["DistanceKernel"]


class DistanceKernel(Kernel):  # type: ignore[misc]  # gpytorch is untyped
    """``exp(-d_ij^2 / (2 l^2))``, where i and j are what the only column of the inputs holds.

    Histograms have thousands of entries; their distances are computed once here, and not for every length scale and every
    pair of candidate and observation again.

    Args:
        squared: the squared distances, ``(n, n)``.
        column: of the inputs.
    """

    has_lengthscale = True

    def __init__(self, squared: Tensor, columns: Sequence[int]) -> None:
        super().__init__(active_dims=tuple(columns))
        self.register_buffer("squared", squared)

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **_: Any) -> Tensor:
        """The kernel of places ``(..., n, 1)`` and ``(..., m, 1)``, ``(..., n, m)``; of pairs of them with `diag`."""
        first, second = x1[..., 0].long(), x2[..., 0].long()
        if diag:
            distances = self.squared[first, second]
            return torch.exp(-0.5 * distances / self.lengthscale[..., 0].square())
        distances = self.squared[first[..., :, None], second[..., None, :]]
        return torch.exp(-0.5 * distances / self.lengthscale.square())
