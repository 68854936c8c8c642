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
    "CUTOUT_FILL", "autocontrast_table", "blend", "brightness_table", "coefficients", "contrast_table", "cutout",
    "cutout_box", "cutout_mask", "equalize_table", "fixed_point", "gather", "lookup", "luminance", "posterize_mask",
    "sharpness", "solarize_table", "source",
]  # fmt: skip

CUTOUT_FILL = (125, 123, 114)
"""What Cutout covers with (Fast AutoAugment); grey images get its luminance."""


def coefficients(code: Tensor, value: Tensor, height: int, width: int) -> Tensor:
    """Pillow's affine coefficients (a, b, c, d, e, f): pixel (x, y) comes from (a x + b y + c, d x + e y + f).

    Coordinates are those of pixel edges; operations that move nothing get the identity.

    Returns:
        ``(batch, 6)`` float64.
    """
    zero = torch.zeros_like(value)

    def only(name: str) -> Tensor:
        return torch.where(code == CODES[name], value, zero)

    # Pillow's rotate: radians of the negated angle, rounded to 15 decimals, about the middle of the image.
    angle = -torch.deg2rad(torch.remainder(only("Rotate"), 360.0))
    cosine, sine = torch.round(torch.cos(angle), decimals=15), torch.round(torch.sin(angle), decimals=15)
    middle_x, middle_y = width / 2.0, height / 2.0
    c = cosine * -middle_x + sine * -middle_y + middle_x
    f = -sine * -middle_x + cosine * -middle_y + middle_y
    # A shift is rounded as a whole: without rotation or shear, Pillow does not use fixed point.
    shift_x, shift_y = torch.floor(only("TranslateX") + 0.5), torch.floor(only("TranslateY") + 0.5)
    return torch.stack((cosine, sine + only("ShearX"), c + shift_x, -sine + only("ShearY"), cosine, f + shift_y), dim=1)


def fixed_point(matrix: Tensor) -> Tensor:
    """Coefficients for the middle of each pixel in 16.16 fixed point, ``(batch, 2, 3)`` int32: a, b, c and d, e, f."""
    rows = matrix.reshape(-1, 2, 3)
    along_x, along_y, shift = rows.unbind(2)
    rows = torch.stack((along_x, along_y, shift + along_x * 0.5 + along_y * 0.5), dim=2)
    return torch.floor(rows * 65536.0 + 0.5).to(torch.int32)


