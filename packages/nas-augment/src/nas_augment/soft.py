"""The operations on floats in [0, 1], differentiable in pixels and values, every image with its own operation.

Brightness, Contrast, Color and Sharpness are kornia's `adjust_brightness_accumulative`,
`adjust_contrast_with_mean_subtraction`, `adjust_saturation_with_gray_subtraction` and `sharpness`, which are Pillow's
without its rounding. The others are written here, because kornia's definition is another or has no derivative:

* kornia's `shear` turns about the centre of the first pixel, Pillow about its corner, which is a shift by half a slope;
  its `translate` has the opposite sign. One grid for all five warps replaces its four functions.
* kornia's `normalize_min_max` makes a constant channel black; Pillow's AutoContrast leaves it.
* kornia's `solarize` has no derivative by the threshold, its `equalize` and `posterize` none by the pixels, and its
  derivative of `posterize` by the bits is that of ``2^(8-bits)`` with the quotient held: more bits, darker.

What has no derivative, or none but 0, has a straight-through one: the forward value is the hard one, bit for bit, and
the derivative is written below. ``x`` and ``y`` are pixels before and after, in [0, 1]; ``X = 255 x``; ``s`` is the
logistic function.

==============================  ==================================  ====================================================
operation                       by the pixels                       by the value
==============================  ==================================  ====================================================
ShearX/Y, TranslateX/Y, Rotate  of the bilinear interpolation       of the bilinear interpolation
  with ``nearest``              of the pixel that was taken         of the bilinear interpolation (straight-through)
Brightness, Contrast, Color,    exact; 0 where clamped              exact; 0 where clamped
Sharpness
Invert                          -1                                  (has none)
Solarize, threshold t           1 below t, else -1                  ``(2 x - 1) s'((t - X) / w) / w``, w = `solarize_width`
Posterize, bits b               1                                   ``ln 2 (x - y + 1 / 510)``
AutoContrast                    ``1 / (high - low)``, or 1          (has none)
Equalize                        ``(n_(k-1) + n_k) / (2 step)``, or  (has none)
                                1; n counts the pixels of a level
Cutout, side v                  0 inside, 1 outside                 ``(fill - x) dm/dv``, m the product over both axes of
                                                                    ``s(p - first) s(last - p)``, p the middle of a pixel
==============================  ==================================  ====================================================

Solarize: the derivative of a step that is blurred by `solarize_width` levels; its mean over pixels is that of the mean
image. Posterize: the residual of a pixel, ``x - y``, and half a level because a level was a range of intensities before
it was rounded, halves with every bit; its mean over residuals is the derivative of their mean. Equalize: the central
difference of Pillow's table before it is rounded, the last level not counted. AutoContrast and Equalize hold what they
read of the image (low, high, the counts) constant.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_augment import exact
from nas_augment.enhancement import ENHANCEMENTS, enhance
from nas_augment.errors import PolicyError
from nas_augment.operations import CODES, GEOMETRIC

__all__ = ["Soft", "in_steps", "stage", "straight_through"]

Interpolation = Literal["bilinear", "nearest"]
TableGradient = Literal["slope", "identity"]
MagnitudeGradient = Literal["true", "dada_ste"]


@dataclass(frozen=True, kw_only=True)
class Soft:
    """How the soft path computes.

    Args:
        interpolation: of shears, shifts and rotations. ``bilinear`` has the derivative of what it computes; ``nearest``
            gives the values of the exact path with the derivative of ``bilinear`` by the magnitude.
        table_gradient: by the pixels, of AutoContrast and Equalize: the ``slope`` of the table, or ``identity``, 1.
        magnitude_gradient: ``true``, as in the table above; ``dada_ste``, 1 for every pixel and every operation that is
            applied, by its level in [0, 1], and none by pixels or gates, as DADA's released code has it: for
            reproduction only, as its sign is right about as often as wrong for half of the operations.
        solarize_width: of the blurred step that solarize's derivative is of, in levels of 256.

    Raises:
        PolicyError: a choice is unknown, or the width is not positive.
    """

    interpolation: Interpolation = "bilinear"
    table_gradient: TableGradient = "slope"
    magnitude_gradient: MagnitudeGradient = "true"
    solarize_width: float = 16.0

    def __post_init__(self) -> None:
        for name, known in (
            ("interpolation", Interpolation),
            ("table_gradient", TableGradient),
            ("magnitude_gradient", MagnitudeGradient),
        ):
            if getattr(self, name) not in get_args(known):
                raise PolicyError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(get_args(known))}.")
        if not 0 < self.solarize_width < float("inf"):
            raise PolicyError(f"solarize_width is {self.solarize_width}; expected a positive number of levels.")


def straight_through(forward: Tensor, through: Tensor) -> Tensor:
    """The value of `forward`, bit for bit, with the gradient of `through` added to its own.

    Example:
        >>> x = torch.tensor(1.7, requires_grad=True)
        >>> y = straight_through(x.detach().floor(), x.square())
        >>> y.item(), torch.autograd.grad(y, x)[0].item()
        (1.0, 3.4000000953674316)
    """
    return forward + (through - through.detach())


def in_steps(value: Tensor) -> Tensor:
    """Values in steps of 2^-20, without gradient; what is hard computes with these.

    Pillow finds the source of a shift by adding 1 from pixel to pixel. In such steps that sum is exact; else a shift by
    half a pixel and a rounding error would move only a part of the image.
    """
    return torch.round(value.detach() * 2.0**20) / 2.0**20


def stage(images: Tensor, code: Tensor, value: Tensor, center: Tensor, options: Soft) -> Tensor:
    """Apply one operation to each image, sorted by kind; which, is read on the host.

    Args:
        images: ``(batch, channels, height, width)`` float32 or float64 in [0, 1]; not modified.
        code: which operation, ``(batch,)``, as in `operations.CODES`; best on the CPU.
        value: its value, ``(batch,)`` float64; shifts and sides of Cutout in pixels.
        center: where Cutout lies, ``(batch, 2)`` in [0, 1), as (x, y).
        options: see `Soft`.

    Returns:
        The images transformed, in [0, 1].
    """
    members: dict[Kind, list[int]] = {}
    for row, each in enumerate(code.tolist()):
        members.setdefault(_KINDS[each], []).append(row)
    if not members:
        return images
    code, value, center = (each.to(images.device) for each in (code, value, center))
    parts, order = [], []
    for kind, rows in members.items():
        local = torch.tensor(rows).to(images.device, non_blocking=True)
        some, *how = (each.index_select(0, local) for each in (images, code, value, center))
        parts.append(kind(some, how[0], how[1], how[2], options))
        order += rows
    back = torch.tensor(order).argsort().to(images.device, non_blocking=True)
    return torch.cat(parts).index_select(0, back)


def _identity(images: Tensor, code: Tensor, value: Tensor, center: Tensor, options: Soft) -> Tensor:
    return images


def _warp(images: Tensor, code: Tensor, value: Tensor, center: Tensor, options: Soft) -> Tensor:
    if options.interpolation == "bilinear":
        return _bilinear(images, code, value)
    matrix = exact.coefficients(code, in_steps(value), *images.shape[2:])
    return straight_through(_nearest(images, matrix), _bilinear(images.detach(), code, value))


def _bilinear(images: Tensor, code: Tensor, value: Tensor) -> Tensor:
    """Pillow's maps of `exact.coefficients` without their rounding, sampled between pixels; black outside."""
    height, width = images.shape[2:]

    def only(name: str) -> Tensor:
        return torch.where(code == CODES[name], value, 0.0)

    angle = -torch.deg2rad(only("Rotate"))
    cosine, sine = torch.cos(angle), torch.sin(angle)
    b, d = sine + only("ShearX"), -sine + only("ShearY")
    c = (width - cosine * width - sine * height) / 2 + only("TranslateX")
    f = (height + sine * width - cosine * height) / 2 + only("TranslateY")
    # The map (x, y) -> (cosine x + b y + c, d x + cosine y + f) of pixel edges, in coordinates from -1 to 1.
    tall = height / width
    upper = torch.stack((cosine, b * tall, cosine + b * tall + 2 * c / width - 1), 1)
    lower = torch.stack((d / tall, cosine, d / tall + cosine + 2 * f / height - 1), 1)
    theta = torch.stack((upper, lower), 1).to(images.dtype)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    out = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    # Weights can sum to a rounding error above 1; clamping alone would take white pixels their gradient.
    return straight_through(out.detach().clamp(0, 1), out)


