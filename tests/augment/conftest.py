"""The operations written with Pillow alone, which the exact arithmetic is held against; and test images."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

Reference = Callable[[Tensor, str, float, tuple[float, float]], Tensor]


def _transform(image: Any, name: str, value: float, center: tuple[float, float]) -> Any:
    from PIL import Image, ImageDraw, ImageEnhance, ImageOps

    width, height = image.size
    affine = {
        "ShearX": (1, value, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, value, 1, 0),
        "TranslateX": (1, 0, value, 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, value),
    }
    if name in affine:
        return image.transform(image.size, Image.Transform.AFFINE, affine[name])
    if name == "Rotate":
        return image.rotate(value)
    if name in ("AutoContrast", "Invert", "Equalize"):
        return getattr(ImageOps, name.lower())(image)
    if name == "Solarize":
        return ImageOps.solarize(image, value)  # type: ignore[arg-type]  # Pillow compares, so that floats work
    if name == "Posterize":
        # No bits is black; current Pillow refuses it.
        return ImageOps.posterize(image, int(value)) if value >= 1 else Image.new(image.mode, image.size)
    if name in ("Contrast", "Color", "Brightness", "Sharpness"):
        return getattr(ImageEnhance, name)(image).enhance(value)
    if name == "Cutout" and value > 0:
        left = int(max(0, center[0] * width - value / 2))
        top = int(max(0, center[1] * height - value / 2))
        image = image.copy()
        box = (left, top, min(width, left + value), min(height, top + value))
        ImageDraw.Draw(image).rectangle(box, (125, 123, 114) if image.mode == "RGB" else 123)
    return image


def _to_pillow(image: Tensor) -> Any:
    from PIL import Image

    channels, height, width = image.shape
    mode = "L" if channels == 1 else "RGB"
    return Image.frombytes(mode, (width, height), bytes(image.permute(1, 2, 0).flatten().tolist()))


def _from_pillow(image: Any) -> Tensor:
    flat = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return flat.view(image.size[1], image.size[0], len(image.getbands())).permute(2, 0, 1)


@pytest.fixture(scope="session")
def pillow() -> Reference:
    """One operation done by Pillow on ``(1 or 3, height, width)`` uint8; a skip where Pillow is not installed."""
    pytest.importorskip("PIL")
    return lambda image, name, value, center: _from_pillow(_transform(_to_pillow(image), name, value, center))


@pytest.fixture(scope="session")
def contents() -> Callable[..., Tensor]:
    """Images of several kinds: noise, few levels, a narrow range, a constant channel, constant, only extremes."""

    def make(batch: int, height: int, width: int, channels: int = 3, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randint(0, 256, (batch, channels, height, width), generator=generator)
        kind = (torch.arange(batch) % 6)[:, None, None, None]
        images = torch.where(kind == 1, noise // 100 * 100, noise)
        images = torch.where(kind == 2, noise // 4 + 60, images)
        images[:, 0] = torch.where(kind[:, 0] == 3, 77, images[:, 0])
        images = torch.where(kind == 4, 200, images)
        return torch.where(kind == 5, noise // 128 * 255, images).to(torch.uint8)

    return make
