"""Pillow's arithmetic on uint8 tensors, bit for bit; both backends of `exact` are made of it.

The rules: source pixels by 16.16 fixed point, ``floor((c + a x + b y) 2^16 + 1/2) >> 16``; grey as
``(19595 R + 38470 G + 7471 B + 2^15) >> 16``; blends in float32, clamped and truncated; the smoothing of sharpness
rounded to whole numbers, with the border copied; tables of AutoContrast in float64.

Work is done in place where it can be, on tensors of our own: a fresh tensor of a batch costs as much as the pass that
fills it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_augment.operations import CODES

__all__ = [
    "CUTOUT_FILL", "CUTOUT_GREY", "autocontrast_table", "blend", "brightness_table", "coefficients", "contrast_table",
    "cutout_bits", "cutout_box", "cutout_mask", "equalize_table", "fixed_point", "gather", "lookup", "luminance", "middle",
    "posterize_mask", "sharpened_middle", "solarize_table", "source",
]  # fmt: skip

CUTOUT_FILL = (125, 123, 114)
"""What Cutout covers with (Fast AutoAugment)."""

CUTOUT_GREY = (19595 * CUTOUT_FILL[0] + 38470 * CUTOUT_FILL[1] + 7471 * CUTOUT_FILL[2] + 2**15) >> 16
"""Its luminance, which grey images get."""


def coefficients(code: Tensor, value: Tensor, height: int, width: int) -> Tensor:
    """Pillow's affine coefficients (a, b, c, d, e, f): pixel (x, y) comes from (a x + b y + c, d x + e y + f).

    Coordinates are those of pixel edges; operations that move nothing get the identity.

    Returns:
        ``(batch, 6)`` float64.
    """
    # Numbers are made where they are used: a tensor of a list would be copied from the host, which waits for a GPU.
    moves = torch.arange(CODES["ShearX"], CODES["Rotate"] + 1, device=code.device).unsqueeze(1)
    shear_x, shear_y, translate_x, translate_y, rotate = torch.where(code == moves, value, 0.0).unbind()
    # Pillow's rotate: radians of the negated angle, rounded to 15 decimals, about the middle of the image.
    angle = -torch.deg2rad(torch.remainder(rotate, 360.0))
    cosine, sine = torch.round(torch.cos(angle), decimals=15), torch.round(torch.sin(angle), decimals=15)
    middle_x, middle_y = width / 2.0, height / 2.0
    c = cosine * -middle_x + sine * -middle_y + middle_x
    f = sine * middle_x + cosine * -middle_y + middle_y
    # A shift is rounded as a whole: without rotation or shear, Pillow does not use fixed point.
    shift_x, shift_y = torch.floor(translate_x + 0.5), torch.floor(translate_y + 0.5)
    return torch.stack((cosine, sine + shear_x, c + shift_x, shear_y - sine, cosine, f + shift_y), dim=1)


def fixed_point(matrix: Tensor) -> Tensor:
    """Coefficients for the middle of each pixel in 16.16 fixed point, ``(batch, 2, 3)`` int32: a, b, c and d, e, f."""
    rows = matrix.reshape(-1, 2, 3)
    along_x, along_y, shift = rows.unbind(2)
    # Halves are exact, so that it does not matter whether they are rounded before they are added.
    middle_of_first = shift.add(along_x, alpha=0.5).add_(along_y, alpha=0.5)
    rows = torch.stack((along_x, along_y, middle_of_first), dim=2)
    return rows.mul_(65536.0).add_(0.5).floor_().to(torch.int32)


def source(matrix: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The source column and row of every pixel, ``(batch, height, width)`` int32, in Pillow's fixed point."""
    return _source(fixed_point(matrix), height, width)


