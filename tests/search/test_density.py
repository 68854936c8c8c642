"""The density of Lemma 2 against distributions that are known: those of a linear decoder."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from nas_search import ConfigError
from nas_search.density import Gaussian, log_sphere, log_stretch, manifold_log_density, normal_residual

M, N = 7, 3


@dataclass(frozen=True)
class Chi:
    """The norm of a Gaussian vector of `dimension` coordinates of the same deviation."""

    dimension: int
    deviation: float

    def log_prob(self, value: Tensor) -> Tensor:
        d, r = self.dimension, value[..., 0] / self.deviation
        constant = (d / 2 - 1) * math.log(2) + math.lgamma(d / 2) + math.log(self.deviation)
        return (d - 1) * r.log() - r.square() / 2 - constant


def linear(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(M, N, generator=generator, dtype=torch.float64),
        torch.randn(M, generator=generator, dtype=torch.float64),
        torch.randn(50, M, generator=generator, dtype=torch.float64),
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_density_near_a_linear_manifold_is_a_gaussian(seed: int) -> None:
    """``x = A z + b + noise`` with the noise normal to the span of A: one Gaussian in all m dimensions."""
    matrix, offset, data = linear(seed)
    points = Gaussian(torch.tensor([0.5, -1.0, 2.0]).double(), torch.tensor([0.3, 1.0, 2.0]).double())
    normal = torch.linalg.svd(matrix, full_matrices=True).U[:, N:]
    covariance = matrix @ points.deviation.square().diag() @ matrix.T + 0.6**2 * normal @ normal.T
    known = MultivariateNormal(offset + matrix @ points.mean, covariance).log_prob(data)

    point = torch.linalg.lstsq(matrix, (data - offset).T).solution.T
    residual = data - offset - point @ matrix.T
    radius = normal_residual(residual, matrix).norm(dim=1)
    found = manifold_log_density(point, log_stretch(matrix), radius, M - N, points, Chi(M - N, 0.6))
    torch.testing.assert_close(found, known, rtol=1e-10, atol=1e-10)


def test_a_decoder_with_a_curvature_is_one_with_the_tangent_at_the_point() -> None:
    """The change of variables of a scalar decoder on the line into the plane, whose arc length is known."""
    point = torch.tensor([0.7], dtype=torch.float64)
    jacobian = torch.stack([torch.ones(1), 2 * point]).to(point)  # z -> (z, z^2)
    assert log_stretch(jacobian).item() == pytest.approx(0.5 * math.log(1 + 4 * 0.7**2), rel=1e-12)


def test_the_stretch_and_the_normal_are_those_of_the_singular_values() -> None:
    matrix, _, data = linear()
    parts = torch.linalg.svd(matrix, full_matrices=True)
    torch.testing.assert_close(log_stretch(matrix), parts.S.log().sum())
    normal = parts.U[:, N:]
    torch.testing.assert_close(normal_residual(data[0], matrix), normal @ (normal.T @ data[0]))
    torch.testing.assert_close(normal_residual(data[0], matrix).norm(), (normal.T @ data[0]).norm())


def test_a_decoder_that_is_constant_in_a_direction_has_a_finite_stretch_with_a_floor() -> None:
    matrix = torch.zeros(M, N, dtype=torch.float64)
    matrix[0, 0] = 1.0
    assert log_stretch(matrix).item() == -math.inf
    assert log_stretch(matrix, 1e-6).item() == pytest.approx(2 * math.log(1e-6), abs=1e-9)
    residual = torch.ones(M, dtype=torch.float64)
    assert normal_residual(residual, matrix, 1e-6).square().sum().item() == pytest.approx(M - 1)


def test_spheres_have_the_areas_of_school() -> None:
    radius = torch.tensor([0.5, 2.0], dtype=torch.float64)
    for dimension, area in ((1, 2 * radius**0), (2, 2 * math.pi * radius), (3, 4 * math.pi * radius**2)):
        torch.testing.assert_close(log_sphere(dimension, radius).exp(), area)
    torch.testing.assert_close(log_sphere(4, radius).exp(), 2 * math.pi**2 * radius**3)
    with pytest.raises(ConfigError, match="codimension is 0; the density needs data of a higher dimension"):
        log_sphere(0, radius)


def test_a_fitted_gaussian_has_mean_and_deviation_of_the_samples_and_no_less_than_the_least() -> None:
    samples = torch.tensor([[1.0, 4.0], [3.0, 4.0]], dtype=torch.float64)
    found = Gaussian.fitted(samples, 0.1)
    assert (found.mean.tolist(), found.deviation.tolist()) == ([2.0, 4.0], [1.0, 0.1])
    value = torch.tensor([[0.0, 4.2], [2.0, 4.0]], dtype=torch.float64)
    expected = Normal(found.mean, found.deviation).log_prob(value).sum(dim=1)
    torch.testing.assert_close(found.log_prob(value), expected)
    with pytest.raises(ConfigError, match="fitted to 0 samples"):
        Gaussian.fitted(samples[:0], 0.1)
