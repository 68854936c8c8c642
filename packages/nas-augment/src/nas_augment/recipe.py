"""What is done to one image, free of tensors: what the exports carry out with other libraries."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nas_augment.applying import program
from nas_augment.errors import PolicyError
from nas_augment.exact import cutout_box
from nas_augment.fixed import Crop, Cutout, Flip, Stage
from nas_augment.operations import CODES
from nas_augment.sample import OperationDraw
from nas_augment.stages import SubPolicies, UniformOperations

__all__ = ["Instruction", "draw_recipe", "recipe"]

_NAMES = {code: name for name, code in CODES.items()}


class Instruction(NamedTuple):
    """One thing to do to an image.

    Attributes:
        name: an operation of `operations.CODES`, or Crop, Flip or Square.
        value: of the operation, lengths in pixels; the padding of Crop; the fill of Square, in [0, 1].
        box: (left, top, right, bottom) in pixels, right and bottom exclusive: what Crop keeps of the padded image, what
            Square covers, what Cutout covers; zeros otherwise.
    """

    name: str
    value: float = 0.0
    box: tuple[int, int, int, int] = (0, 0, 0, 0)


def recipe(stages: Sequence[Stage], draws: Sequence[Tensor], height: int, width: int) -> tuple[Instruction, ...]:
    """What a draw for one image means.

    Args:
        stages: of a decided policy.
        draws: one tensor ``(1, numbers)`` for each stage.
        height: of the image.
        width: of the image.

    Raises:
        PolicyError: a stage is none of ours.
    """
    out: list[Instruction] = []
    for stage, draw in zip(stages, draws, strict=True):
        if isinstance(stage, Crop):
            top, left = (int(each) for each in stage.offset(draw)[0])
            out.append(Instruction("Crop", stage.padding, (left, top, left + width, top + height)))
        elif isinstance(stage, Flip):
            out += [Instruction("Flip")] if bool(stage.mirrored(draw)[0]) else []
        elif isinstance(stage, Cutout):
            top, left = (int(each) for each in stage.start(draw, height, width)[0])
            out.append(Instruction("Square", stage.fill, _clip(left, top, stage.length, height, width)))
        elif isinstance(stage, SubPolicies | UniformOperations):
            out += _operations(stage.decode(draw), height, width)
        else:
            raise PolicyError(f"a stage of type {type(stage).__name__} cannot be exported.")
    return tuple(out)


def draw_recipe(
    stages: Sequence[Stage], height: int, width: int, generator: torch.Generator
) -> tuple[Instruction, ...]:
    """Draw for one image, as `FixedPolicy.sample` does for a batch of one."""
    draws = [torch.rand(1, stage.numbers, generator=generator) for stage in stages]
    return recipe(stages, draws, height, width)


def _clip(left: int, top: int, length: int, height: int, width: int) -> tuple[int, int, int, int]:
    return max(left, 0), max(top, 0), max(min(left + length, width), 0), max(min(top + length, height), 0)


def _operations(draw: OperationDraw, height: int, width: int) -> list[Instruction]:
    code, value = program(draw, height, width)
    out = []
    for slot in range(code.shape[1]):
        name, number = _NAMES[int(code[0, slot])], float(value[0, slot])
        if name == "Cutout" and number > 0:
            left, right, top, bottom = (
                int(each) for each in cutout_box(value[:, slot], draw.center[:, slot], height, width)
            )
            box = (left, top, min(right + 1, width), min(bottom + 1, height))
            out.append(Instruction(name, number, box))
        elif name not in ("Cutout", "Identity"):
            out.append(Instruction(name, number))
    return out
