"""The operations of cell-based spaces, as ordinary modules. All keep the size up to the stride, for odd sizes too.

DARTS: Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", ICLR 2019.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _NormBase

from nas_spaces.depthwise import depthwise

__all__ = ["DropPath", "FactorizedReduce", "Pool", "ReLUConvNorm", "Separable", "Zero", "forget_statistics"]


def forget_statistics(network: nn.Module) -> None:
    """Let every normalisation use the batch's own statistics only, in training and in evaluation."""
    for norm in network.modules():
        if isinstance(
            norm, _NormBase
        ):  # batch and instance normalisation of any number of dimensions, across ranks too
            norm.track_running_stats = False
            norm.running_mean = norm.running_var = norm.num_batches_tracked = None


class ReLUConvNorm(nn.Module):
    """ReLU, convolution, batch normalisation."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, affine: bool = True) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs, affine=affine)

    def forward(self, features: Tensor) -> Tensor:
        """``(b, inputs, h, w) -> (b, outputs, h / stride, w / stride)``."""
        return self.norm(self.convolve(F.relu(features)))

    def convolve(self, active: Tensor) -> Tensor:
        """Without the ReLU before and the normalisation after it."""
        return self.convolution(active)


class FactorizedReduce(nn.Module):
    """Halves the resolution by two 1 x 1 convolutions of stride 2, one of them a pixel off, side by side.

    Every other pixel is taken first and convolved with stride 1, which is the same: oneDNN's gradient of a strided 1 x 1
    kernel in channels-last format is wrong, and writes into memory that is not its own, where there are fewer input channels
    than a vector has numbers (8 with AVX2, 16 with AVX-512; https://github.com/uxlfoundation/oneDNN/issues/6035).
    """

    def __init__(self, inputs: int, outputs: int, *, affine: bool = True) -> None:
        super().__init__()
        self.even = nn.Conv2d(inputs, outputs // 2, 1, bias=False)
        self.odd = nn.Conv2d(inputs, outputs - outputs // 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs, affine=affine)

    def forward(self, features: Tensor) -> Tensor:
        """``(b, inputs, h, w) -> (b, outputs, ceil(h / 2), ceil(w / 2))``."""
        return self.norm(self.convolve(F.relu(features)))

    def convolve(self, active: Tensor) -> Tensor:
        """Without the ReLU before and the normalisation after it."""
        height, width = active.shape[2:]
        if height % 2 or width % 2:
            # A zero row or column makes the two grids equally large.
            active = F.pad(active, (0, width % 2, 0, height % 2))
        return torch.cat([self.even(active[:, :, ::2, ::2]), self.odd(active[:, :, 1::2, 1::2])], dim=1)


class Separable(nn.Module):
    """ReLU, depthwise convolution, pointwise convolution, batch normalisation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
        *,
        groups: int = 1,
        affine: bool = True,
    ) -> None:
        super().__init__()
        self.stride, self.dilation = stride, dilation
        padding = dilation * (kernel // 2)
        self.depthwise = nn.Conv2d(
            inputs, inputs, kernel, stride=stride, padding=padding, dilation=dilation, groups=inputs, bias=False
        )
        self.pointwise = nn.Conv2d(inputs, outputs, 1, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, affine=affine)

    def forward(self, features: Tensor) -> Tensor:
        """``(b, inputs, h, w) -> (b, outputs, ceil(h / stride), ceil(w / stride))``."""
        return self.norm(self.pointwise(self.depthwise(F.relu(features))))

    def convolve(self, active: Tensor, *, stride: int, dilation: int) -> Tensor:
        """The depthwise convolution alone."""
        return depthwise(active, self.depthwise.weight, stride, dilation)


class Pool(nn.Module):
    """3 x 3 maximum or average pooling; the average leaves the padding out of the count."""

    def __init__(self, kind: str, stride: int = 1) -> None:
        super().__init__()
        self.kind, self.stride = kind, stride

    def forward(self, features: Tensor) -> Tensor:
        """``(b, c, h, w) -> (b, c, ceil(h / stride), ceil(w / stride))``."""
        if self.kind == "max":
            return F.max_pool2d(features, 3, self.stride, padding=1)
        return F.avg_pool2d(features, 3, self.stride, padding=1, count_include_pad=False)


class Zero(nn.Module):
    """No connection."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, features: Tensor) -> Tensor:
        """Zeros of the size that the other operations have."""
        return torch.zeros_like(features[:, :, :: self.stride, :: self.stride])


class DropPath(nn.Module):
    """Sets the whole output of an operation to zero for a random part of the samples, while training.

    Larsson, Maire and Shakhnarovich, "FractalNet", ICLR 2017. `probability` is an attribute, so that a schedule can
    raise it during training. Draws like `torch.nn.Dropout`, from PyTorch's own generator.
    """

    def __init__(self, probability: float = 0.0) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, features: Tensor) -> Tensor:
        """Any shape whose first dimension is the batch."""
        if not self.training or self.probability == 0.0:
            return features
        keep = F.dropout(features.new_ones(len(features), *[1] * (features.ndim - 1)), self.probability)
        return features * keep
