"""Where the operations that were drawn move the pixels of each image."""

import torch

from nas_augment.applying import program
from nas_augment.exact import coefficients, cutout_box
from nas_augment.geometry import Motion
from nas_augment.operations import CODES
from nas_augment.sample import OperationDraw

__all__ = ["operation_motions"]


def operation_motions(draw: OperationDraw, height: int, width: int) -> tuple[Motion, ...]:
    """The motion of each slot, the identity for operations that change colours only; from what `exact` moves by."""
    draw.check()
    codes, values = program(draw, height, width)
    motions = []
    for code, value, center in zip(codes.unbind(1), values.unbind(1), draw.center.unbind(1), strict=True):
        left, right, top, bottom = cutout_box(value, center, height, width)
        box = torch.stack((left, top, right + 1, bottom + 1), 1)
        covers = (code == CODES["Cutout"]) & (value > 0)
        inverse = coefficients(code, value, height, width).view(-1, 2, 3)
        motions.append(Motion(inverse, torch.where(covers[:, None], box, 0.0)))
    return tuple(motions)
