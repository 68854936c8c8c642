"""Values that change during a run, as functions of its progress in [0, 1]."""

import math
from dataclasses import dataclass

from nas_search.errors import ConfigError

__all__ = ["Constant", "Cosine", "Exponential", "ExponentialCosine", "Interpolated", "Linear", "Ramp", "Sigmoid"]


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


@dataclass(frozen=True)
class ExponentialCosine:
    """``end + (start - end) (e^x - 1) / (e - 1)`` with ``x = (1 + cos(pi progress)) / 2`` (AllegroNAS, Eq. 8).

    It falls faster than `Cosine` at first and is lower from then on; cosine power annealing of sharpDARTS with base e.

    Differs from the paper:
        1. Eq. 8 has a factor ``start - end`` in the exponent too, left over from Eq. 7. With it the learning rate would
           begin at a seventieth of its maximum, against the paper's figure 3.
        2. `progress` is that of the phase in which it is used, so the period E is the number of epochs of that phase.
    """

    start: float
    end: float = 0.0

    def __call__(self, progress: float) -> float:
        """Return the value at `progress`."""
        x = (1 + math.cos(math.pi * _checked(progress))) / 2
        return self.end + (self.start - self.end) * math.expm1(x) / math.expm1(1)


@dataclass(frozen=True)
class Exponential:
    """``start (end / start)^progress``: the same factor in every step, as temperatures are annealed.

    Raises:
        ConfigError: an end that is not a positive number.
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        if not (0 < self.start < math.inf and 0 < self.end < math.inf):
            raise ConfigError(f"an exponential goes from {self.start} to {self.end}; expected positive numbers.")

    def __call__(self, progress: float) -> float:
        """Return the value at `progress`."""
        return float(self.start * (self.end / self.start) ** _checked(progress))


@dataclass(frozen=True)
class Interpolated:
    """Through values at even distances from the beginning to the end, linearly between them.

    Args:
        values: two or more; the first is that at progress 0, the last that at progress 1.

    Raises:
        ConfigError: fewer values, or one that is no finite number.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.values) < 2 or not all(isinstance(v, int | float) and math.isfinite(v) for v in self.values):
            raise ConfigError(f"values are {self.values}; expected two or more finite numbers.")

    def __call__(self, progress: float) -> float:
        """Return the value at `progress`."""
        place = _checked(progress) * (len(self.values) - 1)
        index = min(int(place), len(self.values) - 2)
        return self.values[index] + (self.values[index + 1] - self.values[index]) * (place - index)


@dataclass(frozen=True)
class Ramp:
    """``start + (end - start) progress / span``: the asymptotic coefficient chi of AllegroNAS, Eq. 6.

    Args:
        start: chi_min.
        end: chi_max, which is reached after `span` of the run.
        span: H, the paper's number of epochs, as a part of those of the run.
        clip: whether it stays at `end` from then on; it goes on rising otherwise.

    Differs from the paper:
        1. `start` is added; the paper's is 0, and its equation leaves it out.
        2. It is clipped: the paper's H of 25 in a search of 50 epochs would end at twice chi_max.
        3. It rises with every step, not with every epoch.

    Raises:
        ConfigError: a span that is not a positive number.
    """

    start: float
    end: float
    span: float = 1.0
    clip: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.span < math.inf:
            raise ConfigError(f"span is {self.span}; expected a positive part of the run, such as 0.5.")

    def __call__(self, progress: float) -> float:
        """Return the value at `progress`."""
        part = _checked(progress) / self.span
        return self.start + (self.end - self.start) * (min(part, 1.0) if self.clip else part)


@dataclass(frozen=True)
class Sigmoid:
    """``1 - sigmoid((2 progress - 1) steepness)``: from nearly 1 to nearly 0 (``Sig_gamma(b)``; thesis, Eq. 4.16).

    Args:
        steepness: b; 10 in the paper's experiments, where 0 would be one half throughout.
    """

    steepness: float = 10.0

    def __call__(self, progress: float) -> float:
        """Return the value at `progress`."""
        return (
            1 - math.tanh((_checked(progress) - 0.5) * self.steepness)
        ) / 2  # where exp would overflow for a large b


def _checked(progress: float) -> float:
    if not 0 <= progress <= 1:
        raise ConfigError(f"progress is {progress}; a schedule is defined on [0, 1].")
    return progress
