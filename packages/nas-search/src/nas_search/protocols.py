"""How papers train what was found: one value per protocol, every field of which may be changed."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from nas_search.errors import ConfigError, did_you_mean
from nas_search.optimizers import SGD
from nas_search.roles import Schedule
from nas_search.run_state import check_positive
from nas_search.schedules import Cosine

__all__ = ["PROTOCOLS", "EpochDecay", "EveryEpoch", "TrainingProtocol", "protocol"]


def _epoch(progress: float, epochs: int) -> int:
    # A progress that was computed as epoch / epochs may lie a rounding below it.
    return math.floor(progress * epochs + 1e-9)


@dataclass(frozen=True)
class EveryEpoch:
    """``schedule(e / epochs)`` throughout epoch e, counted from 0."""

    schedule: Schedule
    epochs: int

    def __call__(self, progress: float) -> float:
        """Return the value at `progress`."""
        return self.schedule(min(1.0, _epoch(progress, self.epochs) / self.epochs))


@dataclass(frozen=True)
class EpochDecay:
    """``start * factor ** e`` throughout epoch e, counted from 0."""

    start: float
    factor: float
    epochs: int

    def __call__(self, progress: float) -> float:
        """Return the value at `progress`."""
        return float(self.start * self.factor ** _epoch(progress, self.epochs))


@dataclass(frozen=True)
class TrainingProtocol:
    """Sizes, optimiser and regularisation of a training from scratch.

    Args:
        epochs: of the training.
        batch_size: images of a batch.
        channels: width of the first cell; 0 for that of the run.
        cells: depth, in the unit of the space; 0 for that of the run.
        learning_rate: at the beginning.
        decay: factor of the learning rate after every epoch; 0 for the annealing of the method that found what is trained, which
            is a cosine to 0 but for ``allegro``.
        every_epoch: whether that moves once an epoch instead of at every step.
        momentum: of the optimiser.
        nesterov: whether it looks ahead.
        weight_decay: of the optimiser.
        clip: largest norm of the gradient; 0 for no limit.
        drop_path: probability that would be reached after the last epoch: it is ``drop_path * e / epochs`` in epoch e,
            counted from 0.
        auxiliary: weight of the second classifier's loss; 0 for a network without one.
        label_smoothing: share of each target that is spread evenly over all classes.
        cutout: side of the square that is covered, in pixels; 0 for none.
        stem: ``cifar``, or ``imagenet``, which divides the resolution by 8 first.
        image_size: of the images that a folder (``imagefolder``) is read at, by workers and while the training goes on; 0 for
            that of the search. Images that are in memory already (CIFAR, ``npz``) keep theirs, and the crop of the policy.
        crop: of such images, ``resized`` or ``padded``, see `nas_search.lazy_images.Reading`.
        jitter: whether their colours are changed, see there.
        ema: decay of an exponential average of the weights, which is evaluated and saved in their place; 0 for none. See
            `nas_search.averaging.ExponentialAverage`.
        valid_share: part of the train images that is not trained on and chooses the best epoch; 0 for none.

    Raises:
        ConfigError: a value out of its range, or of another type.
    """

    epochs: int = 10
    batch_size: int = 64
    channels: int = 0
    cells: int = 0
    learning_rate: float = 0.05
    decay: float = 0.0
    every_epoch: bool = False
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    clip: float = 5.0
    drop_path: float = 0.0
    auxiliary: float = 0.0
    label_smoothing: float = 0.0
    cutout: int = 0
    stem: str = "cifar"
    image_size: int = 0
    crop: str = "padded"
    jitter: bool = False
    ema: float = 0.0
    valid_share: float = 0.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value, wanted = getattr(self, item.name), type(item.default)
            if wanted is float and type(value) is int:
                object.__setattr__(self, item.name, value := float(value))
            if type(value) is not wanted:
                raise ConfigError(f"{item.name} is {value!r}; expected {wanted.__name__}, such as {item.default!r}.")
        check_positive(epochs=self.epochs, batch_size=self.batch_size)
        for name in ("channels", "cells", "cutout", "image_size", "clip", "auxiliary"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected a number of 0 or more.")
        for name in ("drop_path", "label_smoothing", "decay", "ema", "valid_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 0 or more, below 1.")
        if self.crop not in ("resized", "padded"):
            near = did_you_mean(self.crop, ("resized", "padded"))
            raise ConfigError(f"crop is {self.crop!r}; expected 'resized' or 'padded'; {near}")
        if self.stem not in ("cifar", "imagenet"):
            near = did_you_mean(self.stem, ("cifar", "imagenet"))
            raise ConfigError(f"stem is {self.stem!r}; expected 'cifar' or 'imagenet'; {near}")
        self.optimizer()  # which has limits of its own

    def optimizer(self, annealing: Callable[[float], Schedule] = Cosine) -> SGD:
        """The optimiser of the weights.

        Args:
            annealing: makes the learning rate from its first value where it has no `decay`; see `Method.annealing`.
        """
        rate = annealing(self.learning_rate)
        if self.decay:
            rate = EpochDecay(self.learning_rate, self.decay, self.epochs)
        elif self.every_epoch:
            rate = EveryEpoch(rate, self.epochs)
        return SGD(rate, self.momentum, self.weight_decay, self.nesterov, self.clip or None)

    def changed(self, values: Mapping[str, Any]) -> "TrainingProtocol":
        """The same with some fields changed.

        Raises:
            ConfigError: no such field, or a value that does not fit.
        """
        names = [item.name for item in fields(self)]
        for key in values:
            if key not in names:
                near = did_you_mean(key, names)
                raise ConfigError(f"unknown setting {key!r} of a training; there are {', '.join(names)}; {near}")
        return replace(self, **values)


_DARTS = TrainingProtocol(
    epochs=600, batch_size=96, channels=36, cells=20, learning_rate=0.025, every_epoch=True, nesterov=False,
    weight_decay=3e-4, clip=5.0, drop_path=0.2, auxiliary=0.4, cutout=16,
)  # fmt: skip

PROTOCOLS = {
    "darts-cifar": _DARTS,
    "darts-imagenet": replace(
        _DARTS, epochs=250, batch_size=128, channels=48, cells=14, learning_rate=0.1, decay=0.97, every_epoch=False,
        weight_decay=3e-5, drop_path=0.0, label_smoothing=0.1, cutout=0, stem="imagenet",
        image_size=224, crop="resized", jitter=True,
    ),
    "nas-bench-201": TrainingProtocol(
        epochs=200, batch_size=256, channels=16, cells=5, learning_rate=0.1, weight_decay=5e-4, clip=0.0
    ),
    "quick": TrainingProtocol(),
}  # fmt: skip
"""DARTS' evaluation on CIFAR-10 and ImageNet (Liu et al., ICLR 2019), NAS-Bench-201's table (Dong and Yang, ICLR 2020,
200 epochs), and ten epochs at the sizes of the search.

