"""What every run has: a position, figures, random numbers, and modules that are saved and restored with them."""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from operator import index
from typing import Any

import torch
from torch import Tensor, nn

from nas_search.errors import ConfigError
from nas_search.meter import Meter, perplexities
from nas_search.roles import StopRule
from nas_search.stopping import Never
from nas_search.streams import stream_seed

__all__ = ["RunState", "check_positive"]


class RunState(ABC):
    """A search or a training at one moment: what the loop advances, saves and restores.

    Args:
        epochs: of the whole run.
        seed: of all randomness of the run.
        device: where images and weights live.
        stop: ends the run before its last epoch.
        tokens: whether the losses are those of the tokens of a text.
    """

    def __init__(
        self, *, epochs: int, seed: int, device: torch.device, stop: StopRule = Never(), tokens: bool = False
    ) -> None:
        check_positive(epochs=epochs)
        self.stop = stop
        self.epochs, self.seed, self.device, self.tokens = epochs, seed, device, tokens
        self.epoch = self.step = 0
        self.images = 0
        self.seconds = 0.0
        self.meter = Meter()
        self.history: list[dict[str, Any]] = []
        # On the host, so that the same architectures and augmentations are drawn on every device.
        self.generator = torch.Generator().manual_seed(stream_seed(seed, "draws"))
        self._clock = time.perf_counter()

    @property
    @abstractmethod
    def name(self) -> str:
        """``search`` or ``train``."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """Steps of an epoch."""

    @property
    @abstractmethod
    def learning_rate(self) -> float | None:
        """The learning rate of the weights at this moment; None if none are trained."""

    @property
    @abstractmethod
    def remedy(self) -> str:
        """What to do when the loss becomes NaN."""

    @abstractmethod
    def advance(self) -> Mapping[str, Tensor]:
        """Take one step; the figures that it reports."""

    @abstractmethod
    def finish_epoch(self) -> dict[str, Any]:
        """What the history holds of this epoch besides the means of the steps' figures."""

    @abstractmethod
    def modules(self) -> dict[str, nn.Module]:
        """The modules whose states are saved."""

    @abstractmethod
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers whose states are saved."""

    @property
    def progress(self) -> float:
        """The part of the run that is done, in [0, 1]."""
        return min(1.0, (self.epoch + self.step / self.steps) / self.epochs)

    @property
    def position(self) -> int:
        """Steps taken since the beginning of the run."""
        return self.epoch * self.steps + self.step

    @property
    def finished(self) -> bool:
        """Whether no epoch is left: the last one was run, or the stop rule says so."""
        return self.epoch >= self.epochs or self.stop(self.history)

    def figures(self) -> dict[str, float]:
        """The means over this epoch so far; of a language model with the perplexities that belong to its losses."""
        means = self.meter.means()
        return means | perplexities(means) if self.tokens else means

    def start_clock(self) -> None:
        """Count from now on: what was prepared before is not of the first epoch."""
        self._clock = time.perf_counter()

    def tick(self) -> None:
        """Add the time since the last call to the seconds of this epoch."""
        now = time.perf_counter()
        self.seconds += now - self._clock
        self._clock = now

    def close_epoch(self) -> dict[str, Any]:
        """Move on to the next epoch; the record of this one, which is also appended to the history."""
        self.tick()
        training = self.seconds
        record: dict[str, Any] = {"epoch": self.epoch + 1, **self.figures(), **self.finish_epoch()}
        self.tick()  # what validates is of this epoch too, but not of the speed of its steps
        record["seconds"] = self.seconds
        if self.images:
            record["images_per_second"] = self.images / max(training, 1e-9)
        self.history.append(record)
        self.epoch, self.step, self.images, self.seconds = self.epoch + 1, 0, 0, 0.0
        self.meter = Meter()
        return record

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to continue bit for bit; tensors, numbers and texts only."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "images": self.images,
            "seconds": self.seconds,
            "meter": self.meter.state_dict(),
            "history": self.history,
            "generator": self.generator.get_state(),
            "global_random_state": torch.random.get_rng_state(),
            # Dropout and drop path draw where the features are.
            **({"cuda_random_state": torch.cuda.get_rng_state(self.device)} if self.device.type == "cuda" else {}),
            "modules": {name: module.state_dict() for name, module in self.modules().items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers().items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        for name, module in self.modules().items():
            module.load_state_dict(state["modules"][name])
        for name, optimizer in self.optimizers().items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.epoch, self.step = index(state["epoch"]), index(state["step"])
        self.images, self.seconds = state["images"], state["seconds"]
        self.meter.load_state_dict(state["meter"])
        self.history = list(state["history"])
        self.generator.set_state(state["generator"].cpu())
        torch.random.set_rng_state(state["global_random_state"].cpu())
        if self.device.type == "cuda" and "cuda_random_state" in state:
            torch.cuda.set_rng_state(state["cuda_random_state"].cpu(), self.device)


def check_positive(**sizes: int) -> None:
    """Refuse what is no whole number, numbers below 1, and below 2 for a batch: batch normalisation needs two images.

    Raises:
        ConfigError: naming the first of them.
    """
    for name, value in sizes.items():
        least = 2 if name == "batch_size" else 1
        if not hasattr(value, "__index__"):
            raise ConfigError(f"{name} is {value!r}; expected a whole number, {least} or more.")
        if value < least:
            raise ConfigError(f"{name} is {value}; expected {least} or more.")
