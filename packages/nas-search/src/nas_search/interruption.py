"""Stopping on request: Ctrl-C and SIGTERM let the step that is running finish, so that it can be saved."""

import signal
import threading
from types import FrameType
from typing import Any

from nas_search.distributed import size

__all__ = ["StopSignals"]


class StopSignals:
    """While active, the first SIGINT or SIGTERM sets `requested`; a second one interrupts at once.

    Of several ranks a second one is ignored, also while they end: torchrun passes on to all ranks what a terminal or a scheduler
    may have sent to each of them already, and kills those that do not end.

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
            signal.signal(number, signal.SIG_IGN if self.requested and size() > 1 else handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and size() == 1:
            raise KeyboardInterrupt
        self.requested = True
