"""The networks that stack DARTS cells: stem, cells with reductions at one and two thirds, classifier."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from nas_spaces.cells import Cell
from nas_spaces.errors import InputError
from nas_spaces.modes import transformed
from nas_spaces.sizes import require_sizes
from nas_spaces.supernet import Drawn

__all__ = ["CellNetwork", "CellSupernetBody", "MakeCell", "require_images"]

MakeCell: TypeAlias = Callable[[int, tuple[int, int], int, bool, bool], nn.Module]
"""``(index, input channels, channels, reduction, halve)`` to a cell; see `Cell`."""


def require_images(images: Tensor, channels: int, halvings: int) -> None:
    """Refuse what a network cannot read.

    Raises:
        InputError: not ``(batch, channels, height, width)`` of floating-point numbers, or less than one pixel would be left
            after the reductions.
    """
    if not images.is_floating_point():
        raise InputError(f"images are {images.dtype}; this network reads floating-point numbers: images.float() / 255.")
    if images.ndim != 4 or images.shape[1] != channels:
        raise InputError(
            f"images have shape {tuple(images.shape)}; this network reads (batch, {channels}, height, width)."
        )
    least = 2**halvings
    if min(images.shape[2:]) < least:
        raise InputError(
            f"images of {images.shape[2]} x {images.shape[3]} are too small for {halvings} reductions of the "
            f"resolution; enlarge them to {least} x {least} or more."
        )


def _stems(kind: str, in_channels: int, channels: int) -> tuple[nn.Sequential, nn.Sequential]:
    """The two stems, which follow each other; the second of CIFAR is empty."""
    if kind == "cifar":
        wide = 3 * channels
        convolution = nn.Conv2d(in_channels, wide, 3, padding=1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(wide)), nn.Sequential()
    if kind != "imagenet":
        raise InputError(f"unknown stem {kind!r}; expected 'cifar' or 'imagenet'.")
    if channels < 2:
        raise InputError(f"channels is {channels}; the imagenet stem begins with half as many: give 2 or more.")
    half = channels // 2
    first = nn.Sequential(
        nn.Conv2d(in_channels, half, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(half),
        nn.ReLU(),
        nn.Conv2d(half, channels, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels),
    )
    second = nn.Sequential(
        nn.ReLU(), nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(channels)
    )
    return first, second


class _Stack(nn.Module):
    """Stem and cells, without what decides how a cell is called."""

    def __init__(self, make: MakeCell, channels: int, cells: int, in_channels: int, stem: str, multiplier: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.stem, self.second_stem = _stems(stem, in_channels, channels)
        reductions = {cells // 3, 2 * cells // 3}
        self.halvings = len(reductions) + (3 if stem == "imagenet" else 0)
        wide = 3 * channels if stem == "cifar" else channels
        inputs, halve = (wide, wide), stem == "imagenet"
        self.cells = nn.ModuleList()
        self.widths: list[int] = []
        for index in range(cells):
            reduction = index in reductions
            channels *= 2 if reduction else 1
            self.cells.append(make(index, inputs, channels, reduction, halve))
            inputs, halve = (inputs[1], multiplier * channels), reduction
            self.widths.append(inputs[1])

    def start(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The two inputs of the first cell."""
        require_images(images, self.in_channels, self.halvings)
        before = self.stem(images)
        return before, self.second_stem(before)


