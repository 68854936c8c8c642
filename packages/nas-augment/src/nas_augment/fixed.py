"""Policies that nothing is learned of: identity, random crop and flip, cutout."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Protocol, overload, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_augment.annotations import Annotated, AnnotationArguments, check_names
from nas_augment.applying import Path, check_path, transform
from nas_augment.decided import Policy, check_stages
from nas_augment.errors import PolicyError, is_count, is_share
from nas_augment.geometry import Motion
from nas_augment.policy import AugmentationPolicy, check_batch, check_generator, check_images
from nas_augment.sample import OperationDraw, PolicySample

if TYPE_CHECKING:
    from typing_extensions import Unpack


__all__ = ["Crop", "Cutout", "FixedPolicy", "Flip", "OperationStage", "Stage", "crop_and_flip", "cutout", "identity"]


class Stage(Protocol):
    """One fixed transformation: how many uniform numbers an image needs, and what they do to it.

    With a method ``motions(draw, height, width)``, which returns a `geometry.Motion` for each step that moves pixels,
    masks, boxes and key points go along.
    """

    @property
    def numbers(self) -> int:
        """How many uniform numbers are drawn for an image."""
        ...

    def apply(self, images: Tensor, draw: Tensor) -> Tensor:
        """Transform `images` ``(batch, channels, height, width)`` by `draw` ``(batch, numbers)`` in [0, 1)."""
        ...


@runtime_checkable
class OperationStage(Protocol):
    """A stage of operations of a space, which policies compute on either path from what it decodes."""

    def decode(self, draw: Tensor) -> OperationDraw:
        """The operations that uniform numbers ``(batch, numbers)`` stand for."""
        ...


@dataclass(frozen=True)
class Crop:
    """Pad with zeros on all sides and cut out a window of the old size at a random place.

    Args:
        padding: pixels; 4 for CIFAR-10 in most papers.
    """

    padding: int = 4
    numbers = 2

    def __post_init__(self) -> None:
        if not is_count(self.padding):
            raise PolicyError(f"padding of a crop is {self.padding!r}; expected a whole number of pixels, 0 or more.")
        object.__setattr__(self, "padding", int(self.padding))  # numpy's numbers are not JSON's

    def offset(self, draw: Tensor) -> Tensor:
        """Row and column of the window in the padded image, ``(batch, 2)``."""
        return (draw * (2 * self.padding + 1)).long()

    def apply(self, images: Tensor, draw: Tensor) -> Tensor:
        """See `Stage.apply`."""
        batch, _, height, width = images.shape
        offset = self.offset(draw)
        rows = offset[:, 0, None] + torch.arange(height, device=images.device)
        columns = offset[:, 1, None] + torch.arange(width, device=images.device)
        padded = F.pad(images, (self.padding,) * 4)
        index = torch.arange(batch, device=images.device)[:, None, None]
        # Indexing around a slice puts the channels last, which is the memory format that convolutions like best.
        return padded[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    def motions(self, draw: Tensor, height: int, width: int) -> tuple[Motion, ...]:
        """The shift."""
        inverse = torch.eye(2, 3, dtype=torch.float64, device=draw.device).repeat(len(draw), 1, 1)
        inverse[:, :, 2] = self.offset(draw).flip(1).double() - self.padding
        return (Motion(inverse),)


@dataclass(frozen=True)
class Flip:
    """Mirror left and right.

    Args:
        probability: of mirroring an image.
    """

    probability: float = 0.5
    numbers = 1

    def __post_init__(self) -> None:
        if not is_share(self.probability):
            raise PolicyError(f"probability of a flip is {self.probability!r}; expected 0 to 1.")
        object.__setattr__(self, "probability", float(self.probability))  # numpy's numbers are not JSON's

    def mirrored(self, draw: Tensor) -> Tensor:
        """Whether each image is mirrored, ``(batch,)`` bool."""
        return draw[:, 0] < self.probability

    def apply(self, images: Tensor, draw: Tensor) -> Tensor:
        """See `Stage.apply`."""
        return torch.where(self.mirrored(draw)[:, None, None, None], images.flip(3), images)

    def motions(self, draw: Tensor, height: int, width: int) -> tuple[Motion, ...]:
        """Columns counted from the other side, where mirrored."""
        inverse = torch.eye(2, 3, dtype=torch.float64, device=draw.device).repeat(len(draw), 1, 1)
        inverse[self.mirrored(draw), 0] = inverse.new_tensor([-1.0, 0.0, width])
        return (Motion(inverse),)


@dataclass(frozen=True)
class Cutout:
    """Cover a square around a random pixel; the part outside the image is lost (DeVries and Taylor, 2017).

    Args:
        length: side of the square in pixels; 16 for CIFAR-10 in most papers.
        fill: what the square is covered with, in [0, 1]; 0 is black. The papers fill after normalisation, that is with
            the mean of the data.
    """

    length: int = 16
    fill: float = 0.0
    numbers = 2

    def __post_init__(self) -> None:
        if not is_count(self.length):
            raise PolicyError(f"length of cutout is {self.length!r}; expected a whole number of pixels, 0 or more.")
        if not is_share(self.fill):
            raise PolicyError(f"fill of cutout is {self.fill!r}; expected 0 to 1.")
        object.__setattr__(self, "length", int(self.length))
        object.__setattr__(self, "fill", float(self.fill))

    def start(self, draw: Tensor, height: int, width: int) -> Tensor:
        """First row and column of the square, ``(batch, 2)``; negative where it begins outside."""
        size = torch.tensor([height, width], device=draw.device)
        return (draw * size).long() - self.length // 2

    def apply(self, images: Tensor, draw: Tensor) -> Tensor:
        """See `Stage.apply`."""
        inside = []
        start = self.start(draw, *images.shape[2:])
        for axis, size in enumerate(images.shape[2:]):
            position = torch.arange(size, device=images.device) - start[:, axis, None]
            inside.append((position >= 0) & (position < self.length))
        square = inside[0][:, None, :, None] & inside[1][:, None, None, :]
        fill = round(255 * self.fill) if images.dtype == torch.uint8 else self.fill
        return images.masked_fill(square, fill)

    def motions(self, draw: Tensor, height: int, width: int) -> tuple[Motion, ...]:
        """Nothing moves; the square is covered."""
        inverse = torch.eye(2, 3, dtype=torch.float64, device=draw.device).repeat(len(draw), 1, 1)
        start = self.start(draw, height, width).flip(1).double()
        return (Motion(inverse, torch.cat((start, start + self.length), 1)),)


class FixedPolicy(AugmentationPolicy):
    """Stages applied one after another, each drawn anew for every image.

    Args:
        stages: the transformations in order.
    """

    def __init__(self, stages: Sequence[Stage] = ()) -> None:
        super().__init__()
        check_stages(stages, Sequence, "a sequence")
        self.stages = tuple(stages)

    def sample(self, batch: int, *, generator: torch.Generator) -> PolicySample:
        """Draw the uniform numbers of every stage."""
        check_batch(batch)
        check_generator(generator)
        draws = (
            torch.rand(batch, stage.numbers, generator=generator, device=generator.device) for stage in self.stages
        )
        return PolicySample(tuple(draws), int(batch))

    def log_prob(self, sample: PolicySample) -> Tensor:
        """Zeros: nothing is learned."""
        return torch.zeros(len(sample))

    @overload  # type: ignore[override]  # see the base class
    def apply(self, images: Tensor, sample: PolicySample, *, path: Path = "exact") -> Tensor: ...

    @overload
    def apply(
        self,
        images: Tensor,
        sample: PolicySample,
        *,
        path: Path = "exact",
        **annotations: "Unpack[AnnotationArguments]",
    ) -> Annotated: ...

    def apply(
        self,
        images: Tensor,
        sample: PolicySample,
        *,
        path: Path = "exact",
        **annotations: "Unpack[AnnotationArguments]",
    ) -> Tensor | Annotated:
        """See `AugmentationPolicy.apply`, and `AugmentationPolicy.apply_annotated` for what may go along.

        On the soft path, operations of a space are computed as `applying.apply_operations` says; the other stages
        only move or cover pixels, and are differentiable as they are.
        """
        if annotations:
            check_names(annotations, "path")
            return self.apply_annotated(images, sample, path=path, **annotations)
        check_images(images)
        moved = self.transform(images, sample, path)
        return moved.clone() if moved is images else moved

    def transform(self, images: Tensor, sample: PolicySample, path: Path) -> Tensor:
        """As `apply`, of what is known to be images: a part of a policy that has checked them."""
        self.check_sample(images, sample)
        check_path(path)
        for stage, draw in zip(self.stages, sample.draws, strict=True):
            if isinstance(stage, OperationStage):
                images = transform(images, stage.decode(draw), backend="auto", path=path)
            else:
                images = stage.apply(images, draw.to(images.device, non_blocking=True))
        return images

    def check_sample(self, images: Tensor, sample: PolicySample) -> None:
        """Refuse a sample that is not of this policy and these images.

        Raises:
            ImagesError: the images are more or fewer than those it was drawn for.
            PolicyError: it was drawn from another policy.
        """
        sample.check(images)
        self._check(sample)

    def motions(self, sample: PolicySample, height: int, width: int) -> tuple[Motion, ...]:
        """See `AugmentationPolicy.motions`."""
        self._check(sample)
        steps = (_motions(stage, draw, height, width) for stage, draw in zip(self.stages, sample.draws, strict=True))
        return tuple(chain.from_iterable(steps))

    def _check(self, sample: PolicySample) -> None:
        numbers = [draw.shape[1:] for draw in sample.draws]
        # Without the second part, the operations of a learnable policy would silently be left out.
        if numbers != [(stage.numbers,) for stage in self.stages] or sample.operations is not None:
            raise PolicyError(f"the sample was drawn from another policy than {self!r}.")

    def decide(self) -> Policy:
        """The same stages as a value."""
        return Policy(self.stages)

    def extra_repr(self) -> str:
        """The stages."""
        return ", ".join(map(repr, self.stages))


def _motions(stage: Stage, draw: Tensor, height: int, width: int) -> tuple[Motion, ...]:
    motions = getattr(stage, "motions", None)
    if motions is None:
        raise PolicyError(
            f"{stage!r} cannot take annotations along: give it a method motions(draw, height, width), which returns "
            "where it moves the pixels, () if nowhere."
        )
    moved: tuple[Motion, ...] = motions(draw, height, width)
    return moved


def identity() -> FixedPolicy:
    """Images as they are."""
    return FixedPolicy(())


def crop_and_flip(padding: int = 4, flip: float = 0.5) -> FixedPolicy:
    """The standard augmentation of CIFAR-10: pad and crop, mirror with probability `flip`."""
    return FixedPolicy((Crop(padding), Flip(flip)))


def cutout(length: int = 16, padding: int = 4, flip: float = 0.5, fill: float = 0.0) -> FixedPolicy:
    """Crop and flip, then a square of `length` pixels covered."""
    return FixedPolicy((Crop(padding), Flip(flip), Cutout(length, fill)))