Where a value comes from:
    1. ``darts-cifar``: epochs, batch, sizes, auxiliary weight, cutout, drop path, learning rate, momentum, weight decay and clip
       are those of the authors' ``cnn/train.py`` (read in two copies of it); that the momentum is plain and the cosine moves once
       an epoch is too.
    2. ``darts-imagenet``: epochs (250) and width (48) are the paper's; the defaults of ``cnn/train_imagenet.py`` are 1,000 and
       50. Learning rate, its factor, momentum (plain), weight decay, clip, label smoothing, auxiliary weight, the absence of a
       drop path, the random crop to 224 and the change of colours are that file's. Papers that follow with larger batches take
       a learning rate of 0.5 (DAAS with batches of 1,024, Amended-DARTS): set ``batch_size`` and ``learning_rate``.
    3. ``nas-bench-201``: the optimiser with Nesterov's momentum, its cosine at every step, batch and epochs are the authors'
       ``200E.config``; that no gradient is clipped is the training loop's, ``exps/NAS-Bench-201/functions.py``.
    4. ``quick`` is ours.
"""


def protocol(name: str, values: Mapping[str, Any] | None = None) -> TrainingProtocol:
    """One of `PROTOCOLS` by name, with some fields changed.

    Raises:
        ConfigError: no such protocol, or as `TrainingProtocol.changed`.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"unknown preset {name!r}; there are {', '.join(PROTOCOLS)}; {did_you_mean(name, PROTOCOLS)}")
    return PROTOCOLS[name].changed(values or {})
