"""Rules that end a search before its last epoch, as functions of the records of its epochs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas_search.errors import ConfigError

__all__ = ["EigenvalueRise", "Never", "SkipLimit"]


@dataclass(frozen=True)
class Never:
    """The search runs to its last epoch."""

    def __call__(self, history: Sequence[Mapping[str, Any]]) -> bool:
        """See `StopRule`."""
        return False


@dataclass(frozen=True)
class EigenvalueRise:
    """Stop when the dominant eigenvalue of the Hessian has risen fast (Zela et al., "RobustDARTS", ICLR 2020, sec. 4.3).

    With ``m(i)`` the mean over the `window` epochs up to i: stop when ``m(i - window) / m(i) < ratio``. The paper then takes
    the architecture of epoch ``i - window``, which is what the selector `BeforeStop` does.

    Args:
        ratio: 0.75 in the paper.
        window: k, 5 in the paper.

    Differs from the released code:
        1. It measures every other epoch, and does not stop in the first ten.

    Raises:
        ConfigError: a ratio outside of (0, 1], or a window below 1.
    """

    ratio: float = 0.75
    window: int = 5

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1 or self.window < 1:
            raise ConfigError(
                f"ratio is {self.ratio} and window {self.window}; expected a ratio in (0, 1] and a window of 1 or more epochs."
            )

    def __call__(self, history: Sequence[Mapping[str, Any]]) -> bool:
        """See `StopRule`."""
        values = _column(history, "hessian_eigenvalue", "HessianSpectrum")
        if len(values) < 2 * self.window:
            return False
        now, before = values[-self.window :], values[-2 * self.window : -self.window]
        return sum(before) < self.ratio * sum(now)


@dataclass(frozen=True)
class SkipLimit:
    """Stop when the normal cell has as many skip connections as `limit` (Liang et al., "DARTS+", 2019, criterion 1).

    Args:
        limit: 2 in the paper.

    Raises:
        ConfigError: a limit below 1.
    """

    limit: int = 2

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ConfigError(f"limit is {self.limit}; expected 1 or more skip connections.")

    def __call__(self, history: Sequence[Mapping[str, Any]]) -> bool:
        """See `StopRule`."""
        values = _column(history, "skip_connections", "SkipConnections")
        return bool(values) and values[-1] >= self.limit


def _column(history: Sequence[Mapping[str, Any]], name: str, observer: str) -> list[float]:
    if history and name not in history[-1]:
        raise ConfigError(
            f"the stop rule reads {name!r}, which no epoch has: add nas_search.diagnostics.{observer}() to the method's observers."
        )
    return [record[name] for record in history if name in record]
