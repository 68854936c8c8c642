"""Motions against longhand places, and the clipping of polygons against simple cases and random points."""

import pytest
import torch
from torch import Tensor

from nas_augment import LearnablePolicy, Operation, OperationDraw, Space, fixed, preset
from nas_augment.exact import source
from nas_augment.geometry import Motion, area, bounds, clip, matrices, move_labels, move_points


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def square(*corners: float) -> Tensor:
    left, top, right, bottom = corners
    places = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return torch.tensor(places, dtype=torch.float64)


def test_forward_is_the_inverse_of_the_inverse() -> None:
    inverse = torch.randn(50, 2, 3, generator=generator(), dtype=torch.float64)
    last = torch.tensor([0.0, 0.0, 1.0]).double().expand(50, 1, 3)
    expected = torch.linalg.inv(torch.cat((inverse, last), 1))
    torch.testing.assert_close(Motion(inverse).forward, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["fast_aa", "trivial_wide"])
def test_points_go_forward_where_pixels_come_from(name: str) -> None:
    """The middle of each pixel came from within half a pixel of the source that is gathered, step by step."""
    policy = LearnablePolicy(preset(name), before=(fixed.Crop(3), fixed.Flip()))
    height, width = 11, 14
    middles = torch.cartesian_prod(torch.arange(height), torch.arange(width)).flip(1) + 0.5
    for motion in policy.motions(policy.sample(200, generator=generator()), height, width):
        column, row = source(motion.inverse.flatten(1), height, width)
        came_from = torch.stack((column, row), -1).flatten(1, 2) + 0.5
        back = torch.cat((middles, torch.ones(len(middles), 1)), 1).double() @ motion.inverse.mT
        assert (back - came_from).abs().max() <= 0.5 + 1e-3
        torch.testing.assert_close(move_points(back, motion), middles.double().expand_as(back), rtol=0, atol=1e-9)


def test_matrices_are_those_of_the_steps_and_of_all_together() -> None:
    space = Space("warps", (Operation("TranslateX", 0, 4, "pixels"), Operation("Rotate", 0, 90, "degrees")), 2)
    policy = LearnablePolicy(space, before=(fixed.Flip(1.0),))
    drawn = policy.sample(1, generator=generator())
    op = torch.tensor([[0, 1]])
    draw = OperationDraw(space, op, op >= 0, op * 0 + 1, torch.ones(1, 2, dtype=torch.int8), torch.zeros(1, 2, 2))
    inverse, forward = policy.matrices(type(drawn)(drawn.draws, 1, draw), 6, 10)
    assert inverse.shape == (1, 3, 2, 3)
    assert inverse[0, 0].tolist() == [[-1, 0, 10], [0, 1, 0]]
    assert inverse[0, 1].tolist() == [[1, 0, 4], [0, 1, 0]]
    # (2, 1) is mirrored to (8, 1), shifted to (4, 1), and turned to the left about (5, 3) to (3, 4).
    torch.testing.assert_close(
        forward[0] @ torch.tensor([2.0, 1.0, 1.0]).double(), torch.tensor([3.0, 4.0, 1.0]).double()
    )


def test_no_step_is_the_identity() -> None:
    inverse, forward = matrices((), 2)
    assert inverse.shape == (2, 0, 2, 3)
    assert torch.equal(forward, torch.eye(3).double().expand(2, 3, 3))


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        ((1, 1, 3, 2), (1, 1, 3, 2)),
        ((-2, 1, 3, 9), (0, 1, 3, 4)),
        ((-5, -5, 50, 50), (0, 0, 6, 4)),
        ((6, 0, 9, 4), (6, 0, 6, 4)),
    ],
)
def test_squares_are_cut_to_the_frame(corners: tuple[float, ...], expected: tuple[float, ...]) -> None:
    assert bounds(clip(square(*corners), 4, 6)).tolist() == list(expected)


@pytest.mark.parametrize("corners", [(7, 1, 9, 2), (-4, 1, -1, 2), (1, 5, 2, 6), (-9, -9, -8, -8), (1, -3, 2, -1)])
def test_what_is_outside_becomes_a_point_and_stays_one(corners: tuple[float, ...]) -> None:
    lost = clip(square(*corners), 4, 6)
    assert float(area(lost)) == 0
    assert (lost == lost[:1]).all()
    back = clip(lost * 0.1 + 2, 4, 6)
    assert float(area(back)) == 0


def test_a_corner_is_cut_off() -> None:
    diamond = torch.tensor([[0.0, -1.0], [2.0, 1.0], [0.0, 3.0], [-2.0, 1.0]]).double()
    # The right half, without its tip above.
    assert float(area(clip(diamond, 4, 6))) == pytest.approx(4 - 0.5)


def test_the_area_of_clipped_polygons_is_the_share_of_random_points_that_is_inside() -> None:
    """Random triangles, moved and cut three times; a point counts if it is in the frame after every motion."""
    batch, height, width = 40, 5, 7
    triangles = torch.rand(batch, 3, 2, generator=generator(1), dtype=torch.float64) * 5
    weights = torch.rand(batch, 20000, 3, generator=generator(2), dtype=torch.float64).log()
    points = (weights / weights.sum(-1, keepdim=True)) @ triangles  # uniform in each triangle
    polygons, whole = triangles[:, None], area(triangles)
    inside = torch.ones(batch, 20000, dtype=torch.bool)
    for seed in range(3):
        turn = torch.eye(2, 3, dtype=torch.float64) + 0.4 * torch.randn(
            batch, 2, 3, generator=generator(seed + 3), dtype=torch.float64
        )
        motion = Motion(turn)
        polygons = clip(move_points(polygons, motion), height, width)
        points = move_points(points, motion)
        inside &= ((points >= 0) & (points <= torch.tensor([width, height]))).all(-1)
        whole = whole * torch.linalg.det(motion.forward).abs()
    share = area(polygons)[:, 0] / whole
    assert 0.1 < share.mean() < 0.9
    torch.testing.assert_close(inside.double().mean(1), share, rtol=0, atol=0.02)


def test_labels_move_with_fill_and_cover() -> None:
    labels = torch.arange(12).view(1, 1, 3, 4)
    shift = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]]).double()
    motion = Motion(shift, torch.tensor([[0.0, 1.0, 2.0, 3.0]]))
    assert move_labels(labels, motion, -1)[0, 0].tolist() == [[1, 2, 3, -1], [5, 6, 7, -1], [9, 10, 11, -1]]
    assert move_labels(labels, motion, -1, cover=True)[0, 0].tolist() == [
        [1, 2, 3, -1],
        [-1, -1, 7, -1],
        [-1, -1, 11, -1],
    ]
    assert move_labels(labels[:0], Motion(shift[:0]), -1).shape == (0, 1, 3, 4)
