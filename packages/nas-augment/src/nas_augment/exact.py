"""The operations on uint8 tensors, every image with its own operation, equal to Pillow's bit for bit.

Two backends give the same bits. `grouped` sorts the images of a stage by the kind of operation and computes each kind
once; it reads the operations on the host. `dense` computes every kind for every image, in static shapes and without
waiting for the device, for `torch.compile(fullgraph=True)` and CUDA graphs.

The rules that make it exact: source pixels by 16.16 fixed point, ``floor((c + a x + b y) 2^16 + 1/2) >> 16``; grey as
``(19595 R + 38470 G + 7471 B + 2^15) >> 16``; blends in float32, clamped and truncated; the smoothing of sharpness
rounded to whole numbers, with the border copied; tables of AutoContrast in float64.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from nas_augment.operations import CODES

__all__ = ["CUTOUT_FILL", "coefficients", "cutout_box", "dense", "grouped", "stage"]

CUTOUT_FILL = (125, 123, 114)
"""What Cutout covers with (Fast AutoAugment); grey images get its luminance."""

_GROUPS = {
    "warp": ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"),
    "table": ("Invert", "Solarize", "Posterize", "Brightness"),
    "histogram": ("AutoContrast", "Equalize"),
    "contrast": ("Contrast",),
    "color": ("Color",),
    "sharpness": ("Sharpness",),
    "cutout": ("Cutout",),
}

_KIND_OF = {CODES[name]: kind for kind, names in _GROUPS.items() for name in names}


def grouped(images: Tensor, code: Tensor, value: Tensor, center: Tensor) -> Tensor:
    """Apply one operation to each image, sorted by kind.

    Args:
        images: ``(batch, channels, height, width)`` uint8; not modified.
        code: which operation, ``(batch,)``, as in `operations.CODES`; best on the CPU.
        value: its value, ``(batch,)`` float64; shifts and sides of Cutout in pixels.
        center: where Cutout lies, ``(batch, 2)`` in [0, 1), as (x, y).

    Returns:
        The images transformed.
    """
    members: dict[str, list[int]] = {}
    for row, each in enumerate(code.tolist()):
        if each in _KIND_OF:
            members.setdefault(_KIND_OF[each], []).append(row)
    out = images.clone(memory_format=torch.contiguous_format)
    code, value, center = (each.to(images.device) for each in (code, value, center))
    for kind, rows in members.items():
        local = torch.tensor(rows).to(images.device, non_blocking=True)
        some = (each.index_select(0, local) for each in (out, code, value, center))
        out.index_copy_(0, local, _KINDS[kind](*some))
    return out


def dense(images: Tensor, code: Tensor, value: Tensor, center: Tensor) -> Tensor:
    """As `grouped`, with everything computed for every image; arguments on the device of the images."""
    out = _warp(images, code, value, center)
    out = _lookup(out, _all_tables(out, code, value))
    is_color = (code == CODES["Color"])[:, None, None, None]
    is_sharpness = (code == CODES["Sharpness"])[:, None, None, None]
    degenerate = torch.where(is_color, _grey(out), torch.where(is_sharpness, _smooth(out), out))
    out = _blend(degenerate, out, torch.where((is_color | is_sharpness)[:, 0, 0, 0], value, 1.0))
    return _cutout(out, torch.where(code == CODES["Cutout"], value, 0.0), center)


def stage(images: Tensor, code: Tensor, value: Tensor, center: Tensor, backend: str) -> Tensor:
    """Apply by the named backend: ``grouped`` or ``dense``."""
    if backend == "grouped":
        return grouped(images, code, value, center)
    device = images.device
    return dense(images, code.to(device), value.to(device), center.to(device))


def coefficients(code: Tensor, value: Tensor, height: int, width: int) -> Tensor:
    """Pillow's affine coefficients (a, b, c, d, e, f): pixel (x, y) comes from (a x + b y + c, d x + e y + f).

    Coordinates are those of pixel edges; operations that move nothing get the identity.

    Returns:
        ``(batch, 6)`` float64.
    """
    zero, one = torch.zeros_like(value), torch.ones_like(value)

    def only(*names: str) -> Tensor:
        chosen = code == CODES[names[0]]
        return torch.where(chosen, value, zero)

    # Pillow's rotate: radians of the negated angle, rounded to 15 decimals, about the middle of the image.
    angle = -torch.deg2rad(torch.remainder(only("Rotate"), 360.0))
    cosine, sine = torch.round(torch.cos(angle), decimals=15), torch.round(torch.sin(angle), decimals=15)
    middle_x, middle_y = width / 2.0, height / 2.0
    c = cosine * -middle_x + sine * -middle_y + middle_x
    f = -sine * -middle_x + cosine * -middle_y + middle_y
    # A shift is rounded as a whole: without rotation or shear, Pillow does not use fixed point.
    shift_x, shift_y = torch.floor(only("TranslateX") + 0.5), torch.floor(only("TranslateY") + 0.5)
    return torch.stack(
        (cosine * one, sine + only("ShearX"), c + shift_x, -sine + only("ShearY"), cosine, f + shift_y), dim=1
    )


def source(matrix: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The source column and row of every pixel, ``(batch, height, width)`` int32, in Pillow's fixed point."""
    a, b, c, d, e, f = matrix.unbind(1)

    def fixed(number: Tensor) -> Tensor:
        return torch.floor(number * 65536.0 + 0.5).to(torch.int32)[:, None, None]

    x = torch.arange(width, device=matrix.device, dtype=torch.int32)
    y = torch.arange(height, device=matrix.device, dtype=torch.int32)[:, None]
    column = (fixed(a) * x + fixed(b) * y + fixed(c + a * 0.5 + b * 0.5)) >> 16
    row = (fixed(d) * x + fixed(e) * y + fixed(f + d * 0.5 + e * 0.5)) >> 16
    return column, row


