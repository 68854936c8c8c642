"""A search space: layers in a row, each one of three modules."""

from torch import nn

from nas_spaces import Layer, SearchSpace, chain

__all__ = ["tiny_chain"]


def _convolution(size: int, inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def tiny_chain() -> SearchSpace:
    """Three layers in a row, each a convolution of 1, 3 or 5 pixels."""
    sizes = {"conv_1": 1, "conv_3": 3, "conv_5": 5}
    operations = {
        name: lambda inputs, outputs, stride, size=size: _convolution(size, inputs, outputs, stride)
        for name, size in sizes.items()
    }
    return chain([Layer(), Layer(width=2, stride=2), Layer(width=2)], operations, name="tiny_chain")
