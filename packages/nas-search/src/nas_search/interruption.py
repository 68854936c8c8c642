"""Stopping on request: Ctrl-C and SIGTERM let the step that is running finish, so that it can be saved."""

import signal
import threading
from types import FrameType
from typing import Any

__all__ = ["StopSignals"]


class StopSignals:
    """While active, the first SIGINT or SIGTERM sets `requested`; a second one interrupts at once.

    Outside the main thread, where Python handles no signals, nothing is changed.
    """

    def __init__(self, *, active: bool = True) -> None:
        self.requested = False
        self._active = active and threading.current_thread() is threading.main_thread()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        if self._active:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
