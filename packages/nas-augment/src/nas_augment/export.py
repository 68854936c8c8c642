"""A decided policy as a transform of other libraries: one image at a time for data loaders, batches for kornia.

Where images of 224 pixels are Pillow's before and after, Pillow is a little faster on a CPU than the tensors: use
`to_pillow` there.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

from nas_augment.errors import ImagesError, MissingExtraError
from nas_augment.exact import CUTOUT_FILL
from nas_augment.fixed import Crop, Flip
from nas_augment.recipe import Instruction, draw_recipe
from nas_augment.source import Source

if TYPE_CHECKING:
    from nas_augment.decided import Policy

__all__ = ["PillowTransform", "apply_pillow", "check_pillow", "moves_alone", "to_kornia", "to_pillow", "to_torchvision"]


def moves_alone(policy: "Policy") -> bool:
    """Whether a policy has crops and flips alone, which any image can be put through."""
    return all(isinstance(stage, Crop | Flip) for stage in policy.stages)


def apply_pillow(image: Any, instructions: tuple[Instruction, ...]) -> Any:
    """Carry out instructions on a Pillow image of mode RGB or L; bit-equal to `exact`."""
    for instruction in instructions:
        image = _pillow(image, *instruction)
    return image


def check_pillow(image: Any) -> None:
    """Refuse what is no Pillow image of mode RGB or L: operations fail on other modes, or write wrong levels.

    Raises:
        ImagesError: it is none.
    """
    mode = getattr(image, "mode", None)
    if not isinstance(mode, str):
        raise ImagesError(f"an image is of type {type(image).__name__}; expected a Pillow image of mode RGB or L.")
    if mode not in ("RGB", "L"):
        raise ImagesError(f'an image is of mode {mode}; expected RGB or L: convert it by image.convert("RGB").')


def _pillow(image: Any, name: str, value: float, box: tuple[int, int, int, int]) -> Any:
    from PIL import Image, ImageEnhance, ImageOps

    coefficients = {
        "ShearX": (1, value, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, value, 1, 0),
        "TranslateX": (1, 0, value, 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, value),
    }
    if name in coefficients:
        return image.transform(image.size, Image.Transform.AFFINE, coefficients[name])
    if name in ("AutoContrast", "Invert", "Equalize"):
        return getattr(ImageOps, name.lower())(image)
    if name in ("Contrast", "Color", "Brightness", "Sharpness"):
        return getattr(ImageEnhance, name)(image).enhance(value)
    if name == "Rotate":
        return image.rotate(value)
    if name == "Solarize":
        return ImageOps.solarize(image, value)  # type: ignore[arg-type]  # it only compares: floats work
    if name == "Posterize":
        return ImageOps.posterize(image, int(value)) if value >= 1 else Image.new(image.mode, image.size)
    if name == "Flip":
        return ImageOps.mirror(image)
    if name == "Crop":
        return ImageOps.expand(image, int(value)).crop(box)
    # Cutout and Square.
    image = image.copy()
    image.paste(_pillow_fill(image.mode, name, value), box)
    return image


def _pillow_fill(mode: str, name: str, value: float) -> Any:
    if name == "Square":
        return round(255 * value) if mode == "L" else (round(255 * value),) * 3
    from PIL import Image

    return CUTOUT_FILL if mode == "RGB" else Image.new("RGB", (1, 1), CUTOUT_FILL).convert("L").getpixel((0, 0))


class PillowTransform:
    """A callable from Pillow image to Pillow image; pickles, so that it works in data loader workers.

    Args:
        policy: what to draw from.
        generator: to draw with; see `source.Source`.
    """

    def __init__(self, policy: "Policy", generator: torch.Generator | None = None) -> None:
        self.policy = policy
        self._source = Source(generator)

    def __call__(self, image: Any) -> Any:
        """Augment one image by a draw of its own.

        Raises:
            ImagesError: the policy has more than crops and flips, and it is no Pillow image of mode RGB or L.
        """
        if not moves_alone(self.policy):
            check_pillow(image)
        width, height = image.size
        return apply_pillow(image, draw_recipe(self.policy.stages, height, width, self._source.generator()))


def to_pillow(policy: "Policy", generator: torch.Generator | None = None) -> PillowTransform:
    """The policy for Pillow images of mode RGB or L, bit-equal to `Policy.apply` (extra `pillow`).

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    if find_spec("PIL") is None:
        raise MissingExtraError("transforms of Pillow images", "Pillow", "pillow")
    return PillowTransform(policy, generator)


def to_torchvision(policy: "Policy", generator: torch.Generator | None = None) -> Any:
    """The policy as a torchvision v2 transform of one image with its masks, boxes and key points (extra `torchvision`).

    On Pillow images of mode RGB or L, and uint8 tensors of 1 or 3 channels; others meet an `ImagesError` when they
    are passed, unless the policy has crops and flips alone. torchvision differs from Pillow by one level in four
    operations, and picks other pixels where a rotation or shear falls between two. Its key points are counted in
    pixels: (0, 0) is the middle of the first, where ours is (0.5, 0.5). What comes from outside is 0 in its masks.

    Raises:
        MissingExtraError: torchvision is not installed.
    """
    if find_spec("torchvision") is None:
        raise MissingExtraError("torchvision transforms", "torchvision", "torchvision")
    from nas_augment.torchvision_transform import PolicyTransform

    return PolicyTransform(policy, generator)


def to_kornia(policy: "Policy", generator: torch.Generator | None = None) -> torch.nn.Module:
    """The policy as a module for batches of floats in [0, 1], built on kornia's functions, not on its Random classes.

    ``module(images)`` draws; ``module(images, sample)`` applies a recorded sample of ``FixedPolicy(policy.stages)``
    again. The largest difference from `Policy.apply` for images of whole levels, in levels of 256, is 0 for Invert,
    Equalize, Solarize, Posterize and Cutout, 1 for Brightness, 1.1 for AutoContrast, 1.5 for Color and Sharpness, 2 for
    Contrast; shears, shifts and rotations copy the same pixels but where the source lies between two (below 1 % of the
    pixels of images of 32 pixels and more). A second operation can enlarge these, where it has steps.

    Raises:
        PolicyError: the policy has a stage that is not ours.
    """
    from nas_augment.kornia_transform import KorniaTransform

    return KorniaTransform(policy, generator)
