"""The torchvision v2 transform of a decided policy; imported only where torchvision is asked for."""

import math
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from nas_augment.decided import Policy
from nas_augment.errors import ImagesError
from nas_augment.exact import CUTOUT_FILL
from nas_augment.export import check_pillow, moves_alone
from nas_augment.operations import GEOMETRIC
from nas_augment.recipe import Instruction, draw_recipe
from nas_augment.source import Source

__all__ = ["PolicyTransform", "apply_torchvision"]

_LABELS = (tv_tensors.Mask, tv_tensors.BoundingBoxes, tv_tensors.KeyPoints)


class PolicyTransform(v2.Transform):  # type: ignore[misc]  # torchvision is not typed
    """One image, and what belongs to it, by one draw.

    Args:
        policy: what to draw from.
        generator: to draw with; see `source.Source`.
    """

    def __init__(self, policy: Policy, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.policy = policy
        self._source = Source(generator)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw once for everything that belongs together."""
        height, width = v2.query_size(flat_inputs)
        return {"instructions": draw_recipe(self.policy.stages, height, width, self._source.generator())}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Carry out what was drawn on an image, a mask, boxes or key points.

        Raises:
            ImagesError: the policy has more than crops and flips, which take any image, and an image is neither Pillow's, of mode
                RGB or L, nor a uint8 tensor of 1 or 3 channels.
        """
        if not moves_alone(self.policy) and not isinstance(inpt, _LABELS):
            _check_image(inpt)
        return apply_torchvision(inpt, params["instructions"])


def apply_torchvision(inpt: Any, instructions: tuple[Instruction, ...]) -> Any:
    """Carry out instructions by torchvision's functions; masks, boxes and key points follow the geometric ones."""
    for name, value, box in instructions:
        if name in GEOMETRIC or name in ("Crop", "Flip"):
            inpt = _geometric(inpt, name, value, box)
        elif not isinstance(inpt, _LABELS):
            inpt = _photometric(inpt, name, value, box)
    return inpt


def _check_image(image: Any) -> None:
    if not isinstance(image, Tensor):
        check_pillow(image)
    elif image.dtype != torch.uint8:
        raise ImagesError(
            f"an image is {image.dtype}; expected uint8: augment before it becomes floats, or convert it by "
            "v2.ToDtype(torch.uint8, scale=True)."
        )
    elif image.ndim < 3 or image.shape[-3] not in (1, 3):
        raise ImagesError(
            f"an image has shape {tuple(image.shape)}; expected (..., channels, height, width) with 1 channel (grey) or "
            "3 (red, green, blue): of more, pass the first three, image[..., :3, :, :]."
        )


def _geometric(inpt: Any, name: str, value: float, box: tuple[int, int, int, int]) -> Any:
    if name == "Flip":
        return F.horizontal_flip(inpt)
    if name == "Crop":
        left, top, right, bottom = box
        return F.crop(F.pad(inpt, [int(value)] * 4), top, left, bottom - top, right - left)
    if name == "Rotate":
        return F.rotate(inpt, value)
    shift = -math.floor(value + 0.5)  # torchvision moves content by what Pillow moves the sampling point
    slope = math.degrees(math.atan(value))
    settings: dict[str, Any] = {
        "ShearX": {"shear": [slope, 0.0], "translate": [0, 0]},
        "ShearY": {"shear": [0.0, slope], "translate": [0, 0]},
        "TranslateX": {"shear": [0.0, 0.0], "translate": [shift, 0]},
        "TranslateY": {"shear": [0.0, 0.0], "translate": [0, shift]},
    }[name]
    return F.affine(inpt, angle=0.0, scale=1.0, center=[0.0, 0.0], **settings)


def _photometric(inpt: Any, name: str, value: float, box: tuple[int, int, int, int]) -> Any:
    if name in ("AutoContrast", "Equalize", "Invert"):
        return getattr(F, name.lower())(inpt)
    if name == "Solarize":
        return F.solarize(inpt, value) if value <= 255 else inpt
    if name == "Posterize":
        return F.posterize(inpt, int(value))
    if name in ("Contrast", "Brightness", "Sharpness", "Color"):
        return getattr(F, f"adjust_{'saturation' if name == 'Color' else name.lower()}")(inpt, value)
    left, top, right, bottom = box
    channels = F.get_num_channels(inpt)
    color = [round(255 * value)] * 3 if name == "Square" else list(CUTOUT_FILL)
    if channels == 1:
        color = color[1:2]
    fill = torch.tensor(color, dtype=torch.uint8).view(-1, 1, 1)
    return F.erase(inpt, top, left, bottom - top, right - left, fill)