def _nearest(images: Tensor, matrix: Tensor) -> Tensor:
    height, width = images.shape[2:]
    column, row = exact.source(matrix, height, width)
    outside = (column < 0) | (column >= width) | (row < 0) | (row >= height)
    index = (row * width + column).masked_fill(outside, 0).long().flatten(1)[:, None]
    moved = images.flatten(2).gather(2, index.expand(-1, images.shape[1], -1))
    return moved.view(images.shape).masked_fill(outside[:, None], 0.0)


def _enhance(name: str) -> "Kind":
    return lambda images, code, value, center, options: enhance(name, images, value)


def _invert(images: Tensor, code: Tensor, value: Tensor, center: Tensor, options: Soft) -> Tensor:
    return 1 - images


def _solarize(images: Tensor, code: Tensor, value: Tensor, center: Tensor, options: Soft) -> Tensor:
    threshold, plain = _per_image(value, images), images.detach()
    # Decided by the level that the exact path rounds to, so that half precision decides the same.
    solarized = torch.where(_levels(images) < in_steps(threshold), images, 1 - images)
    blurred = (2 * plain - 1) * torch.sigmoid((threshold - 255 * plain) / options.solarize_width)
    return straight_through(solarized, blurred)


def _posterize(images: Tensor, code: Tensor, value: Tensor, center: Tensor, options: Soft) -> Tensor:
    hard = _hard(images, code, value, center)
    residual = images.detach() - hard + 1 / 510
    return straight_through(hard, images + log(2) * residual * _per_image(value, images))


