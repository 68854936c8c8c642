"""Depthwise convolutions, by the fastest way that gives the same numbers.

Two things are slow in PyTorch on a CPU and are done otherwise here: the gradient of a 5 x 5 kernel, put together from
two gradients of 5 x 3 kernels, which have a vectorised routine; and dilated kernels, which on the four interleaved
quarters of the features (`split`, `merge`) are ordinary ones.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_spaces.twice import by_hand, conv2d, convolution_gradients, transformed

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
    if _worth_it(features, kernel, stride, dilation):
        return _Depthwise5.apply(features, kernel)
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


def _worth_it(features: Tensor, kernel: Tensor, stride: int, dilation: int) -> bool:
    return (
        kernel.shape[-1] == 5
        and stride == dilation == 1
        and kernel.requires_grad
        and min(features.shape[2:]) > 2
        and by_hand(features, kernel)
    )


class _Depthwise5(torch.autograd.Function):
    """A 5 x 5 depthwise convolution whose kernel's gradient is computed in two parts."""

    @staticmethod
    def forward(features: Tensor, kernel: Tensor) -> Tensor:
        return F.conv2d(features, kernel, padding=2, groups=features.shape[1])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        features, kernel = ctx.saved_tensors
        wants_features, wants_kernel = ctx.needs_input_grad
        in_parts = wants_kernel and not torch.is_grad_enabled() and not transformed(*grad)
        wanted = (wants_features, wants_kernel and not in_parts)
        to_features, to_kernel = convolution_gradients(grad[0], features, kernel, (1, 2, 1, kernel.shape[0]), wanted)
        if in_parts:
            # When the gradient is itself differentiated, the one above is the one that can be.
            to_kernel = _in_parts(grad[0], features)
        return to_features, to_kernel


def _in_parts(grad: Tensor, features: Tensor) -> Tensor:
    """Columns 0 to 2 and 2 to 4 of the 5 x 5 gradient, as gradients of 5 x 3 kernels, which have a vectorised routine.

    Two columns of zeros between the rows of `grad` serve both: read from the first pixel they stand right of each row,
    read from two pixels earlier they stand left of it.
    """
    b, c, h, w = grad.shape
    buffer = grad.new_zeros((b * h * (w + 2) + 2) * c)
    size, strides = (b, c, h, w + 2), (h * (w + 2) * c, 1, (w + 2) * c, c)
    right = buffer.as_strided(size, strides, 2 * c)
    right[..., :w] = grad
    # The routine takes no more padding than half the kernel.
    padded, like = F.pad(features, (2, 2, 2, 2)), features.new_empty(c, 1, 5, 3)
    parts = []
    for window in (right, buffer.as_strided(size, strides, 0)):
        part = convolution_gradients(window, padded, like, (1, 0, 1, c), (False, True))[1]
        assert part is not None
        parts.append(part)
    return torch.cat([parts[0], parts[1][..., 1:]], dim=3)
