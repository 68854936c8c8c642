"""The backend for CPUs: the images of a stage sorted by what is done to them, each kind computed once."""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

import torch
from torch import Tensor

from nas_augment import arithmetic
from nas_augment.operations import CODES, GEOMETRIC

__all__ = ["grouped"]

_PIXELS_AT_ONCE = 2**16
"""Of all images of a part together: what an operation holds of them meanwhile should stay in the cache."""


_Kind = Callable[[Sequence[Tensor], Sequence[int], Tensor, Tensor], None]
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
    codes: list[int] = code.tolist()
    members: dict[_Kind | None, list[int]] = {}
    # A batch of small images is bound by calls. Sorted once, it is split once; within a kind, too, codes lie together.
    for row in sorted(range(len(codes)), key=codes.__getitem__):
        members.setdefault(_KINDS.get(codes[row]), []).append(row)
    rows = [row for kind in members.values() for row in kind]
    sizes = [len(kind) for kind in members.values()]
    order = torch.tensor(rows, dtype=torch.int64)
    at_once = max(1, _PIXELS_AT_ONCE // max(1, images.shape[2] * images.shape[3]))
    # Large images are overwritten one by one where they lie: another batch in memory would cost more than the passes.
    # Small ones are sorted, so that a kind is a slice: nothing else writes to many of them at once as fast.
    if at_once == 1:
        out = images if overwrite and images.is_contiguous() else images.clone(memory_format=torch.contiguous_format)
    else:
        out = images.index_select(0, order.to(images.device))
    # Calls are a sixth faster here; the tensor that leaves is an ordinary one.
    with torch.inference_mode():
        values, centers = (
            each.index_select(0, order.to(each.device)).to(images.device).split(sizes) for each in (value, center)
        )
        sorted_images = [out] * len(sizes) if at_once == 1 else out.split(sizes)
        start = 0
        for kind, part, *drawn in zip(members, sorted_images, values, centers, strict=True):
            of_kind = rows[start : start + len(drawn[0])]
            start += len(of_kind)
            if kind is not None:
                parts = [out[row : row + 1] for row in of_kind] if at_once == 1 else _split(part, at_once)
                kind(parts, [codes[row] for row in of_kind], *drawn)
    return out if at_once == 1 else out.index_select(0, order.argsort().to(images.device))


def _split(tensor: Tensor, size: int) -> Sequence[Tensor]:
    return (tensor,) if len(tensor) <= size else tensor.split(size)


def _each(parts: Sequence[Tensor], *each: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """The parts, each with what belongs to its images."""
    return zip(parts, *(_split(tensor, len(parts[0])) for tensor in each), strict=True)


def _warp(parts: Sequence[Tensor], codes: Sequence[int], value: Tensor, center: Tensor) -> None:
    code = torch.tensor(codes, device=value.device)
    fixed = arithmetic.fixed_point(arithmetic.coefficients(code, value, *parts[0].shape[2:]))
    if len(parts[0]) > 1:
        for part, some in _each(parts, fixed):
            part.copy_(arithmetic.gather(part, some))
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


def _invert(parts: Sequence[Tensor], codes: Sequence[int], value: Tensor, center: Tensor) -> None:
    for part in parts:
        part.bitwise_not_()


def _posterize(parts: Sequence[Tensor], codes: Sequence[int], value: Tensor, center: Tensor) -> None:
    for part, mask in _each(parts, arithmetic.posterize_mask(value)):
        part.bitwise_and_(mask)


def _table(parts: Sequence[Tensor], codes: Sequence[int], value: Tensor, center: Tensor) -> None:
    start = 0
    for part, some in _each(parts, value):
        runs = [(code, len(list(run))) for code, run in groupby(codes[start : start + len(part)])]
        start += len(part)
        sizes = [size for _, size in runs]
        tables = [
            _TABLES[code](images, drawn).expand(-1, part.shape[1], -1)
            for (code, _), images, drawn in zip(runs, part.split(sizes), some.split(sizes), strict=True)
        ]
        part.copy_(arithmetic.lookup(part, torch.cat(tables)))


def _color(parts: Sequence[Tensor], codes: Sequence[int], value: Tensor, center: Tensor) -> None:
    if parts[0].shape[1] == 3:
        for part, factor in _each(parts, value):
            part.copy_(arithmetic.blend(arithmetic.luminance(part), part, factor))


def _sharpness(parts: Sequence[Tensor], codes: Sequence[int], value: Tensor, center: Tensor) -> None:
    for part, factor in _each(parts, value):
        arithmetic.middle(part).copy_(arithmetic.sharpened_middle(part, factor))


def _cutout(parts: Sequence[Tensor], codes: Sequence[int], value: Tensor, center: Tensor) -> None:
    for part, mask in _each(parts, arithmetic.cutout_mask(value, center, *parts[0].shape[2:])):
        part.bitwise_xor_(arithmetic.cutout_bits(part, mask))


_TABLES: dict[int, Callable[[Tensor, Tensor], Tensor]] = {
    CODES["AutoContrast"]: lambda images, value: arithmetic.autocontrast_table(images),
    CODES["Equalize"]: lambda images, value: arithmetic.equalize_table(images),
    CODES["Solarize"]: lambda images, value: arithmetic.solarize_table(value),
    CODES["Contrast"]: arithmetic.contrast_table,
    CODES["Brightness"]: lambda images, value: arithmetic.brightness_table(value),
}
"""The table of each image ``(batch, channels or 1, 256)``, made of the images and their values."""

_KINDS: dict[int, _Kind] = {
    **{CODES[name]: _warp for name in GEOMETRIC},
    **dict.fromkeys(_TABLES, _table),
    CODES["Invert"]: _invert,
    CODES["Posterize"]: _posterize,
    CODES["Color"]: _color,
    CODES["Sharpness"]: _sharpness,
    CODES["Cutout"]: _cutout,
}