def _autocontrast(images: Tensor, code: Tensor, value: Tensor, center: Tensor, options: Soft) -> Tensor:
    # Of rounded levels: stretching a channel that is constant but for rounding errors would show only these.
    levels = _levels(images)
    low, high = levels.amin((2, 3), keepdim=True) / 255, levels.amax((2, 3), keepdim=True) / 255
    stretched = (images - low) / (high - low).clamp(min=1 / 255)
    # Clamping alone would take the extremes their gradient.
    out = torch.where(high > low, straight_through(stretched.detach().clamp(0, 1), stretched), images)
    return straight_through(out.detach(), images) if options.table_gradient == "identity" else out


def _equalize(images: Tensor, code: Tensor, value: Tensor, center: Tensor, options: Soft) -> Tensor:
    through = images
    if options.table_gradient == "slope":
        through = images * _equalize_slope(_levels(images).long().flatten(2), images)
    return straight_through(_hard(images, code, value, center), through)


def _equalize_slope(level: Tensor, images: Tensor) -> Tensor:
    """The slope of Pillow's table before rounding at each pixel; 1 where it leaves a channel as it is."""
    zeros = torch.zeros(*level.shape[:2], 256, dtype=torch.int64, device=level.device)
    # The last level seen does not count: the table reaches 255 there.
    count = zeros.scatter_add(2, level, torch.ones_like(level)).scatter(2, level.amax(2, keepdim=True), 0)
    step = count.sum(2, keepdim=True) // 255
    both = (count + F.pad(count, (1, 0))[..., :-1]).to(images.dtype)
    slope = torch.where(step > 0, both / (2 * step.clamp(min=1)), 1.0)
    return slope.gather(2, level).view(images.shape)


def _cutout(images: Tensor, code: Tensor, value: Tensor, center: Tensor, options: Soft) -> Tensor:
    height, width = images.shape[2:]
    left, right, top, bottom = (each[:, None] for each in exact.cutout_box(in_steps(value), center, height, width))
    x, y = (torch.arange(size, device=images.device) for size in (width, height))
    inside = ((y >= top) & (y <= bottom))[:, None, :, None] & ((x >= left) & (x <= right))[:, None, None, :]
    # What Cutout makes of a single pixel that it covers.
    fill = _hard(images[..., :1, :1], code, torch.ones_like(value), torch.full_like(center, 0.5))
    out = torch.where(inside & (value > 0)[:, None, None, None], fill, images)
    blurred = _span(value, center[:, 1], y)[:, None, :, None] * _span(value, center[:, 0], x)[:, None, None, :]
    return straight_through(out, (fill - images.detach()) * blurred.to(images.dtype))


def _span(value: Tensor, place: Tensor, position: Tensor) -> Tensor:
    """How far inside Cutout's span each pixel lies, blurred by one pixel, ``(batch, size)``."""
    size, middle = len(position), position + 0.5
    first = (place.double() * size - value / 2).clamp(min=0)
    last = (first + value).clamp(max=size) + 1  # Pillow covers the last pixel too
    return torch.sigmoid(middle - first[:, None]) * torch.sigmoid(last[:, None] - middle)


def _levels(images: Tensor) -> Tensor:
    """The 256 levels that the exact path rounds to, as floats without gradient."""
    return (images.detach() * 255).round()


def _hard(images: Tensor, code: Tensor, value: Tensor, center: Tensor) -> Tensor:
    """The exact operation on rounded levels, in [0, 1] again, without gradient."""
    with torch.no_grad():
        return exact.grouped(_levels(images).to(torch.uint8), code, in_steps(value), center).to(images.dtype) / 255


def _per_image(value: Tensor, images: Tensor) -> Tensor:
    return value.to(images.dtype)[:, None, None, None]


Kind = Callable[[Tensor, Tensor, Tensor, Tensor, Soft], Tensor]

_KINDS: dict[int, Kind] = {
    CODES["Identity"]: _identity,
    **{CODES[name]: _warp for name in GEOMETRIC},
    CODES["AutoContrast"]: _autocontrast,
    CODES["Invert"]: _invert,
    CODES["Equalize"]: _equalize,
    CODES["Solarize"]: _solarize,
    CODES["Posterize"]: _posterize,
    **{CODES[name]: _enhance(name) for name in ENHANCEMENTS},
    CODES["Cutout"]: _cutout,
}
