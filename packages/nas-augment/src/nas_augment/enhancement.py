"""The four enhancements of Pillow's ImageEnhance by kornia's functions, imported when they are first used."""

from typing import Any

from torch import Tensor

__all__ = ["ENHANCEMENTS", "enhance"]

ENHANCEMENTS = {
    "Contrast": "adjust_contrast_with_mean_subtraction",
    "Color": "adjust_saturation_with_gray_subtraction",
    "Brightness": "adjust_brightness_accumulative",
    "Sharpness": "sharpness",
}
"""Which function of `kornia.enhance` each is; its other adjustments are other operations."""


def enhance(name: str, images: Tensor, factor: Tensor) -> Tensor:
    """Enhance as Pillow does, without its rounding.

    Args:
        name: one of `ENHANCEMENTS`.
        images: ``(batch, 1 or 3, height, width)`` float in [0, 1].
        factor: for each image, ``(batch,)``; 1 changes nothing.
    """
    from kornia import enhance as functions

    function: Any = getattr(functions, ENHANCEMENTS[name])
    # As in `exact`: nothing to smooth where no pixel has eight neighbours; kornia refuses it.
    if name == "Sharpness" and min(images.shape[2:]) < 3:
        return images
    if name == "Contrast" and images.shape[1] == 1:
        # Up to kornia 0.8, the mean of grey images is that of the batch.
        return function(images.expand(-1, 3, -1, -1), factor.to(images.dtype))[:, :1]
    return function(images, factor.to(images.dtype))
