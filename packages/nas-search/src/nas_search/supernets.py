"""Which supernet of a space a method trains."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from nas_search.errors import ConfigError
from nas_spaces import SearchSpace, Supernet

__all__ = ["PartialChannels", "WholeChannels"]


@dataclass(frozen=True)
class WholeChannels:
    """The space's own supernet."""

    def __call__(
        self, space: SearchSpace, *, classes: int, channels: int, cells: int | None, in_channels: int
    ) -> Supernet:
        """See `SupernetFactory`."""
        return space.supernet(classes=classes, channels=channels, cells=cells, in_channels=in_channels)


@dataclass(frozen=True)
class PartialChannels:
    """Operations see one of `parts` parts of the channels, and the others pass by (PC-DARTS).

    Args:
        parts: K; the channels must be divisible by it.

    Raises:
        ConfigError: a number below 1.
    """

    parts: int = 4

    def __post_init__(self) -> None:
        if self.parts < 1:
            raise ConfigError(f"parts is {self.parts}; expected 1 or more parts of the channels.")

    def __call__(
        self, space: SearchSpace, *, classes: int, channels: int, cells: int | None, in_channels: int
    ) -> Supernet:
        """See `SupernetFactory`.

        Raises:
            ConfigError: the supernet of the space has no partial channels, or the channels cannot be divided.
        """
        make: Callable[..., Supernet] = space.supernet
        if "parts" not in inspect.signature(make).parameters:
            raise ConfigError(
                f"the supernet of space {space.name!r} has no partial channels; use a space of cells, such as darts or "
                "nas_bench_201."
            )
        if channels % self.parts:
            raise ConfigError(
                f"{channels} channels cannot be divided into {self.parts} parts; give --channels a multiple of "
                f"{self.parts}, or set parts to another number."
            )
        return make(classes=classes, channels=channels, cells=cells, in_channels=in_channels, parts=self.parts)
