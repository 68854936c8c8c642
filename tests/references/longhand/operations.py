"""The operations, one by one."""

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "Parameters",
    "affine",
    "average_pool",
    "classify",
    "convolution",
    "darts_operation",
    "factorized_reduce",
    "max_pool",
    "norm",
]

Parameters: TypeAlias = Mapping[str, Tensor]


def norm(x: Tensor) -> Tensor:
    """Batch normalisation with the batch's own statistics."""
    mean = x.mean(dim=(0, 2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=(0, 2, 3), keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt()


def affine(x: Tensor, p: Parameters, name: str) -> Tensor:
    """The same with factors and offsets that are learnt."""
    return norm(x) * p[f"{name}.weight"][:, None, None] + p[f"{name}.bias"][:, None, None]


def convolution(x: Tensor, p: Parameters, name: str, stride: int = 1, groups: int = 1) -> Tensor:
    """A convolution without bias whose padding keeps the size up to the stride."""
    kernel = p[f"{name}.weight"]
    return F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2, groups=groups)


def max_pool(x: Tensor, stride: int = 1) -> Tensor:
    return F.max_pool2d(x, 3, stride, padding=1)


def average_pool(x: Tensor, stride: int = 1) -> Tensor:
    """The padding is left out of the count: the sum of what is there by how much there is."""
    window = torch.ones(x.shape[1], 1, 3, 3, dtype=x.dtype)
    total = F.conv2d(x, window, stride=stride, padding=1, groups=x.shape[1])
    return total / F.conv2d(torch.ones_like(x), window, stride=stride, padding=1, groups=x.shape[1])


def factorized_reduce(x: Tensor, p: Parameters, name: str) -> Tensor:
    """Even pixels, and pixels one off, side by side; behind an odd size lies a pixel of zeros."""
    x = F.relu(x)
    off = F.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
    even, odd = p[f"{name}.even.weight"], p[f"{name}.odd.weight"]
    return norm(torch.cat([F.conv2d(x, even, stride=2), F.conv2d(off, odd, stride=2)], dim=1))


def separable(x: Tensor, p: Parameters, name: str, stride: int, dilation: int, groups: int) -> Tensor:
    kernel = p[f"{name}.depthwise.weight"]
    padding = dilation * (kernel.shape[-1] - 1) // 2
    x = F.conv2d(F.relu(x), kernel, stride=stride, padding=padding, dilation=dilation, groups=x.shape[1])
    return norm(F.conv2d(x, p[f"{name}.pointwise.weight"], groups=groups))


def darts_operation(option: str, x: Tensor, p: Parameters, name: str, stride: int, groups: int = 1) -> Tensor:
    """An operation of DARTS, or a block of AllegroNAS, as it stands in a supernet."""
    if option == "none":
        return torch.zeros_like(x[:, :, ::stride, ::stride])
    if option == "skip_connect":
        return x if stride == 1 else factorized_reduce(x, p, name)
    if option == "max_pool_3x3":
        return norm(max_pool(x, stride))
    if option == "avg_pool_3x3":
        return norm(average_pool(x, stride))
    x = separable(x, p, f"{name}.0", stride, 2 if "dil" in option else 1, groups)
    return x if option.startswith("dil_conv") else separable(x, p, f"{name}.1", 1, 1, groups)


def classify(x: Tensor, p: Parameters, name: str) -> Tensor:
    """The mean over the image, and a linear layer."""
    return x.mean(dim=(2, 3)) @ p[f"{name}.weight"].T + p[f"{name}.bias"]
