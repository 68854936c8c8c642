"""The backend for CPUs: the images of a stage sorted by the kind of operation, each kind computed once."""

from collections.abc import Callable

import torch
from torch import Tensor

from nas_augment import arithmetic
from nas_augment.operations import CODES

__all__ = ["grouped"]

_GROUPS = {
    "warp": ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"),
    "table": ("Invert", "Solarize", "Posterize", "Brightness"),
    "autocontrast": ("AutoContrast",),
    "equalize": ("Equalize",),
    "contrast": ("Contrast",),
    "color": ("Color",),
    "sharpness": ("Sharpness",),
    "cutout": ("Cutout",),
}

_KIND_OF = {CODES[name]: kind for kind, names in _GROUPS.items() for name in names}

_PIXELS_AT_ONCE = 2**16
"""Of all images together; what an operation holds in between, some 20 bytes for each, should stay in the cache."""


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
        members.setdefault(_KIND_OF.get(each, "identity"), []).append(row)
    order = torch.tensor([row for rows in members.values() for row in rows])
    # Sorted once, every kind is a slice, and writing to slices is several times faster than writing to indices.
    arguments = [each.index_select(0, order.to(each.device)).to(images.device) for each in (images, code, value, center)]
    at_once = max(1, _PIXELS_AT_ONCE // max(1, images.shape[2] * images.shape[3]))
    start = 0
    for kind, rows in members.items():
        stop = start + len(rows)
        for first in range(start, stop if kind != "identity" else start, at_once):
            some = [each[first : min(first + at_once, stop)] for each in arguments]
            some[0].copy_(_KINDS[kind](*some))
        start = stop
    return arguments[0].index_select(0, order.argsort().to(images.device))


def _warp(images: Tensor, code: Tensor, value: Tensor, center: Tensor) -> Tensor:
    return arithmetic.gather(images, arithmetic.coefficients(code, value, images.shape[2], images.shape[3]))


def _color(images: Tensor, code: Tensor, value: Tensor, center: Tensor) -> Tensor:
    return arithmetic.blend(arithmetic.luminance(images), images, value) if images.shape[1] == 3 else images


_KINDS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "warp": _warp,
    "table": lambda images, code, value, center: arithmetic.lookup(images, arithmetic.plain_table(code, value)),
    "autocontrast": lambda images, *_: arithmetic.lookup(images, arithmetic.autocontrast_table(images)),
    "equalize": lambda images, *_: arithmetic.lookup(images, arithmetic.equalize_table(images)),
    "contrast": lambda images, code, value, center: arithmetic.lookup(images, arithmetic.contrast_table(images, value)),
    "color": _color,
    "sharpness": lambda images, code, value, center: arithmetic.sharpness(images, value),
    "cutout": lambda images, code, value, center: arithmetic.cutout(images, value, center),
}