class CellNetwork(nn.Module):
    """One architecture as an ordinary network.

    `drop_path` sets the probability of `DropPath` in all cells. With `auxiliary`, `forward` returns
    ``(logits, auxiliary logits)`` while training and the logits alone otherwise.
    """

    def __init__(
        self,
        make: MakeCell,
        *,
        classes: int,
        channels: int,
        cells: int,
        in_channels: int,
        stem: str,
        auxiliary: bool,
        nodes: int,
    ) -> None:
        super().__init__()
        require_sizes(classes=classes, channels=channels, cells=cells, in_channels=in_channels)
        self.stack = _Stack(make, channels, cells, in_channels, stem, nodes)
        self.classifier = nn.Linear(self.stack.widths[-1], classes)
        self.auxiliary_after = 2 * cells // 3
        width = self.stack.widths[self.auxiliary_after]
        self.auxiliary = _Auxiliary(width, classes, 3 if stem == "cifar" else 2) if auxiliary else None

    def drop_path(self, probability: float) -> None:
        """Set the probability with which the output of an operation is dropped while training."""
        for cell in self.stack.cells:
            assert isinstance(cell, Cell)
            cell.drop_path.probability = probability

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """``(b, in_channels, h, w) -> (b, classes)``, or a pair of them (see the class)."""
        before, last = self.stack.start(images)
        side = None
        for index, cell in enumerate(self.stack.cells):
            before, last = last, cell(before, last)
            if self.auxiliary is not None and self.training and index == self.auxiliary_after:
                side = self.auxiliary(last)
        logits = self.classifier(last.mean(dim=(2, 3)))
        return logits if side is None else (logits, side)


class _Auxiliary(nn.Module):
    """The second classifier, behind the second reduction."""

    def __init__(self, channels: int, classes: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.features = nn.Sequential(
            nn.Conv2d(channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(768, classes)

    def forward(self, features: Tensor) -> Tensor:
        least = 5 + self.stride
        if min(features.shape[2:]) < least:
            raise InputError(
                f"the auxiliary head needs features of {least} x {least} or more behind the second reduction, not "
                f"{features.shape[2]} x {features.shape[3]}; enlarge the images or leave it off (auxiliary=False)."
            )
        pooled = F.avg_pool2d(F.relu(features), 5, self.stride, count_include_pad=False)
        return self.classifier(self.features(pooled).mean(dim=(2, 3)))


def _keeps_for_backward() -> bool:
    """Whether what is kept for the backward pass may be replaced, as by what computes it again."""
    enabled: bool = torch._C._autograd._saved_tensors_hooks_is_enabled()  # type: ignore[attr-defined]
    return enabled


class CellSupernetBody(nn.Module):
    """Stem, mixed cells and classifier.

    With `recompute`, the cells up to the first reduction keep their inputs only and are evaluated again in the backward
    pass: less memory, more time. The cells behind it work on a quarter of the pixels or less and are kept: in the backward
    pass they are gone before the large ones come back.
    """

    def __init__(
        self,
        make: MakeCell,
        *,
        classes: int,
        channels: int,
        cells: int,
        in_channels: int,
        recompute: bool,
        stem: str,
        nodes: int,
    ) -> None:
        super().__init__()
        require_sizes(classes=classes, channels=channels, cells=cells, in_channels=in_channels)
        self.stack = _Stack(make, channels, cells, in_channels, stem, nodes)
        self.classifier = nn.Linear(self.stack.widths[-1], classes)
        self.recomputed = cells // 3 + 1 if recompute else 0

    def forward(self, images: Tensor, weights: list[Tensor], drawn: list[Drawn | None]) -> Tensor:
        """``weights[index]`` and ``drawn[index]`` are those of cell `index`; see `MixedCell.forward`."""
        before, last = self.stack.start(images)
        if images.device.type == "cpu" and not transformed():
            # Behind the stem, whose normalisation would lose a digit of float32 in this format.
            before, last = (x.contiguous(memory_format=torch.channels_last) for x in (before, last))
        recomputed = self.recomputed if torch.is_grad_enabled() else 0
        # The one thing that recomputation needs of a reverse mode; PyTorch's own error does not say whose it is.
        if recomputed and not torch.compiler.is_compiling() and not _keeps_for_backward():
            raise InputError(
                "a supernet with checkpoint=True cannot be differentiated backwards by torch.func (grad, vjp, hessian), "
                "which never evaluates cells again; use torch.autograd.grad, or a supernet without checkpoint=True."
            )
        for index, (cell, choice, path) in enumerate(zip(self.stack.cells, weights, drawn, strict=True)):
            if index < recomputed:
                output = checkpoint(cell, before, last, choice, path, use_reentrant=False, preserve_rng_state=False)
                assert isinstance(output, Tensor)
            else:
                output = cell(before, last, choice, path)
            before, last = last, output
        return self.classifier(last.mean(dim=(2, 3)))
