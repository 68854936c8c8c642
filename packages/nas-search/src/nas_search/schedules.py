"""Values that change during a run, as functions of its progress in [0, 1]."""

import math
from dataclasses import dataclass

from nas_search.errors import ConfigError

__all__ = ["Constant", "Cosine", "Linear"]


@dataclass(frozen=True)
class Constant:
    """The same `value` throughout."""

    value: float

    def __call__(self, progress: float) -> float:
        """Return the value."""
        return self.value


@dataclass(frozen=True)
class Linear:
    """``start + (end - start) progress``."""

    start: float
    end: float

    def __call__(self, progress: float) -> float:
        """Return the value at `progress`."""
        return self.start + (self.end - self.start) * _checked(progress)


@dataclass(frozen=True)
class Cosine:
    """``end + (start - end) (1 + cos(pi progress)) / 2`` (Loshchilov and Hutter, 2017, without restarts)."""

    start: float
    end: float = 0.0

    def __call__(self, progress: float) -> float:
        """Return the value at `progress`."""
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * _checked(progress))) / 2


def _checked(progress: float) -> float:
    if not 0 <= progress <= 1:
        raise ConfigError(f"progress is {progress}; a schedule is defined on [0, 1].")
    return progress