def gather(images: Tensor, matrix: Tensor, fill: int = 0) -> Tensor:
    """Move pixels by nearest neighbour; what comes from outside is `fill`."""
    batch, channels, height, width = images.shape
    column, row = source(matrix, height, width)
    outside = (column < 0) | (column >= width) | (row < 0) | (row >= height)
    size = height * width
    index = (row * width + column).masked_fill(outside, size).view(batch, size).long()
    # The channels of a pixel are moved as one 32-bit number; the pixel after the last is the fill.
    packed = torch.full((batch, size + 1, 4), fill, dtype=torch.uint8, device=images.device)
    packed[:, :size, :channels] = images.reshape(batch, channels, size).transpose(1, 2)
    moved = packed.view(torch.int32)[..., 0].gather(1, index)[..., None].view(torch.uint8)
    return moved[..., :channels].transpose(1, 2).reshape(images.shape)


def _warp(images: Tensor, code: Tensor, value: Tensor, center: Tensor) -> Tensor:
    return gather(images, coefficients(code, value, images.shape[2], images.shape[3]))


def _lookup(images: Tensor, table: Tensor) -> Tensor:
    """Each pixel replaced by the entry of its image's and channel's table ``(batch, channels or 1, 256)``."""
    batch, channels = images.shape[:2]
    table = table.expand(batch, channels, 256)
    return table.gather(2, images.reshape(batch, channels, -1).long()).view(images.shape)


def _levels(images: Tensor) -> Tensor:
    return torch.arange(256, device=images.device)


def _plain_table(images: Tensor, code: Tensor, value: Tensor) -> Tensor:
    """Tables that do not depend on the image, ``(batch, 1, 256)`` uint8; identity where the operation is another."""
    level, code = _levels(images)[None], code[:, None]
    inverted = 255 - level
    solarized = torch.where(level < value[:, None], level, inverted)
    bits = torch.where(code == CODES["Posterize"], value[:, None], 8.0).to(torch.int64)
    posterized = level & (256 - torch.bitwise_left_shift(torch.ones_like(bits), 8 - bits))
    brightness = _blend(torch.zeros_like(level), level, value)
    table = torch.where(code == CODES["Invert"], inverted, level)
    table = torch.where(code == CODES["Solarize"], solarized, table)
    table = torch.where(code == CODES["Posterize"], posterized, table)
    return torch.where(code == CODES["Brightness"], brightness, table)[:, None].to(torch.uint8)


def _contrast_table(images: Tensor, value: Tensor) -> Tensor:
    """Blend towards the rounded mean of the grey image, ``(batch, 1, 256)`` uint8."""
    grey = _luminance(images) if images.shape[1] == 3 else images[:, :1].to(torch.int32)
    total = grey.flatten(1).sum(1, dtype=torch.int64)
    pixels = images.shape[2] * images.shape[3]
    mean = (2 * total + pixels) // (2 * pixels)  # int(mean + 0.5)
    return _blend(mean[:, None], _levels(images)[None], value)[:, None].to(torch.uint8)


def _histogram(images: Tensor) -> Tensor:
    batch, channels = images.shape[:2]
    index = images.reshape(batch, channels, -1).long()
    count = torch.zeros(batch, channels, 256, dtype=torch.int32, device=images.device)
    return count.scatter_add(2, index, torch.ones_like(index, dtype=torch.int32))


