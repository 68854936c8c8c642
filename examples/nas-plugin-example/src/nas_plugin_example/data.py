"""A data source: `nascli search --data stripes:12`."""

import torch

from nas_search import ConfigError, Examples, ImageData

__all__ = ["stripes"]


def stripes(size: str) -> ImageData:
    """Upright and lying stripes in noise, SIZE pixels wide.

    Args:
        size: what stands behind the colon; 8 where nothing does.
    """
    if not (size or "8").isdecimal() or int(size or 8) < 4:
        raise ConfigError(f"stripes of {size!r} pixels; expected a number from 4 on, such as stripes:12.")
    pixels, generator = int(size or 8), torch.Generator().manual_seed(0)
    labels = torch.arange(160) % 2
    stripe = (torch.arange(pixels) % 2 * 160).expand(pixels, pixels)
    clean = torch.where(labels[:, None, None] == 0, stripe, stripe.T)
    images = (clean + torch.randint(96, (160, pixels, pixels), generator=generator)).to(torch.uint8)[:, None]
    return ImageData("stripes", Examples(images[:128], labels[:128]), Examples(images[128:], labels[128:]))
