"""The MobileNet-like space of ProxylessNAS, which DHA searches in: 21 inverted residual blocks.

Cai, Zhu and Han, "ProxylessNAS", ICLR 2019; blocks of Sandler et al., "MobileNetV2", CVPR 2018.
"""

from functools import partial
from typing import TypeAlias

from torch import Tensor, nn

from nas_spaces.chain import ChainSpace, Ends, Layer, MakeLayer, chain
from nas_spaces.errors import InputError

__all__ = ["BLOCKS", "IMAGENET", "SMALL", "InvertedResidual", "Stage", "mobile"]

Stage: TypeAlias = tuple[int, int, int]
"""``(channels for a network of 16 channels, layers, stride of the first)``."""

IMAGENET: tuple[Stage, ...] = ((24, 4, 2), (40, 4, 2), (80, 4, 2), (96, 4, 1), (192, 4, 2), (320, 1, 1))
"""The stages of ProxylessNAS, behind a stem that halves the resolution: 21 layers."""

SMALL: tuple[Stage, ...] = ((24, 4, 1), (40, 4, 2), (80, 4, 1), (96, 4, 1), (192, 4, 2), (320, 1, 1))
"""The same for images of 32 x 32 and less, with two reductions in all."""

BLOCKS = tuple(f"mbconv_{kernel}x{kernel}_e{expansion}" for kernel in (3, 5, 7) for expansion in (3, 6))


def mobile(stages: tuple[Stage, ...] = SMALL, *, stem_stride: int = 1) -> ChainSpace:
    """Inverted residual blocks of kernel 3, 5, 7 and expansion 3, 6; layers that keep their shape may also be skipped.

    `channels` of the builders scales all widths; 16 gives those of the paper.

    Args:
        stages: the stages; `IMAGENET` with ``stem_stride=2`` is the space of the paper.
        stem_stride: stride of the first convolution, 1 or 2.

    Differs from the paper:
        1. DHA does not print its space; this is that of the paper it cites.
        2. The stages default to a table of ours for small images.

    Raises:
        InputError: a stage without layers or channels, or a stride other than 1 and 2.

    Example:
        >>> space = mobile()
        >>> len(space.choices), space.size == 6**6 * 7**15
        (21, True)
    """
    stages = tuple((*stage,) for stage in stages)  # lists of equal numbers are the same space
    if stem_stride not in (1, 2) or not all(map(_is_stage, stages)):
        raise InputError(f"stages {stages} and stem_stride {stem_stride}: expected (channels, layers, stride 1 or 2).")
    specified = []
    for channels, layers, first in stages:
        for index in range(layers):
            # Only a layer that keeps width and resolution can be left out.
            options = BLOCKS if index == 0 else (*BLOCKS, "skip_connect")
            specified.append(Layer(channels / 16, first if index == 0 else 1, options))
    operations: dict[str, MakeLayer] = {name: _block(name) for name in BLOCKS}
    operations["skip_connect"] = _skip
    name = "mobile" if (stages, stem_stride) == (SMALL, 1) else "mobile_" + _describe(stages, stem_stride)
    return chain(
        specified, operations, name=name, ends=Ends(partial(_stem, stride=stem_stride), _head, stem_stride - 1)
    )


def _is_stage(stage: tuple[int, ...]) -> bool:
    return len(stage) == 3 and min(stage) >= 1 and stage[2] in (1, 2)


def _describe(stages: tuple[Stage, ...], stem_stride: int) -> str:
    """Stage tables give different architectures, which must not pass for each other."""
    if (stages, stem_stride) == (IMAGENET, 2):
        return "imagenet"
    return f"s{stem_stride}_" + "_".join("x".join(str(number) for number in stage) for stage in stages)


def _block(name: str) -> MakeLayer:
    # Partial functions, so that the space can be sent to another process.
    _, size, expansion = name.split("_")
    return partial(InvertedResidual, kernel=int(size[0]), expansion=int(expansion[1:]))


def _skip(inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Identity()


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


class InvertedResidual(nn.Module):
    """Expand, filter depthwise, project; the input is added where the shape is kept."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, kernel: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            *_convolution(inputs, wide, 1),
            nn.ReLU6(),
            *_convolution(wide, wide, kernel, stride, wide),
            nn.ReLU6(),
            *_convolution(wide, outputs, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """``(b, inputs, h, w) -> (b, outputs, h / stride, w / stride)``."""
        output = self.layers(features)
        return features + output if self.residual else output


def _stem(in_channels: int, channels: int, *, stride: int) -> tuple[nn.Module, int]:
    first = _convolution(in_channels, 2 * channels, 3, stride)
    fixed = [*_convolution(2 * channels, 2 * channels, 3, groups=2 * channels), nn.ReLU6()]
    project = _convolution(2 * channels, channels, 1)
    return nn.Sequential(*first, nn.ReLU6(), *fixed, *project), channels


def _head(inputs: int, classes: int) -> nn.Module:
    wide = 4 * inputs
    return nn.Sequential(
        *_convolution(inputs, wide, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, classes)
    )
