"""Convolutions and their gradients, by the fastest way that gives the same numbers on a CPU; none of this is differentiable.

Where PyTorch's own routine is slow another is taken. A pointwise kernel on channels-last features that fit in a cache is a
product of matrices. Of a depthwise 5 x 5 kernel the gradient with respect to the features is a convolution with the kernel
turned round, and that with respect to the kernel is put together from two of 5 x 3 kernels, which have a vectorised routine
where it has none.
"""

from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_spaces.modes import transformed

__all__ = ["Sizes", "channels_last", "convolve", "gradients", "pixel_rows"]

Sizes: TypeAlias = tuple[int, int, int, int]
"""Stride, padding, dilation and groups."""

_PRODUCTS = range(2**15, 2**18 + 1)
"""How many values a tensor has where a pointwise convolution is faster as a matrix product: 128 KiB to 1 MiB in float32."""


def convolve(features: Tensor, kernel: Tensor, sizes: Sizes) -> Tensor:
    """``F.conv2d(features, kernel, None, *sizes)``.

    On features that fit in a cache, of 16 to 64 channels, the convolution takes 1.1 to 2 times as long as the product, its
    gradients 1.6 to 2 times; on smaller ones what it takes to call the product is more than is saved.
    """
    if transformed(features, kernel) or not _is_product(features, kernel, sizes):
        return F.conv2d(features, kernel, None, *sizes)
    output = channels_last(features, len(kernel))
    torch.mm(pixel_rows(features), kernel.flatten(1).t(), out=pixel_rows(output))
    return output


def gradients(
    grad: Tensor, features: Tensor, kernel: Tensor, sizes: Sizes, wanted: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of `convolve` with respect to features and kernel.

    Args:
        grad: that of the output.
        features: ``(b, inputs, h, w)``.
        kernel: ``(outputs, inputs / groups, k, k)``.
        sizes: of the convolution.
        wanted: whether that of the features and that of the kernel are.
    """
    if not transformed(grad, features, kernel):
        if _is_product(features, kernel, sizes):
            return _of_product(grad, features, kernel, wanted)
        if _is_five_by_five(features, kernel, sizes):
            return _of_five_by_five(grad, features, kernel, sizes, wanted)
    return _by_pytorch(grad, features, kernel, sizes, wanted)


def pixel_rows(features: Tensor) -> Tensor:
    """``(pixels, channels)``, a view of channels-last features."""
    return features.permute(0, 2, 3, 1).view(-1, features.shape[1])


def channels_last(like: Tensor, channels: int) -> Tensor:
    """Room for so many channels: no view of other room, since whoever adds to them in place later could not."""
    b, _, h, w = like.shape
    return torch.empty((b, channels, h, w), dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


_convolution_backward = torch.ops.aten.convolution_backward.default


def _by_pytorch(
    grad: Tensor, features: Tensor, kernel: Tensor, sizes: tuple[int | list[int], ...], wanted: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    stride, padding, dilation = (size if isinstance(size, list) else [size] * 2 for size in sizes[:3])
    to_features, to_kernel, _ = _convolution_backward(
        grad, features, kernel, None, stride, padding, dilation, False, [0, 0], sizes[3], [*wanted, False]
    )
    return to_features, to_kernel


def _is_product(features: Tensor, kernel: Tensor, sizes: Sizes) -> bool:
    return (
        kernel.shape[2:] == (1, 1)
        and sizes == (1, 0, sizes[2], 1)
        and features.numel() // features.shape[1] * max(kernel.shape[:2]) in _PRODUCTS
        and features.is_contiguous(memory_format=torch.channels_last)
    )


def _of_product(
    grad: Tensor, features: Tensor, kernel: Tensor, wanted: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    grad = grad.contiguous(memory_format=torch.channels_last)
    to_features = to_kernel = None
    if wanted[0]:
        to_features = channels_last(features, features.shape[1])
        torch.mm(pixel_rows(grad), kernel.flatten(1), out=pixel_rows(to_features))
    if wanted[1]:
        to_kernel = torch.empty_like(kernel)
        torch.mm(pixel_rows(grad).t(), pixel_rows(features), out=to_kernel.flatten(1))
    return to_features, to_kernel


def _is_five_by_five(features: Tensor, kernel: Tensor, sizes: Sizes) -> bool:
    """Whether there is a 5 x 5 kernel for each channel, which keeps the size."""
    return (
        kernel.shape[1:] == (1, 5, 5)
        and sizes == (1, 2, 1, len(kernel))
        and features.is_contiguous(memory_format=torch.channels_last)
    )


def _of_five_by_five(
    grad: Tensor, features: Tensor, kernel: Tensor, sizes: Sizes, wanted: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    grad = grad.contiguous(memory_format=torch.channels_last)
    to_features = to_kernel = None
    if wanted[0]:
        to_features = F.conv2d(grad, kernel.flip(2, 3), None, *sizes)
    if wanted[1] and features.shape[-1] % 2 == 0:
        to_kernel = _by_columns(grad, features)
    elif wanted[1]:
        to_kernel = _by_pytorch(grad, features, kernel, sizes, (False, True))[1]
    return to_features, to_kernel


def _by_columns(grad: Tensor, features: Tensor) -> Tensor:
    """The gradient of a 5 x 5 kernel, by columns.

    Columns 1 to 3 are those of a 5 x 3 kernel. So are columns 0, 2 and 4 where two neighbouring pixels of a row, which in memory
    are ``2 c`` numbers, are taken as one pixel of ``2 c`` channels: a step to the next one is then two pixels.
    """
    b, c, h, w = grad.shape

    def columns(grad: Tensor, features: Tensor) -> Tensor:
        channels = grad.shape[1]
        kernel = features.new_empty(channels, 1, 5, 3)
        found = _by_pytorch(grad, features, kernel, (1, [2, 1], 1, channels), (False, True))[1]
        assert found is not None
        return found

    def pairs(x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).view(b, h, w // 2, 2 * c).permute(0, 3, 1, 2)

    inner, outer = columns(grad, features), columns(pairs(grad), pairs(features)).view(2, c, 1, 5, 3).sum(dim=0)
    return torch.cat([outer[..., :1], inner, outer[..., 2:]], dim=3)
