"""The Nystroem approximation of the inverse Hessian."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nas_hypergrad.errors import NonFiniteError
from nas_hypergrad.inverse_hessian import Product
from nas_hypergrad.settings import check_count, check_positive
from nas_hypergrad.vectors import Vector

__all__ = ["Nystrom", "nystrom"]


@dataclass(frozen=True)
class Nystrom:
    """``(H_r + damping I)^-1`` with a low-rank ``H_r = (H Q) (Q' H Q)^+ (H Q)'`` (Hataya and Yamada, 2023).

    The columns of `Q` are `rank` orthonormal random directions. The directions are the same at every call, so that
    the estimator is a function; directions of negative curvature are left out of ``H_r``. It keeps `rank` vectors in
    memory, and pays where the Hessian has few large eigenvalues and is needed for many vectors or with noise.

    Args:
        rank: the number of products.
        damping: added to every eigenvalue. Directions outside the range of ``H_r`` have the eigenvalue 0 there: the vector's part
            in them is divided by the damping alone, so that it should be near the eigenvalues that are left out; the
            default is for Hessians with nearly none.
        seed: of the directions.

    Differs from the paper:
        1. Random orthonormal directions instead of random columns of `H`: the approximation does not depend on the
           basis, and is never worse in expectation.
    """

    rank: int
    damping: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("rank", self.rank, 1)
        check_positive("damping", self.damping)

    def __call__(self, product: Product, vector: Vector) -> Vector:
        """The damped low-rank inverse applied to `vector`.

        Raises:
            NonFiniteError: naming the first product that is NaN or infinite.
        """
        flat = torch.cat([value.flatten() for value in vector.values()])
        wide = flat.to(torch.promote_types(flat.dtype, torch.float32))
        directions = self._directions(wide)
        images = torch.stack([_flat(product(_like(column, vector))).to(wide) for column in directions.T], dim=1)
        bad = images.isfinite().all(0).logical_not().nonzero()
        if bad.numel():
            raise NonFiniteError(f"nystrom: the Hessian is NaN or infinite from product {int(bad[0]) + 1} on.")
        values, vectors = _eigenpairs(directions, images)
        inside = vectors.T @ wide
        # Split the vector first: 1 / damping must not magnify the rounding of what lies in the range.
        outside = wide - vectors @ inside
        outside = outside - vectors @ (vectors.T @ outside)  # and again: the first time leaves a rounding of `wide`
        return _like(vectors @ (inside / (values + self.damping)) + outside / self.damping, vector)

    def _directions(self, like: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        size = (like.numel(), min(self.rank, like.numel()))
        drawn = torch.randn(size, generator=generator, dtype=like.dtype, device="cpu").to(like.device)
        return torch.linalg.qr(drawn).Q


nystrom = Nystrom


def _eigenpairs(directions: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues ``(r,)`` and orthonormal eigenvectors ``(d, r)`` of the low-rank approximation."""
    core = directions.T @ images
    curvatures, rotation = torch.linalg.eigh((core + core.T) / 2)
    keep = curvatures > curvatures.abs().max() * curvatures.numel() * torch.finfo(curvatures.dtype).eps
    factor = images @ (rotation[:, keep] / curvatures[keep].sqrt())
    vectors, singular, _ = torch.linalg.svd(factor, full_matrices=False)
    return singular.square(), vectors


def _flat(vector: Vector) -> Tensor:
    return torch.cat([value.flatten() for value in vector.values()])


def _like(flat: Tensor, vector: Vector) -> Vector:
    parts = flat.split([value.numel() for value in vector.values()])
    return {
        name: part.reshape(value.shape).to(value.dtype)
        for (name, value), part in zip(vector.items(), parts, strict=True)
    }
