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
    out = arithmetic.gather(images, coefficients(code, value, images.shape[2], images.shape[3]))
    out = arithmetic.lookup(out, _tables(out, code, value))
    if out.shape[1] == 3:
        grey = arithmetic.luminance(out)
        out = torch.where(_is(code, "Color")[:, None, None, None], arithmetic.blend(grey, out, value), out)
    out = arithmetic.sharpness(out, torch.where(_is(code, "Sharpness"), value, 1.0))
    return arithmetic.cutout(out, torch.where(_is(code, "Cutout"), value, 0.0), center)


def stage(images: Tensor, code: Tensor, value: Tensor, center: Tensor, backend: str) -> Tensor:
    """Apply by the named backend: ``grouped`` or ``dense``."""
    if backend == "grouped":
        return grouped(images, code, value, center)
    device = images.device
    return dense(images, code.to(device), value.to(device), center.to(device))


def _tables(images: Tensor, code: Tensor, value: Tensor) -> Tensor:
    """The table of every image and channel ``(batch, channels, 256)`` uint8; identity where the operation has none."""
    table = arithmetic.plain_table(code, value)
    for name, other in (
        ("Contrast", arithmetic.contrast_table(images, value)),
        ("AutoContrast", arithmetic.autocontrast_table(images)),
        ("Equalize", arithmetic.equalize_table(images)),
    ):
        table = torch.where(_is(code, name)[:, None, None], other, table)
    return table


def _is(code: Tensor, name: str) -> Tensor:
    return code == CODES[name]
