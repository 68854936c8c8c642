"""Operations that were drawn, applied to images."""

from typing import Literal

import torch
from torch import Tensor

from nas_augment import exact, soft
from nas_augment.errors import ImagesError, PolicyError
from nas_augment.operations import CODES
from nas_augment.policy import check_images
from nas_augment.relaxation import Relaxation
from nas_augment.sample import OperationDraw
from nas_augment.soft import Soft

__all__ = ["apply_operations", "check_path", "program", "transform"]

Backend = Literal["auto", "grouped", "dense"]
Path = Literal["exact", "soft"] | Soft


def program(draw: OperationDraw, height: int, width: int) -> tuple[Tensor, Tensor]:
    """What to do to images of a size, free of the space.

    Returns:
        The code of each operation, 0 (identity) where none is applied, ``(batch, count)`` int64, as in `CODES`; and
        its value ``(batch, count)`` float64, with fractions turned into pixels, in steps of 2^-20.
    """
    code, value = _program(draw, draw.value, height, width)
    return torch.where(draw.applied, code, 0), torch.where(draw.applied, soft.in_steps(value), 0.0)


def _program(draw: OperationDraw, value: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The code of each operation, applied or not, and `value` in pixels where it is a fraction."""
    code, pixels = draw.space.codes.to(draw.op.device)[draw.op], draw.space.pixels().to(draw.op.device)[draw.op]
    vertical = code == CODES["TranslateY"]
    is_fraction = (vertical | (code == CODES["TranslateX"]) | (code == CODES["Cutout"])) & ~pixels
    side = torch.where(vertical, float(height), float(width)).double()
    return code, value * torch.where(is_fraction, side, 1.0)


def check_path(path: Path) -> Soft | None:
    """The options of the soft path, or None for the exact one.

    Raises:
        PolicyError: it is neither.
    """
    if isinstance(path, Soft):
        return path
    if path not in ("exact", "soft"):
        raise PolicyError(f"unknown path {path!r}; expected exact, soft, or the options of the soft path, Soft(...).")
    return Soft() if path == "soft" else None


def apply_operations(
    images: Tensor,
    draw: OperationDraw,
    *,
    backend: Backend = "auto",
    path: Path = "exact",
    relaxation: Relaxation | None = None,
) -> Tensor:
    """Apply what was drawn, one operation after another.

    The ``exact`` path does what Pillow would: floats are rounded to 256 levels where an operation is applied, and left
    alone elsewhere; no gradient passes. The ``soft`` path takes floats only, rounds none but where `soft` says so, and
    is differentiable in the pixels and in `relaxation`; it computes in float32 (float64 for such images), whatever
    automatic mixed precision says, and reads on the host which operations were drawn.

    Args:
        images: ``(batch, channels, height, width)`` uint8, or float in [0, 1]; float for the soft path.
        draw: for as many images.
        backend: of the exact path: ``grouped`` is best on a CPU, ``dense`` on a GPU; both give the same bits. ``auto``
            chooses by device.
        path: ``exact``, ``soft``, or `soft.Soft` with its options.
        relaxation: of the soft path: levels and gates with gradients in place of those drawn.

    Raises:
        ImagesError: the images are not images, not as many as were drawn for, or uint8 on the soft path.
        PolicyError: the draw is not one of its space, the backend or path is unknown, or the relaxation is not one of
            this draw, or not for this path.
    """
    check_images(images)
    return transform(images, draw, backend=backend, path=path, relaxation=relaxation)


def transform(
    images: Tensor, draw: OperationDraw, *, backend: Backend, path: Path, relaxation: Relaxation | None = None
) -> Tensor:
    """As `apply_operations`, of what is known to be images: a step of a policy that has checked them."""
    draw.check()
    if len(images) != len(draw):
        raise ImagesError(f"{len(images)} images, but the draw is for {len(draw)}.")
    if backend not in ("auto", "grouped", "dense"):
        raise PolicyError(f"unknown backend {backend!r}; expected auto, grouped or dense.")
    options = check_path(path)
    if options is not None:
        if relaxation is not None:
            relaxation.check(draw.op.shape)
        return _apply_soft(images, draw, options, relaxation)
    if relaxation is not None:
        raise PolicyError('the exact path has no gradient for a relaxation; pass path="soft".')
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


def _apply_soft(images: Tensor, draw: OperationDraw, options: Soft, relaxation: Relaxation | None) -> Tensor:
    if not images.is_floating_point():
        raise ImagesError(f"the soft path takes floats in [0, 1], not {images.dtype}; pass images.float() / 255.")
    if options.magnitude_gradient == "dada_ste":
        if relaxation is None or relaxation.level is None:
            raise PolicyError('"dada_ste" is a gradient by levels; pass a relaxation with levels.')
        with torch.no_grad():
            out = _soften(images, draw, options, relaxation)
        level = relaxation.level.to(images.device)
        added = (draw.applied.to(images.device) * level).sum(1)[:, None, None, None]
        return soft.straight_through(out, added.to(out.dtype)).to(images.dtype)
    return _soften(images, draw, options, relaxation).to(images.dtype)


def _soften(images: Tensor, draw: OperationDraw, options: Soft, relaxation: Relaxation | None) -> Tensor:
    level = None if relaxation is None or relaxation.level is None else relaxation.level.to(draw.op.device)
    value = draw.value if level is None else draw.space.value_at(draw.op, level, draw.sign)
    code, value = _program(draw, value, *images.shape[2:])
    if relaxation is None:
        code, gate = torch.where(draw.applied, code, 0), None
    else:
        gate = draw.applied.double() if relaxation.gate is None else relaxation.gate.to(draw.op.device).double()
        # A draw of operations without a value must have a gradient by the levels too: 0.
        gate = gate if level is None else gate + 0 * level
    with torch.autocast(images.device.type, enabled=False):
        out = images.to(torch.promote_types(images.dtype, torch.float32), copy=True)
        for slot in range(code.shape[1]):
            moved = soft.stage(out, code[:, slot], value[:, slot], draw.center[:, slot], options)
            if gate is not None:
                # Interpolation gives either end bit for bit where the gate is 0 or 1.
                moved = torch.lerp(out, moved, gate[:, slot, None, None, None].to(out))
            out = moved
    return out
