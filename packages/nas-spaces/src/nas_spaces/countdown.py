"""How far a long reading is, and for how long it goes on: logged, since a library prints nothing."""

import logging
import time
from collections.abc import Callable

__all__ = ["Countdown", "duration"]


def duration(seconds: float) -> str:
    """A time as a person says it.

    Example:
        >>> [duration(seconds) for seconds in (4.2, 100, 4000, 100_000)]
        ['4 s', '2 min', '1 h 7 min', '1 d 3 h']
    """
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


class Countdown:
    """Tells a logger, every few seconds and not before the first of them, the share that is done and the time left.

    Args:
        log: what is told, at the level INFO.
        text: what is being done.
        total: how much there is to do; the unit is the caller's.
        begun: what was done before.
        every: seconds between two messages.
        clock: seconds that only rise.

    Example:
        >>> import sys
        >>> log = logging.getLogger("countdown.example")
        >>> log.setLevel(logging.INFO)
        >>> log.addHandler(logging.StreamHandler(sys.stdout))
        >>> seconds = iter([0.0, 1.0, 6.0])
        >>> count = Countdown(log, "reading table.bin", 400, clock=lambda: next(seconds))
        >>> count(20)
        >>> count(120)
        reading table.bin: 30 %, about 14 s left
    """

    def __init__(
        self,
        log: logging.Logger,
        text: str,
        total: int,
        *,
        begun: int = 0,
        every: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._text, self._total, self._done, self._every, self._clock = log, text, total, begun, every, clock
        self._start = self._told = clock()

    def __call__(self, done: int) -> None:
        """Note that so much is done, of the total."""
        now = self._clock()
        if now - self._told < self._every or done <= self._done:
            return
        self._told = now
        left = (now - self._start) / (done - self._done) * (self._total - done)
        self._log.info("%s: %d %%, about %s left", self._text, 100 * done // self._total, duration(left))