def _autocontrast_table(count: Tensor) -> Tensor:
    """Stretch the range of each channel to 0 to 255; a constant channel stays."""
    level = torch.arange(256, device=count.device)
    seen = count > 0
    low = torch.where(seen, level, 255).amin(2, keepdim=True)
    high = torch.where(seen, level, 0).amax(2, keepdim=True)
    spread = (high - low).clamp(min=1).double()
    # A division of two tensors: number / tensor multiplies with the reciprocal, which is one level off at times.
    scale = torch.full_like(spread, 255.0) / spread
    stretched = (level * scale + -low * scale).clamp(0, 255).to(torch.int64)
    return torch.where(high > low, stretched, level)


def _equalize_table(count: Tensor) -> Tensor:
    """Pillow's equalisation: cumulated counts over a step that leaves out the last level seen."""
    level = torch.arange(256, device=count.device)
    last = torch.where(count > 0, level, 0).amax(2, keepdim=True)
    step = (count.sum(2, keepdim=True) - count.gather(2, last)) // 255
    before = count.cumsum(2) - count
    table = (before + step // 2) // step.clamp(min=1)
    return torch.where(step > 0, table.clamp(max=255), level)


def _histogram_table(images: Tensor, code: Tensor) -> Tensor:
    count = _histogram(images)
    equalized = (code == CODES["Equalize"])[:, None, None]
    return torch.where(equalized, _equalize_table(count), _autocontrast_table(count)).to(torch.uint8)


def _all_tables(images: Tensor, code: Tensor, value: Tensor) -> Tensor:
    histogram = (code == CODES["AutoContrast"]) | (code == CODES["Equalize"])
    table = torch.where(
        (code == CODES["Contrast"])[:, None, None], _contrast_table(images, value), _plain_table(images, code, value)
    )
    return torch.where(histogram[:, None, None], _histogram_table(images, code), table)


def _blend(degenerate: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    """Pillow's Image.blend: extrapolates, in float32, clamps and truncates."""
    factor = factor.float().view(-1, *[1] * (images.ndim - 1))
    start = degenerate.float()
    return (start + factor * (images.float() - start)).clamp(0, 255).to(images.dtype)


def _luminance(images: Tensor) -> Tensor:
    red, green, blue = images.to(torch.int32).split(1, dim=1)
    return (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16


def _grey(images: Tensor) -> Tensor:
    """The grey image in the channels of the input, uint8."""
    return _luminance(images).to(torch.uint8).expand_as(images) if images.shape[1] == 3 else images


def _smooth(images: Tensor) -> Tensor:
    """Pillow's SMOOTH filter: ones and a 5 in the middle over 13, rounded; the border is copied."""
    if min(images.shape[2:]) < 3:
        return images
    wide = images.to(torch.int16)
    columns = wide[..., :-2] + wide[..., 1:-1] + wide[..., 2:]
    total = columns[..., :-2, :] + columns[..., 1:-1, :] + columns[..., 2:, :] + 4 * wide[..., 1:-1, 1:-1]
    # (2 t + 13) // 26 by a multiplication; exact for all t up to 13 x 255.
    inner = (((2 * total + 13).to(torch.int32) * 10083) >> 18).to(torch.uint8)
    out = images.clone()
    out[..., 1:-1, 1:-1] = inner
    return out


def cutout_box(value: Tensor, center: Tensor, height: int, width: int) -> tuple[Tensor, ...]:
    """First and last column and row that Cutout covers, each ``(batch,)``; both ends are covered, as Pillow draws."""

    def span(place: Tensor, size: int) -> tuple[Tensor, Tensor]:
        first = torch.floor((place.double() * size - value / 2).clamp(min=0))
        return first, torch.floor((first + value).clamp(max=size))

    return *span(center[:, 0], width), *span(center[:, 1], height)


def _cutout(images: Tensor, value: Tensor, center: Tensor) -> Tensor:
    channels, height, width = images.shape[1:]
    left, right, top, bottom = (each[:, None] for each in cutout_box(value, center, height, width))
    x, y = torch.arange(width, device=images.device), torch.arange(height, device=images.device)
    inside_x, inside_y = (x >= left) & (x <= right) & (value > 0)[:, None], (y >= top) & (y <= bottom)
    inside = inside_y[:, None, :, None] & inside_x[:, None, None, :]
    fill = torch.tensor(CUTOUT_FILL, dtype=torch.uint8, device=images.device).view(1, 3, 1, 1)
    return torch.where(inside, fill if channels == 3 else _luminance(fill).to(torch.uint8), images)


_KINDS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "warp": _warp,
    "table": lambda images, code, value, center: _lookup(images, _plain_table(images, code, value)),
    "histogram": lambda images, code, value, center: _lookup(images, _histogram_table(images, code)),
    "contrast": lambda images, code, value, center: _lookup(images, _contrast_table(images, value)),
    "color": lambda images, code, value, center: _blend(_grey(images), images, value),
    "sharpness": lambda images, code, value, center: _blend(_smooth(images), images, value),
    "cutout": lambda images, code, value, center: _cutout(images, value, center),
}
