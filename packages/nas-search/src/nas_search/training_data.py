"""What a training from scratch is given of a data set: batches, what validates, and what only the end sees."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from nas_search.data import Data, Examples
from nas_search.errors import ConfigError
from nas_search.lazy_images import FolderBatches, ImageFolders, Reading

__all__ = ["MakeBatches", "TrainingData", "from_folders", "in_memory"]

MakeBatches = Callable[[int, int, torch.device], FolderBatches]
"""Batches of a size, under a seed, for a device."""


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The parts of a data set in a training from scratch.

    Args:
        train: what is trained on; with `batches` some of it, to tell how to normalise.
        valid: what chooses the best epoch; None where nothing validates.
        test: what only the end sees.
        fingerprint: equal for equal data.
        batches: makes the batches of what is not whole in memory.
    """

    train: Examples
    valid: Examples | Iterable[Examples] | None
    test: Examples | Iterable[Examples]
    fingerprint: str
    batches: MakeBatches | None = None


def in_memory(data: Data, valid_share: float, seed: int) -> TrainingData:
    """The parts of data that is whole in memory.

    Data that has a validation part of its own, such as text, keeps it. Of other data `valid_share` of the train part, of every
    class alike and the same for equal seeds, validates and is not trained on; with 0 nothing validates. The test part never
    validates.

    Raises:
        ConfigError: a share of data that has a validation part.
        DataError: a part would have less than two images.
    """
    own = getattr(data, "valid", None)
    if own is not None and valid_share:
        raise ConfigError(
            f"valid_share is {valid_share:g}, and {data.name} has a validation part of its own; leave it out (0)."
        )
    if own is not None or not valid_share:
        return TrainingData(data.train, own, data.test, data.fingerprint)
    train, valid = data.split(1 - valid_share, seed)
    return TrainingData(train, valid, data.test, data.fingerprint)


def from_folders(folders: ImageFolders, reading: Reading, valid_share: float, seed: int) -> TrainingData:
    """The parts of images in folders, which are decoded when they are due; what validates is taken as by `in_memory`.

    Raises:
        ConfigError, DataError: as `in_memory`; or an image is damaged.
    """
    train, valid = folders.split(valid_share, seed)
    return TrainingData(
        train.sample(reading),
        None if valid is None else valid.in_order(reading),
        folders.test.in_order(reading),
        f"{folders.fingerprint}-{reading}",
        lambda size, seed, device: FolderBatches(train, size, seed, device, reading),
    )
