"""Chains of layers: the mobile space, and one that is filled with bare convolutions."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from longhand.operations import Parameters, affine, classify, convolution

__all__ = ["convolution_chain_logits", "mobile_logits"]

BLOCKS = [(kernel, expansion) for kernel in (3, 5, 7) for expansion in (3, 6)]


def mobile_logits(
    p: Parameters, images: Tensor, weights: Tensor, *, stages: Sequence[tuple[int, int, int]], stem_stride: int = 1
) -> Tensor:
    """Blocks of MobileNetV2 in the order of `BLOCKS`; behind the first layer of a stage, the identity too.

    Args:
        p: the parameters.
        images: ``(batch, channels, height, width)``.
        weights: ``(layers, 7)``.
        stages: ``(channels, layers, stride of the first)``.
        stem_stride: of the first convolution.
    """
    x = F.relu6(affine(convolution(images, p, "body.stem.0", stem_stride), p, "body.stem.1"))
    x = F.relu6(affine(convolution(x, p, "body.stem.3", groups=x.shape[1]), p, "body.stem.4"))
    x = affine(convolution(x, p, "body.stem.6"), p, "body.stem.7")
    layer = 0
    for _, layers, first in stages:
        for index in range(layers):
            stride = first if index == 0 else 1
            terms = [
                weights[layer, option] * _block(x, p, f"body.layers.{layer}.{option}.layers", stride)
                for option in range(len(BLOCKS))
            ]
            if index:
                terms.append(weights[layer, len(BLOCKS)] * x)
            x = torch.stack(terms).sum(dim=0)
            layer += 1
    x = F.relu6(affine(convolution(x, p, "body.head.0"), p, "body.head.1"))
    return classify(x, p, "body.head.5")


def _block(x: Tensor, p: Parameters, name: str, stride: int) -> Tensor:
    """Expand, filter each channel, project; the input is added where the shape is kept."""
    y = F.relu6(affine(convolution(x, p, f"{name}.0"), p, f"{name}.1"))
    y = F.relu6(affine(convolution(y, p, f"{name}.3", stride, groups=y.shape[1]), p, f"{name}.4"))
    y = affine(convolution(y, p, f"{name}.6"), p, f"{name}.7")
    return x + y if x.shape == y.shape else y


def convolution_chain_logits(p: Parameters, images: Tensor, weights: Tensor, *, strides: Sequence[int]) -> Tensor:
    """A stem, and layers whose options are convolutions with bias."""
    x = F.relu(affine(convolution(images, p, "body.stem.0"), p, "body.stem.1"))
    for layer, stride in enumerate(strides):
        outputs = []
        for option in range(weights.shape[1]):
            name = f"body.layers.{layer}.{option}"
            if f"{name}.weight" in p:
                output = convolution(x, p, name, stride) + p[f"{name}.bias"][:, None, None]
                outputs.append(weights[layer, option] * output)
        x = torch.stack(outputs).sum(dim=0)
    return classify(x, p, "body.head.2")