def _source(fixed: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    x = torch.arange(width, device=fixed.device, dtype=torch.int32)
    y = torch.arange(height, device=fixed.device, dtype=torch.int32)
    by_column, by_row, shift = fixed.unsqueeze(3).unbind(2)  # (batch, 2, 1) each
    places = (by_column * x).unsqueeze(2) + (by_row * y).add_(shift).unsqueeze(3)
    column, row = places.bitwise_right_shift_(16).unbind(1)
    return column, row


def gather(images: Tensor, fixed: Tensor) -> Tensor:
    """Move pixels by nearest neighbour with `fixed_point` coefficients; what comes from outside is black."""
    batch, channels, height, width = images.shape
    # With a black frame of one pixel, two clamps stand for the test whether a source lies outside.
    column, row = _source(fixed, height, width)
    column.clamp_(-1, width)
    index = row.clamp_(-1, height).mul_(width + 2).add_(column).add_(width + 3)
    index = index.view(batch, 1, height * width).long().expand(batch, channels, -1)
    return F.pad(images, (1, 1, 1, 1)).reshape(batch, channels, -1).gather(2, index).view(images.shape)


def lookup(images: Tensor, table: Tensor) -> Tensor:
    """Each pixel replaced by the entry of its image's and channel's table ``(batch, channels, 256)``."""
    return table.gather(2, images.flatten(2).long()).view(images.shape)


def solarize_table(threshold: Tensor) -> Tensor:
    """Levels from the threshold on inverted, ``(batch, 1, 256)`` uint8."""
    level = _levels(threshold)
    return torch.where(level < threshold.view(-1, 1, 1), level, 255 - level).to(torch.uint8)


def posterize_mask(bits: Tensor) -> Tensor:
    """The upper `bits` of a byte set, ``(batch, 1, 1, 1)`` uint8."""
    return torch.bitwise_right_shift(0xFF00, bits.long()).to(torch.uint8).view(-1, 1, 1, 1)


def brightness_table(factor: Tensor) -> Tensor:
    """Blend towards black, ``(batch, 1, 256)`` uint8."""
    return blend(torch.zeros_like(factor, dtype=torch.float32).view(-1, 1, 1), _levels(factor), factor)


def contrast_table(images: Tensor, value: Tensor) -> Tensor:
    """Blend towards the rounded mean of the grey image, ``(batch, 1, 256)`` uint8."""
    grey = luminance(images) if images.shape[1] == 3 else images
    total = grey.sum((2, 3), dtype=torch.float64).long()  # exact: whole numbers
    pixels = images.shape[2] * images.shape[3]
    mean = (2 * total + pixels) // (2 * pixels)  # int(mean + 0.5)
    return blend(mean.float().unsqueeze(2), _levels(images), value)


def autocontrast_table(images: Tensor) -> Tensor:
    """Stretch the range of each channel to 0 to 255; a constant channel stays. ``(batch, channels, 256)`` uint8."""
    level = _levels(images)
    wide = images.flatten(2).to(torch.int16)  # of uint8, amin compiled by inductor is 0 (torch 2.15)
    low, high = wide.amin(2, keepdim=True), wide.amax(2, keepdim=True)
    spread = (high - low).clamp(min=1).double()
    # A division of two tensors: number / tensor multiplies with the reciprocal, which is one level off at times.
    scale = torch.full_like(spread, 255.0) / spread
    stretched = (level * scale - low * scale).clamp_(0, 255)
    return torch.where(high > low, stretched, level).to(torch.uint8)


def equalize_table(images: Tensor) -> Tensor:
    """Pillow's equalisation, ``(batch, channels, 256)`` uint8.

    Cumulated counts over a step that leaves out the last level seen.
    """
    batch, channels, height, width = images.shape
    index = images.flatten(2).long()
    count = torch.zeros(batch, channels, 256, dtype=torch.int32, device=images.device)
    count.scatter_add_(2, index, torch.ones_like(index, dtype=torch.int32))
    before = count.cumsum(2) - count
    # All but those of the last level come before it; before the levels that follow, all do.
    step = before.masked_fill(before >= height * width, 0).amax(2, keepdim=True) // 255
    table = (before + step // 2) // step.clamp(min=1)
    return torch.where(step > 0, table.clamp_(max=255), _levels(images)).to(torch.uint8)


def blend(degenerate: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    """Pillow's Image.blend of whole numbers, `degenerate` in float32: extrapolates, clamps and truncates; uint8."""
    factor = factor.float().view(-1, *[1] * (degenerate.ndim - 1))
    mixed = (images - degenerate).mul_(factor).add_(degenerate).clamp_(0, 255)
    return mixed.to(torch.int16).to(torch.uint8)  # the way through int16 is the fast one on a CPU


def luminance(images: Tensor) -> Tensor:
    """The grey image of ``(batch, 3, height, width)``, as whole numbers in float32 ``(batch, 1, height, width)``.

    Every sum is a multiple of 2^-16 below 256, which float32 holds exactly.
    """
    red, green, blue = images.split(1, dim=1)
    grey = (red.float() * (19595 / 65536)).add_(green, alpha=38470 / 65536).add_(blue, alpha=7471 / 65536)
    return grey.add_(0.5).floor_()


def middle(images: Tensor) -> Tensor:
    """Images without their outermost pixels: a view."""
    return images[..., 1:-1, 1:-1]


def sharpened_middle(images: Tensor, value: Tensor) -> Tensor:
    """The `middle` blended with Pillow's SMOOTH filter: ones and a 5 in the middle over 13, rounded. The border stays."""
    wide, inner = images.to(torch.int16), middle(images)
    columns = (wide[..., :-2] + wide[..., 1:-1]).add_(wide[..., 2:])
    total = (columns[..., :-2, :] + columns[..., 1:-1, :]).add_(columns[..., 2:, :]).add_(inner, alpha=4)
    # Thirteenths are never halves, so that any rounding is Pillow's.
    return blend(total.float().mul_(1 / 13).round_(), inner, value)


def cutout_box(value: Tensor, center: Tensor, height: int, width: int) -> tuple[Tensor, ...]:
    """First and last column and row that Cutout covers, each ``(batch,)``; both ends are covered, as Pillow draws."""
    first, last = _cutout_ends(value, center, height, width)
    (left, top), (right, bottom) = first.unbind(1), last.unbind(1)
    return left, right, top, bottom


def _cutout_ends(value: Tensor, center: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """First and last pixel that Cutout covers, each ``(batch, 2)`` float64 as (x, y)."""
    frame = torch.linspace(width, height, 2, dtype=torch.float64, device=value.device)
    side = value.double().unsqueeze(1)
    first = (center.double() * frame - side / 2).clamp_(min=0).floor_()
    return first, (first + side).minimum(frame).floor_()


def cutout_mask(value: Tensor, center: Tensor, height: int, width: int) -> Tensor:
    """All bits set where Cutout covers, ``(batch, 1, height, width)`` uint8; nowhere if `value` is 0."""
    first, last = _cutout_ends(value, center, height, width)
    (left, top), (right, bottom) = first.unsqueeze(2).unbind(1), last.unsqueeze(2).unbind(1)
    x, y = torch.arange(width, device=value.device), torch.arange(height, device=value.device)
    inside_x, inside_y = (x >= left) & (x <= right) & (value > 0).unsqueeze(1), (y >= top) & (y <= bottom)
    inside = inside_y.unsqueeze(2) & inside_x.unsqueeze(1)
    return inside.view(torch.uint8).neg_().unsqueeze(1)


def cutout_bits(images: Tensor, mask: Tensor) -> Tensor:
    """The bits by which images differ from those with a rectangle covered, where the mask of `cutout_mask` is set.

    Bits are chosen, because on a CPU that is far faster than to choose elements.
    """
    shape = (1, 1, 1, 1)
    levels = CUTOUT_FILL if images.shape[1] == 3 else (CUTOUT_GREY,)
    fill = torch.cat([images.new_full(shape, level) for level in levels], 1)
    return (images ^ fill).bitwise_and_(mask)


def _levels(like: Tensor) -> Tensor:
    return torch.arange(256, device=like.device)
