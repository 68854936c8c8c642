"""The DARTS supernet written from the paper, straightforwardly: the baseline that nas_spaces is measured against.

Eager, NCHW, every operation of every edge on its own, a weighted sum per edge. Only the names of the parameters follow
nas_spaces, so that both can hold the same weights.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, affine=False, track_running_stats=False)


class Separable(nn.Module):
    def __init__(self, channels: int, kernel: int, stride: int, dilation: int) -> None:
        super().__init__()
        padding = dilation * (kernel - 1) // 2
        self.depthwise = nn.Conv2d(
            channels, channels, kernel, stride, padding, dilation=dilation, groups=channels, bias=False
        )
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.pointwise(self.depthwise(F.relu(x))))


class FactorizedReduce(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.even = nn.Conv2d(inputs, outputs // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(inputs, outputs // 2, 1, stride=2, bias=False)
        self.norm = norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        return self.norm(torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], dim=1))


class ReLUConvNorm(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm = norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.convolution(F.relu(x)))


class Zero(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride, :: self.stride] * 0.0


def operation(name: str, channels: int, stride: int) -> nn.Module:
    if name == "none":
        return Zero(stride)
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels)
    if name == "max_pool_3x3":
        return nn.Sequential(nn.MaxPool2d(3, stride, padding=1), norm(channels))
    if name == "avg_pool_3x3":
        return nn.Sequential(nn.AvgPool2d(3, stride, padding=1, count_include_pad=False), norm(channels))
    kernel = int(name[-1])
    if name.startswith("dil"):
        return nn.Sequential(Separable(channels, kernel, stride, 2))
    return nn.Sequential(Separable(channels, kernel, stride, 1), Separable(channels, kernel, 1, 1))


class MixedCell(nn.Module):
    def __init__(self, before: int, last: int, channels: int, reduction: bool, halve: bool) -> None:
        super().__init__()
        first = FactorizedReduce(before, channels) if halve else ReLUConvNorm(before, channels)
        self.preprocess = nn.ModuleList([first, ReLUConvNorm(last, channels)])
        self.edges = nn.ModuleList()
        for node in range(4):
            for state in range(2 + node):
                stride = 2 if reduction and state < 2 else 1
                self.edges.append(nn.ModuleDict({name: operation(name, channels, stride) for name in OPERATIONS}))

    def forward(self, before: Tensor, last: Tensor, weights: Tensor) -> Tensor:
        states = [self.preprocess[0](before), self.preprocess[1](last)]
        edge = 0
        for _ in range(4):
            total = 0
            for state in states:
                module = self.edges[edge]
                assert isinstance(module, nn.ModuleDict)
                total = total + sum(w * op(state) for w, op in zip(weights[edge], module.values(), strict=True))
                edge += 1
            states.append(total)
        return torch.cat(states[2:], dim=1)


class ReferenceSupernet(nn.Module):
    """``(images, weights (28, 8)) -> logits``."""

    def __init__(self, classes: int = 10, channels: int = 16, cells: int = 8, in_channels: int = 3) -> None:
        super().__init__()
        wide = 3 * channels
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, wide, 3, padding=1, bias=False),
            nn.BatchNorm2d(wide, track_running_stats=False),
        )
        self.cells = nn.ModuleList()
        self.reductions = {cells // 3, 2 * cells // 3}
        before = last = wide
        halve = False
        for index in range(cells):
            reduction = index in self.reductions
            channels = 2 * channels if reduction else channels
            self.cells.append(MixedCell(before, last, channels, reduction, halve))
            before, last, halve = last, 4 * channels, reduction
        self.classifier = nn.Linear(last, classes)

    def forward(self, images: Tensor, weights: Tensor) -> Tensor:
        before = last = self.stem(images)
        for index, cell in enumerate(self.cells):
            before, last = last, cell(before, last, weights[14:] if index in self.reductions else weights[:14])
        return self.classifier(last.mean(dim=(2, 3)))

    def load(self, supernet: nn.Module) -> None:
        """Take over the weights of a supernet of nas_spaces."""
        state = {
            name.removeprefix("body.").removeprefix("stack."): value for name, value in supernet.state_dict().items()
        }
        self.load_state_dict(state)
