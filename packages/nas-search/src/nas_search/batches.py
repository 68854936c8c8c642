"""How batches are made of examples."""

from functools import cached_property
from typing import Protocol

import torch

from nas_search import distributed
from nas_search.data import NO_VALIDATION, Examples
from nas_search.errors import ConfigError
from nas_search.streams import stream_seed

__all__ = ["Batch", "BatchStream", "Batches"]


class Batches(Protocol):
    """Endless shuffled batches by their position in the run: `BatchStream`, and what is read from a folder."""

    @property
    def batch_size(self) -> int:
        """Images of a batch, of all ranks together."""
        ...

    def __len__(self) -> int:
        """Batches of an epoch."""
        ...

    def __getitem__(self, position: int) -> Examples:
        """The batch at `position`, counted from the beginning of the run; of several ranks the own part of it."""
        ...


class BatchStream:
    """Endless shuffled batches, each a function of its position alone: nothing needs to be saved to continue.

    Of several ranks each has its part of every batch, see `nas_search.distributed`.

    The examples are kept on the device where they fit into half of its free memory, else on the host.

    Args:
        examples: what batches are made of.
        batch_size: images of a batch, of all ranks together; all of them if there are fewer. The incomplete last batch of an
            epoch is left out, because batch normalisation would see too few images.
        seed: of the order of every epoch.
        device: where batches are needed.
    """

    def __init__(self, examples: Examples, batch_size: int, seed: int, device: torch.device) -> None:
        self.batch_size = min(batch_size, len(examples.labels))
        self._part = distributed.part(self.batch_size) if self.batch_size else slice(0)
        self.seed = seed
        self.device = device
        self.examples = examples.to(device) if _fits(examples, device) else examples
        self._order = (-1, torch.empty(0))

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self.examples.labels) // self.batch_size

    def __getitem__(self, position: int) -> Examples:
        """The batch at `position`, counted from the beginning of the run.

        Raises:
            ConfigError: there are no examples.
        """
        if not len(self.examples.labels):
            raise ConfigError(NO_VALIDATION)
        epoch, step = divmod(position, len(self))
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(stream_seed(self.seed, "order", epoch))
            self._order = epoch, torch.randperm(len(self.examples.labels), generator=generator)
        index = self._order[1][step * self.batch_size : (step + 1) * self.batch_size]
        return self.examples.take(index[self._part]).to(self.device)


def _fits(examples: Examples, device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return sum(tensor.numel() * tensor.element_size() for tensor in examples) < free / 2


class Batch:
    """The train and the validation batch of one step, fetched when an update asks for them.

    Args:
        train: batches of the training part.
        valid: batches of the validation part.
        position: of the step, counted from the beginning of the run.
        train_position: of the train batch in its stream; that of the step when left out.
    """

    def __init__(
        self, train: BatchStream, valid: BatchStream, position: int, train_position: int | None = None
    ) -> None:
        self._streams, self._position = (train, valid), position
        self._train_position = position if train_position is None else train_position

    @cached_property
    def train(self) -> Examples:
        """A batch of the training part."""
        return self._streams[0][self._train_position]

    @cached_property
    def valid(self) -> Examples:
        """A batch of the validation part."""
        return self._streams[1][self._position]

    def split(self, parts: int) -> tuple["Batch", ...]:
        """Batches with train images of their own and the same validation images.

        If every step is split alike, the parts of all steps are the train batches one after the other: nothing is left out
        or used twice, and each is still a function of the step's position alone.
        """
        first = self._train_position * parts
        return tuple(Batch(*self._streams, self._position, first + index) for index in range(parts))

    def ahead(self) -> "Batch":
        """The same with the train images of the next batch in place of the validation images."""
        return Batch(self._streams[0], self._streams[0], self._train_position + 1, self._train_position)

    def unaugmented(self) -> "Batch":
        """The same with its own train images in place of the validation images."""
        return Batch(self._streams[0], self._streams[0], self._train_position)
