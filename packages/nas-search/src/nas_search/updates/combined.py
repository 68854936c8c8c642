"""Updates made of others: from some point on, up to some point, each on a batch of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nas_search.compatibility import used
from nas_search.errors import ConfigError
from nas_search.roles import Update

if TYPE_CHECKING:
    from nas_search.batches import Batch
    from nas_search.state import SearchState

__all__ = ["After", "OnFreshBatches", "Until"]


@dataclass(frozen=True)
class After:
    """An update that is left out at the beginning of the run.

    Args:
        start: the progress from which on it runs, in [0, 1].
        update: what is done then.

    Raises:
        ConfigError: a start outside of [0, 1].
    """

    start: float
    update: Update

    def __post_init__(self) -> None:
        if not 0 <= self.start <= 1:
            raise ConfigError(f"an update starts at {self.start}; expected a part of the run, from 0 to 1.")

    @property
    def uses(self) -> frozenset[str] | None:
        """What the update uses."""
        return used((self.update,))

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: it would start after the last step of the run.
        """
        steps = state.epochs * state.steps
        # Of a single step, which is a trial that everything runs, nothing can come after any other.
        if steps > 1 and self.start > (steps - 1) / steps:
            raise ConfigError(
                f"method {state.method.name!r} begins its {type(self.update).__name__} after {self.start:g} of the run, which ends "
                f"before, with its {steps} steps: give more epochs, or let it begin earlier."
            )

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report what the update does; nothing before it starts."""
        return self.update(state, batch) if state.progress >= self.start else {}


@dataclass(frozen=True)
class Until:
    """An update that is left out from some point of the run on.

    Args:
        end: the progress up to which it runs, in [0, 1]; `After` with the same number begins where this ends.
        update: what is done until then.

    Raises:
        ConfigError: an end outside of [0, 1].
    """

    end: float
    update: Update

    def __post_init__(self) -> None:
        if not 0 <= self.end <= 1:
            raise ConfigError(f"an update ends at {self.end}; expected a part of the run, from 0 to 1.")

    @property
    def uses(self) -> frozenset[str] | None:
        """What the update uses."""
        return used((self.update,))

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report what the update does; nothing after it has ended."""
        return self.update(state, batch) if state.progress < self.end else {}


@dataclass(frozen=True)
class OnFreshBatches:
    """Updates one after the other, each on a train batch of its own; the validation batch is the same for all.

    Args:
        updates: what is done.
    """

    updates: tuple[Update, ...]

    @property
    def uses(self) -> frozenset[str] | None:
        """What the updates use."""
        return used(self.updates)

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report the mean of each figure over the updates that report it."""
        figures: dict[str, list[Tensor]] = {}
        for update, part in zip(self.updates, batch.split(len(self.updates)), strict=True):
            for name, value in update(state, part).items():
                figures.setdefault(name, []).append(value)
        return {name: torch.stack(values).mean() for name, values in figures.items()}
