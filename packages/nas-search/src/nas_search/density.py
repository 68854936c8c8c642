"""The probability density of data near the manifold of a decoder.

Pidhorskyi, Almohsen and Doretto, "Generative Probabilistic Novelty Detection with Adversarial Autoencoders", NeurIPS
2018; thesis, Lemma 2. Nothing here knows of architectures.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from nas_search.errors import ConfigError

__all__ = ["Distribution", "Gaussian", "log_sphere", "log_stretch", "manifold_log_density", "normal_residual"]


class Distribution(Protocol):
    """What has a density, such as `Gaussian` and those of ``torch.distributions.Independent``."""

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density: ``(..., coordinates)`` to ``(...)``."""
        ...


@dataclass(frozen=True)
class Gaussian:
    """Independent Gaussians, one for each coordinate.

    Args:
        mean: ``(coordinates,)``.
        deviation: ``(coordinates,)``, positive.
    """

    mean: Tensor
    deviation: Tensor

    @staticmethod
    def fitted(samples: Tensor, least: float) -> "Gaussian":
        """By mean and standard deviation of samples ``(n, coordinates)``; no deviation is below `least`.

        Raises:
            ConfigError: there are no samples.
        """
        if not len(samples):
            raise ConfigError("a Gaussian is fitted to 0 samples; expected 1 or more.")
        return Gaussian(samples.mean(dim=0), samples.std(dim=0, correction=0).clamp(min=least))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density, summed over the coordinates: ``(..., coordinates)`` to ``(...)``."""
        standard = (value - self.mean) / self.deviation
        return -(0.5 * standard.square() + self.deviation.log() + 0.5 * math.log(2 * math.pi)).sum(dim=-1)


def manifold_log_density(
    point: Tensor, stretch: Tensor, radius: Tensor, codimension: int, points: Distribution, radii: Distribution
) -> Tensor:
    """``log p(x)`` of data ``x = D(point) + noise``, the noise normal to the manifold ``D(R^n)`` and alike in all directions.

    ``log p(point) - log |det S| + log(Gamma(d / 2) / (2 pi^(d/2) radius^(d-1))) + log p(radius)`` with `S` the singular
    values of the decoder's Jacobian and ``d = m - n``, the codimension (thesis, Eq. 4.10).

    Args:
        point: the latent point, ``(..., n)``.
        stretch: ``log |det S|`` there, ``(...)``; see `log_stretch`.
        radius: how far `x` is from the manifold, ``(...)``, positive; see `normal_residual`.
        codimension: d, 1 or more.
        points: the distribution of latent points.
        radii: the distribution of the radius.

    Differs from the paper:
        1. The power of pi in the sphere's area is ``d / 2``, as in the proof (Eq. A.11); Eq. 4.10 prints ``(d - 1) / 2``.
        2. The sphere's area divides the density, as in Eq. 4.10; Eq. 4.11 prints it inverted.

    Returns:
        ``(...)``.

    Raises:
        ConfigError: the manifold is not of a smaller dimension than the data.
    """
    return points.log_prob(point) - stretch - log_sphere(codimension, radius) + radii.log_prob(radius[..., None])


def log_sphere(dimension: int, radius: Tensor) -> Tensor:
    """The logarithm of the area ``2 pi^(d/2) radius^(d-1) / Gamma(d / 2)`` of a sphere in d dimensions.

    Example:
        >>> round(float(log_sphere(3, torch.tensor(1.0)).exp() / math.pi), 4)  # 4 pi r^2
        4.0

    Raises:
        ConfigError: a dimension below 1.
    """
    if dimension < 1:
        raise ConfigError(
            f"the codimension is {dimension}; the density needs data of a higher dimension than that of the latent "
            "points: give the autoencoder fewer latent coordinates."
        )
    constant = math.log(2) + dimension / 2 * math.log(math.pi) - math.lgamma(dimension / 2)
    return constant + (dimension - 1) * radius.log()


def log_stretch(jacobian: Tensor, floor: float = 0.0) -> Tensor:
    """``log |det S| = 1/2 log det(J^T J + floor^2 I)``: by how much a decoder stretches volumes.

    Args:
        jacobian: ``(..., m, n)``; float64, if its singular values differ by many magnitudes.
        floor: below which a singular value hardly counts: a decoder that is saturated has some that are 0.

    Returns:
        ``(...)``.
    """
    return 0.5 * _gram(jacobian, floor).logdet()


def normal_residual(residual: Tensor, jacobian: Tensor, floor: float = 0.0) -> Tensor:
    """The component of a residual ``x - D(point)`` that is normal to the tangent space, ``U_perp U_perp^T`` times it.

    Args:
        residual: ``(..., m)``.
        jacobian: ``(..., m, n)``.
        floor: directions in which the decoder stretches by less are hardly taken for tangents.

    Returns:
        ``(..., m)``.
    """
    inner = jacobian.mT @ residual[..., None]
    tangent = jacobian @ torch.linalg.solve(_gram(jacobian, floor), inner)
    return residual - tangent[..., 0]


def _gram(jacobian: Tensor, floor: float) -> Tensor:
    ridge = floor**2 * torch.eye(jacobian.shape[-1], dtype=jacobian.dtype, device=jacobian.device)
    return jacobian.mT @ jacobian + ridge
