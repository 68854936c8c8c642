"""Where the steps of a policy move the pixels of an image, and how label maps, points and polygons follow.

Places are in pixels from the top left corner of the frame, as (x, y): the pixel of column 3 and row 0 covers 3 to 4 and
0 to 1, and its middle is (3.5, 0.5).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from nas_augment.exact import source

__all__ = ["Matrices", "Motion", "area", "bounds", "clip", "is_covered", "matrices", "move_labels", "move_points"]

# What rounding may put outside the frame, in pixels, and still counts as inside.
_SLACK = 1e-9


@dataclass(frozen=True, eq=False)
class Motion:
    """What one step does to the places of each image.

    Args:
        inverse: rows (a, b, c) and (d, e, f): what ends at (x, y) comes from (a x + b y + c, d x + e y + f),
            ``(batch, 2, 3)`` float64.
        covered: what is painted over, as (left, top, right, bottom), right and bottom exclusive, ``(batch, 4)``; None
            where nothing is.
    """

    inverse: Tensor
    covered: Tensor | None = None

    @property
    def forward(self) -> Tensor:
        """Where places go, ``(batch, 3, 3)``, the inverse of `inverse`."""
        (a, b, c), (d, e, f) = (row.unbind(1) for row in self.inverse.unbind(1))
        zero, one = torch.zeros_like(a), torch.ones_like(a)
        # The adjoint over the determinant rather than a solver: whole numbers stay whole.
        rows = (e, -b, b * f - c * e, -d, a, c * d - a * f)
        top = torch.stack(rows, 1).view(-1, 2, 3) / (a * e - b * d)[:, None, None]
        return torch.cat((top, torch.stack((zero, zero, one), 1)[:, None]), 1)


class Matrices(NamedTuple):
    """The geometry of a sample.

    Attributes:
        inverse: of each step in order, ``(batch, steps, 2, 3)`` float64; see `Motion`. Nearest neighbours are taken, and
            what is outside is lost, after every step: the product of the steps is not the same.
        forward: of all steps together, in homogeneous coordinates, ``(batch, 3, 3)`` float64.
    """

    inverse: Tensor
    forward: Tensor


def matrices(motions: Sequence[Motion], batch: int) -> Matrices:
    """The motions of `batch` images as tensors."""
    forward = torch.eye(3, dtype=torch.float64).expand(batch, 3, 3)
    for motion in motions:
        forward = motion.forward @ forward.to(motion.inverse.device)
    steps = [motion.inverse for motion in motions]
    inverse = torch.stack(steps, 1) if steps else torch.zeros(batch, 0, 2, 3, dtype=torch.float64)
    return Matrices(inverse, forward)


def move_labels(labels: Tensor, motion: Motion, fill: int, *, cover: bool = False) -> Tensor:
    """Label maps moved as the pixels of the images are, by the same whole numbers.

    Args:
        labels: ``(batch, channels, height, width)`` whole numbers.
        motion: of as many images.
        fill: what comes from outside the frame.
        cover: whether it also replaces what is painted over.
    """
    batch, channels, height, width = labels.shape
    column, row = source(motion.inverse.flatten(1).to(labels.device), height, width)
    lost = (column < 0) | (column >= width) | (row < 0) | (row >= height)
    index = (row * width + column).masked_fill(lost, 0).long().view(batch, 1, height * width)
    moved = labels.reshape(batch, channels, height * width).gather(2, index.expand(-1, channels, -1))
    if cover and motion.covered is not None:
        x, y = torch.arange(width, device=labels.device) + 0.5, torch.arange(height, device=labels.device) + 0.5
        lost = lost | _covers(motion.covered.to(labels.device), x, y[:, None])
    return moved.view(labels.shape).masked_fill(lost[:, None], fill)


def move_points(points: Tensor, motion: Motion) -> Tensor:
    """Where points ``(batch, ..., 2)`` go."""
    forward = motion.forward.to(points)
    forward = forward.view(-1, *[1] * (points.ndim - 2), 3, 3)
    return (forward[..., :2, :2] @ points[..., None])[..., 0] + forward[..., :2, 2]


def is_covered(points: Tensor, motion: Motion) -> Tensor:
    """Whether points ``(batch, n, 2)`` are painted over, ``(batch, n)`` bool."""
    if motion.covered is None:
        return torch.zeros(points.shape[:-1], dtype=torch.bool, device=points.device)
    covered = motion.covered.to(points)
    return _covers(covered, points[..., 0, None], points[..., 1, None])[..., 0]


def _covers(covered: Tensor, x: Tensor, y: Tensor) -> Tensor:
    left, top, right, bottom = (each[:, None, None] for each in covered.unbind(1))
    return (x >= left) & (x < right) & (y >= top) & (y < bottom)


def clip(polygons: Tensor, height: int, width: int) -> Tensor:
    """The parts of convex polygons that are in the frame (Sutherland and Hodgman, 1974).

    Args:
        polygons: corners in order, repeats allowed, ``(..., corners, 2)``.
        height: of the frame.
        width: of the frame.

    Returns:
        ``(..., corners + 4, 2)`` with repeats; a polygon that is outside altogether has become one point.
    """
    for axis, size in ((0, width), (1, height)):
        polygons = _cut(polygons, polygons[..., axis])
        polygons = _cut(polygons, size - polygons[..., axis])
    return polygons


def _cut(polygons: Tensor, depth: Tensor) -> Tensor:
    """The parts where `depth` ``(..., corners)``, which is affine in the place, is not negative; one corner more."""
    following, beyond = polygons.roll(-1, -2), depth.roll(-1, -1)
    inside = depth >= -_SLACK
    crosses = inside != (beyond >= -_SLACK)
    share = torch.where(crosses, depth / torch.where(crosses, depth - beyond, 1.0), 0.0).clamp(0, 1)
    crossings = polygons + share[..., None] * (following - polygons)
    # Each corner that is inside, then the point where its edge crosses; a convex polygon has at most one corner more.
    candidates = torch.stack((polygons, crossings), -2).flatten(-3, -2)
    kept = torch.stack((inside, crosses), -1).flatten(-2)
    order = kept.to(torch.uint8).argsort(dim=-1, descending=True, stable=True)[..., : polygons.shape[-2] + 1]
    corners = candidates.gather(-2, order[..., None].expand(*order.shape, 2))
    return torch.where(kept.gather(-1, order)[..., None], corners, corners[..., :1, :])


def area(polygons: Tensor) -> Tensor:
    """Of polygons ``(..., corners, 2)``."""
    following = polygons.roll(-1, -2)
    return (polygons[..., 0] * following[..., 1] - polygons[..., 1] * following[..., 0]).sum(-1).abs() / 2


def bounds(polygons: Tensor) -> Tensor:
    """The smallest box around polygons ``(..., corners, 2)``, as (left, top, right, bottom), ``(..., 4)``."""
    return torch.cat((polygons.amin(-2), polygons.amax(-2)), -1)
