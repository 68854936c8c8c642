"""Depthwise convolutions. Dilated kernels, which are slow on a CPU, are ordinary ones on the four interleaved quarters of the
features (`split`, `merge`).
"""

from torch import Tensor

from nas_spaces.twice import conv2d

__all__ = ["depthwise", "merge", "split"]


def depthwise(features: Tensor, kernel: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    """Convolve each channel with its own kernel; the padding keeps the size up to the stride.

    Args:
        features: ``(batch, channels, height, width)``.
        kernel: ``(channels, 1, k, k)``, k odd.
        stride: step between outputs.
        dilation: step between the entries of the kernel.
    """
    padding = dilation * (kernel.shape[-1] // 2)
    return conv2d(features, kernel, stride, padding, dilation, features.shape[1])


def split(features: Tensor) -> Tensor:
    """The four quarters of even and odd rows and columns, ``(b, c, h, w) -> (4 b, c, h / 2, w / 2)``; h and w even."""
    b, c, h, w = features.shape
    quarters = features.permute(0, 2, 3, 1).reshape(b, h // 2, 2, w // 2, 2, c).permute(2, 4, 0, 1, 3, 5)
    return quarters.reshape(4 * b, h // 2, w // 2, c).permute(0, 3, 1, 2)


def merge(quarters: Tensor) -> Tensor:
    """The inverse of `split`."""
    b, c, h, w = quarters.shape
    whole = quarters.permute(0, 2, 3, 1).reshape(2, 2, b // 4, h, w, c).permute(2, 3, 0, 4, 1, 5)
    return whole.reshape(b // 4, 2 * h, 2 * w, c).permute(0, 3, 1, 2)
