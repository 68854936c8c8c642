"""Labelled examples: what a search is given, images above all."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from nas_augment import AugmentationPolicy, Policy
from nas_augment.fixed import FixedPolicy
from nas_search.errors import DataError
from nas_search.streams import split_indices

__all__ = [
    "NO_VALIDATION",
    "Data",
    "Examples",
    "ImageData",
    "Normalize",
    "fingerprint",
    "preparation",
]

NO_VALIDATION = (
    "the method trains on all images (train_share=1), and a part of it asks for validation images; keep some of them with a "
    "smaller train_share, or leave that part out."
)
"""What is said where a validation image is asked for and there is none."""


class Examples(NamedTuple):
    """Images with their labels, or sequences of tokens with a label for each.

    Attributes:
        images: ``(batch, channels, height, width)``, uint8 or float in [0, 1]; tokens are ``(batch, time)`` int64.
        labels: ``(batch,)`` int64; of tokens ``(batch, time)``.
    """

    images: Tensor
    labels: Tensor

    def take(self, index: Tensor) -> "Examples":
        """The examples at `index` ``(n,)``, on the device where they are."""
        index = index.to(self.images.device, non_blocking=True)
        return Examples(self.images[index], self.labels[index])

    def to(self, device: torch.device) -> "Examples":
        """The same examples on a device."""
        return Examples(self.images.to(device, non_blocking=True), self.labels.to(device, non_blocking=True))


class Data(Protocol):
    """What a search needs of a data set: `ImageData`, and `nas_search.text.TextData`."""

    @property
    def name(self) -> str:
        """What it is called in reports."""
        ...

    @property
    def kind(self) -> Literal["images", "tokens"]:
        """What the examples are, and so which spaces can read them (``SearchSpace.reads``)."""
        ...

    @property
    def train(self) -> Examples:
        """What the found network is trained on."""
        ...

    @property
    def test(self) -> Examples:
        """What only the final evaluation sees."""
        ...

    @property
    def policy(self) -> Policy:
        """The augmentation that is customary; used where none is searched."""
        ...

    @property
    def classes(self) -> int:
        """The number of different labels."""
        ...

    @property
    def in_channels(self) -> int:
        """Channels of an image; of tokens, which have none, 1."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of everything: equal data has equal fingerprints."""
        ...

    def split(self, share: float, seed: int) -> tuple[Examples, Examples]:
        """What the weights are trained on in a search, `share` of `train` unless the data says otherwise; what validates."""
        ...

    def augmentation(self) -> AugmentationPolicy:
        """`policy` as the module that a search applies."""
        ...


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set of labelled images, whole in memory.

    Args:
        name: what it is called in reports.
        train: images and labels that the search and the training use.
        test: images and labels that only the final evaluation sees.
        policy: the augmentation that is customary for such images; used where none is searched.
        class_names: for reports; the numbers when left out.
        valid: what validates in a search, where it comes from elsewhere: all of `train` trains the weights then. Give it
            where what the network will meet differs from what it is trained on.
        digest: the fingerprint, where it is known without reading all images.

    Raises:
        DataError: shapes, types, ranges or numbers that do not fit together, or a single class.
    """

    name: str
    train: Examples
    test: Examples
    policy: Policy = field(default_factory=Policy)
    class_names: tuple[str, ...] = ()
    valid: Examples | None = None
    digest: str = ""

    def __post_init__(self) -> None:
        others = {"test": self.test} if self.valid is None else {"test": self.test, "valid": self.valid}
        for part, examples in {"train": self.train, **others}.items():
            _check(self.name, part, examples)
        for part, examples in others.items():
            if self.train.images.shape[1:] != examples.images.shape[1:]:
                raise DataError(
                    f"{self.name}: train images are {tuple(self.train.images.shape[1:])}, {part} images "
                    f"{tuple(examples.images.shape[1:])} (channels, height, width); they must be of one shape."
                )
        if len(self.train.labels.unique()) < 2:
            raise DataError(
                f"{self.name}: all train labels are {int(self.train.labels[0])}; a search needs two classes."
            )
        if self.classes > len(self.train.labels):
            raise DataError(
                f"{self.name}: train label {self.classes - 1} is out of range for {len(self.train.labels)} images; labels "
                f"count the classes from 0."
            )
        for part, examples in others.items():
            highest = int(examples.labels.max())
            if highest >= self.classes:
                raise DataError(
                    f"{self.name}: {part} label {highest} is out of range: train labels go from 0 to {self.classes - 1}."
                )

    @property
    def classes(self) -> int:
        """The number of classes: one more than the largest train label."""
        return int(self.train.labels.max()) + 1

    @property
    def empty_classes(self) -> tuple[int, ...]:
        """The classes without a train image, such as 0 where labels count from 1: outputs of a network that nothing trains."""
        return tuple(sorted(set(range(self.classes)) - set(self.train.labels.unique().tolist())))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(channels, height, width)``."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def kind(self) -> Literal["images", "tokens"]:
        """``images``."""
        return "images"

    @property
    def in_channels(self) -> int:
        """The channels of an image."""
        return self.image_shape[0]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all images and labels: equal data has equal fingerprints."""
        return self.digest or fingerprint(self.train, self.test, *([] if self.valid is None else [self.valid]))

    def split(self, share: float, seed: int) -> tuple[Examples, Examples]:
        """Split the train images so that every class is split in the same proportion; with a share of 1 the second part is empty.

        Where there are images that validate, nothing is split.

        Raises:
            DataError: the share is not in (0, 1], or a part would have less than two images.
        """
        if self.valid is not None:
            return self.train, self.valid
        if not 0 < share <= 1:
            raise DataError(
                f"{self.name}: the share of the train images that is trained on is {share:g}; expected above 0, up to 1 for all."
            )
        first, second = split_indices(self.train.labels, share, seed)
        parts = (first,) if share == 1 else (first, second)
        if min(map(len, parts)) < 2:
            raise DataError(
                f"{self.name}: {len(self.train.labels)} train images cannot be split into a training and a validation part by "
                f"the share {share:g} ({len(first)} and {len(second)}); batch normalisation needs two images in each: give more, "
                "or a share nearer to one half."
            )
        return self.train.take(first), self.train.take(second)

    def augmentation(self) -> AugmentationPolicy:
        """The stages of `policy`."""
        return FixedPolicy(self.policy.stages)


