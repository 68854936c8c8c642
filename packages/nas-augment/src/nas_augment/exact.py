"""The operations on uint8 tensors, every image with its own operation, equal to Pillow's bit for bit.

Two backends give the same bits. `grouped` sorts the images of a stage by the kind of operation and computes each kind
once; it reads the operations on the host. `dense` computes every kind for every image, in static shapes and without
waiting for the device, for `torch.compile(fullgraph=True)` and CUDA graphs. Their arithmetic is in `arithmetic`.
"""

import torch
from torch import Tensor

from nas_augment import arithmetic
from nas_augment.arithmetic import CUTOUT_FILL, coefficients, cutout_box, source
from nas_augment.grouped import grouped
from nas_augment.operations import CODES

__all__ = ["CUTOUT_FILL", "coefficients", "cutout_box", "dense", "grouped", "source", "stage"]


def dense(images: Tensor, code: Tensor, value: Tensor, center: Tensor) -> Tensor:
    """As `grouped`, with everything computed for every image; arguments on the device of the images."""
    matrix = coefficients(code, value, images.shape[2], images.shape[3])
    out = arithmetic.gather(images, arithmetic.fixed_point(matrix))
    out = arithmetic.lookup(out, _tables(out, code, value))
    if out.shape[1] == 3:
        out = arithmetic.blend(arithmetic.luminance(out), out, torch.where(_is(code, "Color"), value, 1.0))
    sharpened = arithmetic.sharpened_middle(out, torch.where(_is(code, "Sharpness"), value, 1.0))
    arithmetic.middle(out).copy_(sharpened)
    size = torch.where(_is(code, "Cutout"), value, 0.0)
    mask = arithmetic.cutout_mask(size, center, images.shape[2], images.shape[3])
    return out.bitwise_xor_(arithmetic.cutout_bits(out, mask))


def stage(images: Tensor, code: Tensor, value: Tensor, center: Tensor, backend: str, overwrite: bool = False) -> Tensor:
    """Apply by the named backend: ``grouped`` or ``dense``; `overwrite` as in `grouped`."""
    if backend == "grouped":
        return grouped(images, code, value, center, overwrite)
    device = images.device
    return dense(images, code.to(device), value.to(device), center.to(device))


def _tables(images: Tensor, code: Tensor, value: Tensor) -> Tensor:
    """The table of every image and channel ``(batch, channels, 256)`` uint8; identity where the operation has none."""
    level = torch.arange(256, device=images.device, dtype=torch.uint8)
    bits = torch.where(_is(code, "Posterize"), value, 8.0)
    table = level & arithmetic.posterize_mask(bits).squeeze(1)
    for name, other in (
        ("Invert", 255 - level),
        ("Solarize", arithmetic.solarize_table(value)),
        ("Brightness", arithmetic.brightness_table(value)),
        ("Contrast", arithmetic.contrast_table(images, value)),
        ("AutoContrast", arithmetic.autocontrast_table(images)),
        ("Equalize", arithmetic.equalize_table(images)),
    ):
        table = torch.where(_is(code, name)[:, None, None], other, table)
    return table


def _is(code: Tensor, name: str) -> Tensor:
    return code == CODES[name]
