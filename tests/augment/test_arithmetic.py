"""Floating-point arithmetic that stands for whole numbers, against whole numbers."""

import pytest
import torch

from nas_augment import arithmetic
from nas_augment.operations import CODES


def test_every_color_has_the_luminance_of_the_integer_formula() -> None:
    green, blue = torch.arange(256)[:, None], torch.arange(256)
    for red in range(256):
        expected = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
        planes = (torch.full((256, 256), red), green.expand(256, 256), blue.expand(256, 256))
        found = arithmetic.luminance(torch.stack(planes).to(torch.uint8)[None])
        assert torch.equal(found[0, 0], expected.float()), red


def test_every_sum_of_the_smoothing_is_rounded_as_whole_numbers_are() -> None:
    """Sharpness with factor 0 is the smooth image; the middle takes 5 parts and one neighbour each other part."""
    middle, others = torch.meshgrid(torch.arange(256), torch.arange(8 * 255 + 1), indexing="ij")
    middle, others = middle.flatten(), others.flatten()
    images = torch.empty(len(middle), 1, 3, 3, dtype=torch.uint8)
    around = images.view(-1, 9)
    rest = others.clone()
    for place in (0, 1, 2, 3, 5, 6, 7, 8):
        part = rest.clamp(max=255)
        around[:, place] = part.to(torch.uint8)
        rest -= part
    around[:, 4] = middle.to(torch.uint8)
    found = arithmetic.sharpened_middle(images, torch.zeros(len(middle), dtype=torch.float64)).flatten()
    total = 5 * middle + others
    assert torch.equal(found, ((2 * total + 13) // 26).to(torch.uint8))
    assert set(total.tolist()) == set(range(13 * 255 + 1))


def test_the_bits_of_posterize() -> None:
    mask = arithmetic.posterize_mask(torch.arange(9, dtype=torch.float64))
    assert mask.flatten().tolist() == [0, 0x80, 0xC0, 0xE0, 0xF0, 0xF8, 0xFC, 0xFE, 0xFF]


@pytest.mark.parametrize("columns", [1, -3, 20, -20])
def test_gathering_a_shift_moves_the_image_and_fills_with_black(columns: int) -> None:
    images = torch.randint(1, 256, (2, 3, 5, 7), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    code = torch.full((2,), CODES["TranslateX"])
    matrix = arithmetic.coefficients(code, torch.full((2,), float(columns), dtype=torch.float64), 5, 7)
    moved = arithmetic.gather(images, arithmetic.fixed_point(matrix))
    expected = torch.zeros_like(images)
    for x in range(7):
        if 0 <= x + columns < 7:
            expected[..., x] = images[..., x + columns]
    assert torch.equal(moved, expected)


def test_cutout_covers_nothing_without_a_size() -> None:
    mask = arithmetic.cutout_mask(torch.tensor([0.0, 2.0]).double(), torch.full((2, 2), 0.5), 6, 8)
    assert mask[0].count_nonzero() == 0
    # From 4 - 1 to 5 across and 3 - 1 to 4 down, both ends covered.
    assert mask[1, 0, 2:5, 3:6].eq(255).all()
    assert mask[1].count_nonzero() == 9