def fingerprint(*parts: Examples) -> str:
    """A hash of the content of some examples."""
    digest = hashlib.sha256()
    for tensor in (tensor for examples in parts for tensor in examples):
        digest.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def preparation(images: Tensor) -> nn.Module:
    """What is done to a batch before a network reads it: `Normalize` for images, nothing for tokens.

    Args:
        images: all of them, as in the data.
    """
    return nn.Identity() if images.dtype == torch.int64 else Normalize(images)


def _check(name: str, part: str, examples: Examples) -> None:
    images, labels = examples
    for what, given in (("images", images), ("labels", labels)):
        if not isinstance(given, Tensor):
            raise DataError(
                f"{name}: {part} {what} are a {type(given).__name__}; expected a tensor: torch.as_tensor({what})."
            )
    if images.ndim and len(images) == 0:
        raise DataError(f"{name}: there are no {part} images.")
    if images.ndim != 4 or 0 in images.shape:
        raise DataError(
            f"{name}: {part} images have shape {tuple(images.shape)}; expected (n, channels, height, width)."
        )
    if images.shape[1] not in (1, 3):
        raise DataError(
            f"{name}: {part} images have {images.shape[1]} channels; expected 1 (grey) or 3 (red, green, blue)."
        )
    if images.dtype != torch.uint8 and images.dtype != torch.float32:
        raise DataError(f"{name}: {part} images are {images.dtype}; expected uint8, or float32 in [0, 1].")
    if images.is_floating_point() and not bool(((images >= 0) & (images <= 1)).all()):
        if bool(images.isnan().any()):
            raise DataError(f"{name}: {part} images hold NaN; expected [0, 1]: repair or leave out those images.")
        low, high = float(images.min()), float(images.max())
        raise DataError(
            f"{name}: {part} images go from {low:g} to {high:g}; expected [0, 1]: divide them by their maximum."
        )
    if labels.shape != (len(images),) or labels.dtype != torch.int64:
        raise DataError(
            f"{name}: {len(images)} {part} images, but labels are {labels.dtype} of shape {tuple(labels.shape)}; expected "
            f"torch.int64 of shape ({len(images)},)."
        )
    if int(labels.min()) < 0:
        raise DataError(f"{name}: {part} label {int(labels.min())} is out of range; labels count from 0.")


class Normalize(nn.Module):
    """``(images - mean) / std`` per channel, after scaling uint8 to [0, 1]; channels-last, as convolutions like best.

    Args:
        images: what mean and standard deviation are taken of, ``(n, channels, height, width)``.
    """

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        unit = images[:: max(1, len(images) // 10_000)]  # ten thousand images tell them to three digits
        unit = unit.float() / 255 if unit.dtype == torch.uint8 else unit
        mean, std = unit.mean(dim=(0, 2, 3)), unit.std(dim=(0, 2, 3))
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", mean[:, None, None])
        self.register_buffer("std", torch.where(std > 0, std, 1.0)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """Normalise a batch."""
        if images.dtype == torch.uint8:
            images = images.to(self.mean.dtype) / 255
        return ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
