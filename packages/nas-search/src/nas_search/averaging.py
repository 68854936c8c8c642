"""Averages of the weights over a training: which steps count, and how much."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from nas_search.errors import ConfigError

__all__ = ["Averaging", "ExponentialAverage", "NonMonotoneAverage", "blend"]


class Averaging(Protocol):
    """From when on the weights are averaged, and the share of the newest in the average."""

    def begin(self, losses: Sequence[float]) -> int | None:
        """The number of epochs after which averaging begins; None as long as it does not.

        Args:
            losses: of the validation after each epoch so far; empty where nothing validates.
        """
        ...

    def share(self, count: int) -> float:
        """The share in (0, 1] of weights that are the next after `count` in the average."""
        ...


@dataclass(frozen=True)
class ExponentialAverage:
    """``a <- d a + (1 - d) w`` after every step, from the first one on.

    ``d = min(decay, (1 + n) / (10 + n))`` after `n` steps, so that the average of a short training is not that of its
    beginning (as TensorFlow's ``ExponentialMovingAverage`` with ``num_updates`` has it).

    Args:
        decay: the share that is kept at every step, in the long run.

    Raises:
        ConfigError: it is not in (0, 1).
    """

    decay: float

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1:
            raise ConfigError(f"ema is {self.decay}; expected a decay above 0 and below 1, such as 0.999.")

    def begin(self, losses: Sequence[float]) -> int | None:
        """At once."""
        return 0

    def share(self, count: int) -> float:
        """``1 - d``."""
        return 1 - min(self.decay, (1 + count) / (10 + count))


@dataclass(frozen=True)
class NonMonotoneAverage:
    """The mean of the weights after every step since the validation loss stopped to fall: NT-ASGD.

    Merity, Keskar and Socher, "Regularizing and Optimizing LSTM Language Models", ICLR 2018, Algorithm 1, with one
    validation an epoch: averaging begins after the first epoch `t` (from 0) with ``t > interval`` and
    ``loss_t > min(loss_0, ..., loss_{t - interval - 1})``. The steps stay those of SGD with a constant learning rate.

    Args:
        interval: epochs that the loss may take to fall below what it was; 5 in DARTS' evaluation on Penn Treebank.

    Raises:
        ConfigError: it is below 1.
    """

    interval: int = 5

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise ConfigError(f"asgd is {self.interval}; expected an interval of 1 epoch or more, such as 5.")

    def begin(self, losses: Sequence[float]) -> int | None:
        """The number of epochs when the condition was met first.

        Example:
            >>> NonMonotoneAverage(1).begin([3.0, 2.0, 1.0, 2.5])
            4
        """
        least = float("inf")
        for epoch, loss in enumerate(losses):
            if epoch > self.interval:
                least = min(least, losses[epoch - self.interval - 1])
                if loss > least:
                    return epoch + 1
        return None

    def share(self, count: int) -> float:
        """``1 / (count + 1)``."""
        return 1 / (count + 1)


@torch.no_grad()
def blend(average: nn.Module, network: nn.Module, share: float) -> None:
    """``a <- (1 - share) a + share w`` for every parameter and buffer of two networks that are built alike.

    The running statistics of batch normalisation are averaged like the weights: those of the last batches alone would not be
    of the averaged weights. Whole numbers, such as counts of batches, are taken over.

    Args:
        average: is changed.
        network: what is averaged.
        share: of `network`; with 1 the average becomes a copy.
    """
    old = chain(average.parameters(), average.buffers())
    new = chain(network.parameters(), network.buffers())
    groups: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for mine, theirs in zip(old, new, strict=True):
        if mine.is_floating_point():
            pair = groups.setdefault(mine.dtype, ([], []))
            pair[0].append(mine)
            pair[1].append(theirs)
        else:
            mine.copy_(theirs)
    step = get_ema_multi_avg_fn(1 - share)
    for mine_, theirs_ in groups.values():
        step(mine_, theirs_, None)
