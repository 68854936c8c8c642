"""The record of what was drawn."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nas_augment.errors import ImagesError, PolicyError
from nas_augment.operations import Space

__all__ = ["OperationDraw", "PolicySample"]


@dataclass(frozen=True, eq=False)
class OperationDraw:
    """The operations drawn for each image of a batch, `count` one after another.

    Args:
        space: which space `op` counts in.
        op: index of the operation, ``(batch, count)`` int64.
        applied: whether it is applied, ``(batch, count)`` bool.
        level: its level, ``(batch, count)`` int64; 0 where it has no meaning.
        sign: 1 or -1, ``(batch, count)`` int8.
        center: where Cutout lies, ``(batch, count, 2)`` in [0, 1), as (x, y).
    """

    space: Space
    op: Tensor
    applied: Tensor
    level: Tensor
    sign: Tensor
    center: Tensor

    def __post_init__(self) -> None:
        shape = self.op.shape
        if len(shape) != 2 or any(each.shape != shape for each in (self.applied, self.level, self.sign)):
            raise PolicyError(f"op, applied, level and sign of a draw are (batch, count); op is {tuple(shape)}.")
        if self.center.shape != (*shape, 2):
            raise PolicyError(f"center of a draw is {tuple(self.center.shape)}; expected {(*shape, 2)}.")

    def __len__(self) -> int:
        """The number of images."""
        return self.op.shape[0]

    @property
    def value(self) -> Tensor:
        """What is done, in the unit of each operation, ``(batch, count)`` float64."""
        return self.space.value(self.op, self.level, self.sign)

    def check(self) -> None:
        """Refuse indices that are not in the space.

        Raises:
            PolicyError: an operation or a level is out of range.
        """
        for name, index, size in (
            ("op", self.op, len(self.space.operations)),
            ("level", self.level, self.space.levels),
        ):
            low, high = (int(index.min()), int(index.max())) if index.numel() else (0, 0)
            if low < 0 or high >= size:
                raise PolicyError(
                    f"{name} of a draw goes to {low if low < 0 else high}; space {self.space.name!r} has {size}."
                )

    def map(self, function: Callable[[Tensor], Tensor]) -> "OperationDraw":
        """The draw with every tensor replaced, such as by a selection of images."""
        tensors = (self.op, self.applied, self.level, self.sign, self.center)
        return OperationDraw(self.space, *map(function, tensors))


@dataclass(frozen=True, eq=False)
class PolicySample:
    """What was drawn for each image of a batch; applying it again gives the same images.

    Args:
        draws: one tensor ``(batch, numbers)`` of uniform numbers in [0, 1) for each fixed stage of the policy.
        batch: for how many images it was drawn.
        operations: what a learned policy drew.
    """

    draws: tuple[Tensor, ...]
    batch: int
    operations: OperationDraw | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "draws", tuple(self.draws))
        counts = {len(draw) for draw in self.draws} | ({len(self.operations)} if self.operations is not None else set())
        if counts - {self.batch}:
            raise PolicyError(f"a sample of {self.batch} images has draws for {sorted(counts - {self.batch})}.")

    def __len__(self) -> int:
        """The number of images it was drawn for."""
        return self.batch

    def __getitem__(self, index: Tensor | slice) -> "PolicySample":
        """The sample of some of the images, by a slice, a mask or indices."""
        draws = tuple(draw[index] for draw in self.draws)
        operations = self.operations.map(lambda tensor: tensor[index]) if self.operations is not None else None
        every = torch.arange(self.batch, device=index.device if isinstance(index, Tensor) else "cpu")
        return PolicySample(draws, len(every[index]), operations)

    def to(self, device: torch.device | str) -> "PolicySample":
        """The sample on another device."""
        operations = self.operations.map(lambda tensor: tensor.to(device)) if self.operations is not None else None
        return PolicySample(tuple(draw.to(device) for draw in self.draws), self.batch, operations)

    def check(self, images: Tensor) -> None:
        """Refuse images that are not as many as the sample was drawn for.

        Raises:
            ImagesError: they are more or fewer.
        """
        if len(images) != self.batch:
            raise ImagesError(f"{len(images)} images, but the sample was drawn for {self.batch}.")