def source(matrix: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The source column and row of every pixel, ``(batch, height, width)`` int32, in Pillow's fixed point."""
    return _source(fixed_point(matrix), height, width)


def _source(fixed: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    x = torch.arange(width, device=fixed.device, dtype=torch.int32)
    y = torch.arange(height, device=fixed.device, dtype=torch.int32)[:, None]
    along_x = fixed[..., :1] * x  # (batch, 2, width)
    along_y = fixed[..., None, 1:2] * y + fixed[..., None, 2:]  # (batch, 2, height, 1)
    column, row = (along_x[:, axis, None] + along_y[:, axis] for axis in (0, 1))
    return column.bitwise_right_shift_(16), row.bitwise_right_shift_(16)


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
    """Each pixel replaced by the entry of its image's and channel's table ``(batch, channels or 1, 256)``."""
    batch, channels = images.shape[:2]
    table = table.expand(batch, channels, 256)
    return table.gather(2, images.reshape(batch, channels, -1).long()).view(images.shape)


def solarize_table(threshold: Tensor) -> Tensor:
    """Levels from the threshold on inverted, ``(batch, 1, 256)`` uint8."""
    level = _levels(threshold)
    return torch.where(level < threshold[:, None, None], level, 255 - level).to(torch.uint8)


def posterize_mask(bits: Tensor) -> Tensor:
    """The upper `bits` of a byte set, ``(batch,)`` uint8."""
    bits = bits.to(torch.int64)
    return (256 - torch.bitwise_left_shift(torch.ones_like(bits), 8 - bits)).to(torch.uint8)


def brightness_table(factor: Tensor) -> Tensor:
    """Blend towards black, ``(batch, 1, 256)`` uint8."""
    return blend(torch.zeros_like(factor)[:, None], _levels(factor)[None], factor)[:, None]


def contrast_table(images: Tensor, value: Tensor) -> Tensor:
    """Blend towards the rounded mean of the grey image, ``(batch, 1, 256)`` uint8."""
    grey = luminance(images) if images.shape[1] == 3 else images[:, :1]
    total = grey.sum((1, 2, 3), dtype=torch.float64).long()  # exact: whole numbers
    pixels = images.shape[2] * images.shape[3]
    mean = (2 * total + pixels) // (2 * pixels)  # int(mean + 0.5)
    return blend(mean[:, None], _levels(images)[None], value)[:, None]


def autocontrast_table(images: Tensor) -> Tensor:
    """Stretch the range of each channel to 0 to 255; a constant channel stays. ``(batch, channels, 256)`` uint8."""
    level = _levels(images)
    wide = images.to(torch.int16)  # of uint8, amin compiled by inductor is 0 (torch 2.15)
    low, high = wide.amin((2, 3))[..., None], wide.amax((2, 3))[..., None]
    spread = (high - low).clamp(min=1).double()
    # A division of two tensors: number / tensor multiplies with the reciprocal, which is one level off at times.
    scale = torch.full_like(spread, 255.0) / spread
    stretched = (level * scale + -low * scale).clamp(0, 255).to(torch.int64)
    return torch.where(high > low, stretched, level).to(torch.uint8)


def equalize_table(images: Tensor) -> Tensor:
    """Pillow's equalisation, ``(batch, channels, 256)`` uint8.

    Cumulated counts over a step that leaves out the last level seen.
    """
    batch, channels = images.shape[:2]
    index = images.reshape(batch, channels, -1).long()
    count = torch.zeros(batch, channels, 256, dtype=torch.int32, device=images.device)
    count.scatter_add_(2, index, torch.ones_like(index, dtype=torch.int32))
    level = _levels(images)
    last = torch.where(count > 0, level, 0).amax(2, keepdim=True)
    step = (count.sum(2, keepdim=True) - count.gather(2, last)) // 255
    before = count.cumsum(2) - count
    table = (before + step // 2) // step.clamp(min=1)
    return torch.where(step > 0, table.clamp(max=255), level).to(torch.uint8)


def blend(degenerate: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    """Pillow's Image.blend of whole numbers: extrapolates, in float32, clamps and truncates; uint8."""
    factor = factor.float().view(-1, *[1] * (images.ndim - 1))
    start = degenerate.float()
    mixed = (images.float() - start).mul_(factor).add_(start).clamp_(0, 255)
    return mixed.to(torch.int16).to(torch.uint8)  # the way through int16 is the fast one on a CPU


def luminance(images: Tensor) -> Tensor:
    """The grey image of ``(batch, 3, height, width)``, as whole numbers in float32 ``(batch, 1, height, width)``.

    Every sum is a multiple of 2^-16 below 256, which float32 holds exactly.
    """
    red, green, blue = images.split(1, dim=1)
    grey = (red.float() * (19595 / 65536)).add_(green, alpha=38470 / 65536).add_(blue, alpha=7471 / 65536)
    return grey.add_(0.5).floor_()


def sharpness(images: Tensor, value: Tensor) -> Tensor:
    """Blend with Pillow's SMOOTH filter: ones and a 5 in the middle over 13, rounded; the border stays."""
    if min(images.shape[2:]) < 3:
        return images
    wide = images.to(torch.int16)
    columns = (wide[..., :-2] + wide[..., 1:-1]).add_(wide[..., 2:])
    total = (columns[..., :-2, :] + columns[..., 1:-1, :]).add_(columns[..., 2:, :])
    total.add_(wide[..., 1:-1, 1:-1], alpha=4)
    # Thirteenths are never halves, so that any rounding is Pillow's.
    smooth = total.float().mul_(1 / 13).round_()
    out = images.clone()
    out[..., 1:-1, 1:-1] = blend(smooth, images[..., 1:-1, 1:-1], value)
    return out


def cutout_box(value: Tensor, center: Tensor, height: int, width: int) -> tuple[Tensor, ...]:
    """First and last column and row that Cutout covers, each ``(batch,)``; both ends are covered, as Pillow draws."""

    def span(place: Tensor, size: int) -> tuple[Tensor, Tensor]:
        first = (place.double() * size - value / 2).clamp_(min=0).floor_()
        return first, (first + value).clamp_(max=size).floor_()

    return *span(center[:, 0], width), *span(center[:, 1], height)


def cutout_mask(value: Tensor, center: Tensor, height: int, width: int) -> Tensor:
    """All bits set where Cutout covers, ``(batch, 1, height, width)`` uint8; nowhere if `value` is 0."""
    left, right, top, bottom = (each[:, None] for each in cutout_box(value, center, height, width))
    x, y = torch.arange(width, device=value.device), torch.arange(height, device=value.device)
    inside_x, inside_y = (x >= left) & (x <= right) & (value > 0)[:, None], (y >= top) & (y <= bottom)
    return inside_y.to(torch.uint8).neg_()[:, None, :, None] & inside_x.to(torch.uint8).neg_()[:, None, None, :]


def cutout(images: Tensor, mask: Tensor) -> Tensor:
    """A rectangle covered. Bits are chosen, because on a CPU that is far faster than to choose elements."""
    fill = torch.tensor(CUTOUT_FILL, dtype=torch.uint8, device=images.device).view(1, 3, 1, 1)
    fill = fill if images.shape[1] == 3 else luminance(fill).to(torch.uint8)
    return (images ^ fill).bitwise_and_(mask).bitwise_xor_(images)


def _levels(like: Tensor) -> Tensor:
    return torch.arange(256, device=like.device)
