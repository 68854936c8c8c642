"""The backend for CPUs: the images of a stage sorted by what is done to them, each kind computed once."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nas_augment import arithmetic
from nas_augment.operations import CODES, GEOMETRIC

__all__ = ["grouped"]

_PIXELS_AT_ONCE = 2**16
"""Of all images of a part together: what an operation holds of them meanwhile should stay in the cache."""


_Kind = Callable[[Sequence[Tensor], Tensor, Tensor, Tensor], None]
"""Overwrites parts of equal size (the last may be smaller); the code, value and center of all images follow."""


def grouped(images: Tensor, code: Tensor, value: Tensor, center: Tensor, overwrite: bool = False) -> Tensor:
    """Apply one operation to each image, sorted by kind.

    Args:
        images: ``(batch, channels, height, width)`` uint8.
        code: which operation, ``(batch,)``, as in `operations.CODES`; best on the CPU.
        value: its value, ``(batch,)`` float64; shifts and sides of Cutout in pixels.
        center: where Cutout lies, ``(batch, 2)`` in [0, 1), as (x, y).
        overwrite: the result may take the place of `images`, which are left as they are otherwise.

    Returns:
        The images transformed.
    """
    members: dict[_Kind | None, list[int]] = {}
    for row, each in enumerate(code.tolist()):
        members.setdefault(_KINDS.get(each), []).append(row)
    order = torch.tensor([row for rows in members.values() for row in rows], dtype=torch.int64)
    code, value, center = (
        each.index_select(0, order.to(each.device)).to(images.device) for each in (code, value, center)
    )
    at_once = max(1, _PIXELS_AT_ONCE // max(1, images.shape[2] * images.shape[3]))
    # Large images are overwritten one by one where they lie: another batch in memory would cost more than the passes.
    # Small ones are sorted, so that a kind is a slice: nothing else writes to many of them at once as fast.
    if at_once == 1:
        out = images if overwrite and images.is_contiguous() else images.clone(memory_format=torch.contiguous_format)
    else:
        out = images.index_select(0, order.to(images.device))
    # Small batches are bound by calls, which are a sixth faster here; the tensor that leaves is an ordinary one.
    with torch.inference_mode():
        start = 0
        for kind, rows in members.items():
            stop = start + len(rows)
            if kind is not None:
                parts = [out[row : row + 1] for row in rows] if at_once == 1 else out[start:stop].split(at_once)
                kind(parts, code[start:stop], value[start:stop], center[start:stop])
            start = stop
    return out if at_once == 1 else out.index_select(0, order.argsort().to(images.device))


def _overwrite(parts: Sequence[Tensor], function: Callable[..., Tensor], *each: Tensor) -> None:
    """Replace images by a function of them and of what belongs to each."""
    for part, *of_part in zip(parts, *(tensor.split(len(parts[0])) for tensor in each), strict=True):
        part.copy_(function(part, *of_part))


def _warp(parts: Sequence[Tensor], code: Tensor, value: Tensor, center: Tensor) -> None:
    fixed = arithmetic.fixed_point(arithmetic.coefficients(code, value, *parts[0].shape[2:]))
    if len(parts[0]) > 1:
        _overwrite(parts, arithmetic.gather, fixed)
        return
    for part, one, ((*along_column, column), (*along_row, row)) in zip(
        parts, fixed.split(1), fixed.tolist(), strict=True
    ):
        is_shift = along_column == [1 << 16, 0] and along_row == [0, 1 << 16]
        part.copy_(_shift(part, column >> 16, row >> 16) if is_shift else arithmetic.gather(part, one))


def _shift(image: Tensor, columns: int, rows: int) -> Tensor:
    """What `arithmetic.gather` gives for a shift, by a copy of slices: a tenth of the time where images are large."""
    height, width = image.shape[2:]
    out = torch.zeros_like(image)
    top, bottom, left, right = max(-rows, 0), height - max(rows, 0), max(-columns, 0), width - max(columns, 0)
    if top < bottom and left < right:
        out[..., top:bottom, left:right] = image[..., top + rows : bottom + rows, left + columns : right + columns]
    return out


def _invert(parts: Sequence[Tensor], code: Tensor, value: Tensor, center: Tensor) -> None:
    _overwrite(parts, torch.bitwise_not)


def _solarize(parts: Sequence[Tensor], code: Tensor, value: Tensor, center: Tensor) -> None:
    _overwrite(parts, arithmetic.lookup, arithmetic.solarize_table(value))


def _posterize(parts: Sequence[Tensor], code: Tensor, value: Tensor, center: Tensor) -> None:
    _overwrite(parts, torch.bitwise_and, arithmetic.posterize_mask(value)[:, None, None, None])


def _brightness(parts: Sequence[Tensor], code: Tensor, value: Tensor, center: Tensor) -> None:
    _overwrite(parts, arithmetic.lookup, arithmetic.brightness_table(value))


def _autocontrast(parts: Sequence[Tensor], code: Tensor, value: Tensor, center: Tensor) -> None:
    _overwrite(parts, lambda part: arithmetic.lookup(part, arithmetic.autocontrast_table(part)))


def _equalize(parts: Sequence[Tensor], code: Tensor, value: Tensor, center: Tensor) -> None:
    _overwrite(parts, lambda part: arithmetic.lookup(part, arithmetic.equalize_table(part)))


def _contrast(parts: Sequence[Tensor], code: Tensor, value: Tensor, center: Tensor) -> None:
    _overwrite(parts, lambda part, factor: arithmetic.lookup(part, arithmetic.contrast_table(part, factor)), value)


def _color(parts: Sequence[Tensor], code: Tensor, value: Tensor, center: Tensor) -> None:
    if parts[0].shape[1] == 3:
        _overwrite(parts, lambda part, factor: arithmetic.blend(arithmetic.luminance(part), part, factor), value)


def _sharpness(parts: Sequence[Tensor], code: Tensor, value: Tensor, center: Tensor) -> None:
    _overwrite(parts, arithmetic.sharpness, value)


def _cutout(parts: Sequence[Tensor], code: Tensor, value: Tensor, center: Tensor) -> None:
    _overwrite(parts, arithmetic.cutout, arithmetic.cutout_mask(value, center, *parts[0].shape[2:]))


_KINDS: dict[int, _Kind] = {
    **{CODES[name]: _warp for name in GEOMETRIC},
    CODES["Invert"]: _invert,
    CODES["Solarize"]: _solarize,
    CODES["Posterize"]: _posterize,
    CODES["Brightness"]: _brightness,
    CODES["AutoContrast"]: _autocontrast,
    CODES["Equalize"]: _equalize,
    CODES["Contrast"]: _contrast,
    CODES["Color"]: _color,
    CODES["Sharpness"]: _sharpness,
    CODES["Cutout"]: _cutout,
}
