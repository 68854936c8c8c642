"""Operations that were drawn, applied to images."""

from typing import Literal

import torch
from torch import Tensor

from nas_augment import exact
from nas_augment.errors import ImagesError, PolicyError
from nas_augment.operations import CODES
from nas_augment.policy import check_images
from nas_augment.sample import OperationDraw

__all__ = ["apply_operations", "program"]

Backend = Literal["auto", "grouped", "dense"]


def program(draw: OperationDraw, height: int, width: int) -> tuple[Tensor, Tensor]:
    """What to do to images of a size, free of the space.

    Returns:
        The code of each operation, 0 (identity) where none is applied, ``(batch, count)`` int64, as in `CODES`; and
        its value ``(batch, count)`` float64, with fractions turned into pixels, in steps of 2^-20.
    """
    code, pixels = draw.space.codes.to(draw.op.device)[draw.op], draw.space.pixels().to(draw.op.device)[draw.op]
    vertical = code == CODES["TranslateY"]
    is_fraction = (vertical | (code == CODES["TranslateX"]) | (code == CODES["Cutout"])) & ~pixels
    side = torch.where(vertical, float(height), float(width)).double()
    value = draw.value * torch.where(is_fraction, side, 1.0)
    # Pillow finds the source of a shift by adding 1 from pixel to pixel. In steps of 2^-20 that sum is exact; else a
    # shift by half a pixel and a rounding error would move only a part of the image.
    value = torch.round(value * 2.0**20) / 2.0**20
    return torch.where(draw.applied, code, 0), torch.where(draw.applied, value, 0.0)


def apply_operations(images: Tensor, draw: OperationDraw, *, backend: Backend = "auto") -> Tensor:
    """Apply what was drawn, exactly as Pillow would, one operation after another.

    Floats are rounded to 256 levels where an operation is applied, and left alone elsewhere; no gradient passes.

    Args:
        images: ``(batch, channels, height, width)`` uint8, or float in [0, 1].
        draw: for as many images.
        backend: ``grouped`` is best on a CPU, ``dense`` on a GPU; both give the same bits. ``auto`` chooses by device.

    Raises:
        ImagesError: the images are not images, or not as many as were drawn for.
        PolicyError: the draw is not one of its space, or the backend is unknown.
    """
    check_images(images)
    draw.check()
    if len(images) != len(draw):
        raise ImagesError(f"{len(images)} images, but the draw is for {len(draw)}.")
    if backend not in ("auto", "grouped", "dense"):
        raise PolicyError(f"unknown backend {backend!r}; expected auto, grouped or dense.")
    if backend == "auto":
        backend = "dense" if images.is_cuda else "grouped"
    code, value = program(draw, *images.shape[2:])
    with torch.no_grad():
        out = images if images.dtype == torch.uint8 else (images.float() * 255).round().to(torch.uint8)
        for slot in range(code.shape[1]):
            out = exact.stage(out, code[:, slot], value[:, slot], draw.center[:, slot], backend, out is not images)
        if images.dtype == torch.uint8:
            return out if code.shape[1] else out.clone()
        changed = (code != 0).any(1).to(images.device)[:, None, None, None]
        return torch.where(changed, (out.float() / 255).to(images.dtype), images)
