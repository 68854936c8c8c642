"""Image files that are decoded by worker processes while a training goes on, at its size and with its random crops."""

import hashlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from nas_search import distributed
from nas_search.data import Examples
from nas_search.decoding import Failed, Workers, decoded
from nas_search.errors import ConfigError, DataError
from nas_search.image_folder import open_image
from nas_search.image_listing import Listing
from nas_search.streams import split_indices, stream_seed

__all__ = ["FolderBatches", "FolderPart", "ImageFolders", "Reading"]

_EVALUATED = 100  # images of a batch that is evaluated
_SAMPLE = 500  # images that tell how to normalise


@dataclass(frozen=True)
class Reading:
    """How images are read for a training; equal values, which are written alike, give equal batches, whatever the workers.

    Args:
        size: pixels of a side. What is not trained on is resized so that its shorter side is ``size / 0.875`` (256 for 224)
            and cut to the middle.
        crop: of what is trained on: ``resized`` for a random part of 8 to 100 % of the area with a ratio of sides of 3/4 to
            4/3, resized (torchvision's ``RandomResizedCrop``); ``padded`` for the middle, padded by an eighth of the size and
            cut at random. Both are flipped in half of the cases.
        jitter: whether brightness, contrast and saturation are changed by up to 40 % and the hue by up to 20 %.
        workers: processes that decode; 0 for none but this one.
        timeout: seconds after which a batch that does not come is an error.

    Raises:
        ConfigError: a value out of its range.
    """

    size: int
    crop: str = "resized"
    jitter: bool = False
    workers: int = field(default=0, compare=False, repr=False)
    timeout: float = field(default=120.0, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.size < 8 or self.crop not in ("resized", "padded"):
            raise ConfigError(
                f"images of {self.size} pixels with a {self.crop!r} crop; expected 8 or more, and resized or padded."
            )
        if self.workers < 0 or not self.timeout > 0:
            raise ConfigError(
                f"{self.workers} workers with a timeout of {self.timeout} seconds; expected 0 or more workers (--workers), and "
                f"a positive time (--loader-timeout)."
            )

    @property
    def crew(self) -> Workers:
        """Who decodes, in the words of ``nascli train``."""
        without = "--workers 0, which decodes without them."
        return Workers(
            self.workers,
            self.timeout,
            if_stuck=f"Go on with --resume and a longer --loader-timeout, more --workers, or {without}",
            if_dead=f"Go on with --resume and fewer --workers, or {without}",
        )

    def middle(self) -> v2.Transform:
        """What is done to an image that is not trained on."""
        return v2.Compose([v2.Resize(round(self.size / 0.875)), v2.CenterCrop(self.size)])

    def random(self) -> v2.Transform:
        """What is done to an image that is trained on."""
        crop = (
            [v2.RandomResizedCrop(self.size)]
            if self.crop == "resized"
            else [v2.Resize(self.size), v2.CenterCrop(self.size), v2.RandomCrop(self.size, padding=self.size // 8)]
        )
        jitter = [v2.ColorJitter(0.4, 0.4, 0.4, 0.2)] if self.jitter else []
        return v2.Compose([*crop, v2.RandomHorizontalFlip(), *jitter])


class _Decoded(Dataset[Any]):
    """Images ``(3, size, size)`` uint8 with their labels, by index and seed: a worker needs no state."""

    def __init__(self, part: "FolderPart", transform: v2.Transform) -> None:
        self.part, self.transform = part, transform

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int] | Failed:
        number, seed = key
        path = self.part.paths[number]
        try:
            from torchvision.transforms.functional import pil_to_tensor

            image = open_image(Path(path))
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                return pil_to_tensor(self.transform(image)), int(self.part.labels[number])
        except DataError as error:
            return Failed(str(error))


class FolderPart:
    """The images of a part, in the order of their names; none is decoded before it is asked for.

    Args:
        paths: of the files.
        labels: ``(n,)`` int64.
    """

    def __init__(self, paths: tuple[str, ...], labels: Tensor) -> None:
        self.paths, self.labels = paths, labels

    def __len__(self) -> int:
        """The number of images."""
        return len(self.paths)

    def take(self, index: Tensor) -> "FolderPart":
        """The images at `index` ``(n,)``."""
        return FolderPart(tuple(self.paths[number] for number in index.tolist()), self.labels[index])

    def in_order(self, reading: Reading) -> "InOrder":
        """All images, in order and cut to the middle, as often as they are asked for."""
        return InOrder(self, reading)

    def read(self, reading: Reading) -> Examples:
        """All images in memory, cut to the middle."""
        parts = list(self.in_order(reading))
        return Examples(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def sample(self, reading: Reading) -> Examples:
        """At most 500 of the images, evenly spaced."""
        return self.take(torch.arange(0, len(self), -(-len(self) // _SAMPLE))).read(reading)


@dataclass(frozen=True)
class InOrder:
    """Batches of the images of a part: what is evaluated."""

    part: FolderPart
    reading: Reading

    def __iter__(self) -> Iterator[Examples]:
        chunks = torch.arange(len(self.part)).split(_EVALUATED)
        keys = [[(number, 0) for number in chunk.tolist()] for chunk in chunks]
        return decoded(_Decoded(self.part, self.reading.middle()), keys, self.reading.crew)


class FolderBatches:
    """Endless shuffled batches of images that are decoded when they are due: see `nas_search.data.Batches`.

    The order of an epoch, and the crop of an image in it, are functions of seed, epoch and image alone, so that batches are the
    same with any number of workers and after a run was resumed at any step.

    Args:
        part: what batches are made of.
        batch_size: images of a batch, of all ranks together; all of them if there are fewer. The incomplete last batch of an
            epoch is left out.
        seed: of orders and crops.
        reading: size, crop and workers.
    """

    def __init__(self, part: FolderPart, batch_size: int, seed: int, device: torch.device, reading: Reading) -> None:
        self.part, self.seed, self.device, self.reading = part, seed, device, reading
        self.batch_size = min(batch_size, len(part))
        self._part = distributed.part(self.batch_size)
        self._next = -1
        self._batches: Generator[Examples, None, None] | None = None

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self.part) // self.batch_size

    def __getitem__(self, position: int) -> Examples:
        """The batch at `position`; in order they are decoded ahead.

        Raises:
            DataError: an image is damaged.
            LoaderError: a worker died or hangs.
        """
        if self._batches is None or position != self._next:
            self.close()
            self._batches = decoded(_Decoded(self.part, self.reading.random()), self._keys(position), self.reading.crew)
        self._next = -1  # should reading fail, the next attempt starts workers anew
        batch = next(self._batches)
        self._next = position + 1
        return batch.to(self.device)

    def close(self) -> None:
        """End the workers; the next batch that is asked for starts others."""
        if self._batches is not None:
            self._batches.close()
            self._batches = None

    def _keys(self, position: int) -> Iterator[list[tuple[int, int]]]:
        """Number and seed of the images of every batch from a position on."""
        epoch, step = divmod(position, len(self))
        while True:
            generator = torch.Generator().manual_seed(stream_seed(self.seed, "order", epoch))
            order = torch.randperm(len(self.part), generator=generator)
            for start in range(step * self.batch_size, len(self) * self.batch_size, self.batch_size):
                numbers = order[start : start + self.batch_size][self._part].tolist()
                yield [(number, stream_seed(self.seed, "crop", epoch, number)) for number in numbers]
            epoch, step = epoch + 1, 0


class ImageFolders:
    """Image files in a folder a class, laid out as `nas_search.image_folder.image_folder` says; none is decoded yet.

    Args:
        root: the folder.

    Raises:
        DataError: it is not laid out so, or there are fewer than two classes.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.name, self.in_channels = self.root.resolve().name, 3
        self.kind: Literal["images"] = "images"
        files = Listing.of(self.root)
        self.class_names = files.classes
        if len(files.classes) < 2:
            raise DataError(f"{self.root} has the class {files.classes[0]!r} alone; a training needs two.")
        whole = FolderPart(tuple(map(str, files.paths)), torch.tensor(files.labels))
        parts = [whole.take(index) for index in torch.arange(len(whole)).split(files.counts)]
        self.train, self.test = parts[:2]
        self.valid = parts[2] if len(parts) > 2 else None

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the names and sizes of all files, as far as that tells data apart without reading them."""
        digest = hashlib.sha256()
        for part in (self.train, self.valid, self.test):
            for path in () if part is None else part.paths:
                file = Path(path)
                digest.update(f"{file.relative_to(self.root).as_posix()} {file.stat().st_size}\n".encode())
            digest.update(b"\n")
        return digest.hexdigest()[:16]

    def split(self, valid_share: float, seed: int) -> tuple[FolderPart, FolderPart | None]:
        """What is trained on and what validates, as `nas_search.training_data.in_memory` says."""
        if self.valid is not None and valid_share:
            raise ConfigError(
                f"valid_share is {valid_share:g}, and {self.root} has a validation part (val); leave it out (0)."
            )
        if self.valid is not None or not valid_share:
            return self.train, self.valid
        first, second = split_indices(self.train.labels, 1 - valid_share, seed)
        if min(len(first), len(second)) < 2:
            raise DataError(
                f"{self.root}: {len(self.train)} train images cannot be split into {len(first)} and {len(second)}; expected "
                f"two or more in each part."
            )
        return self.train.take(first), self.train.take(second)
