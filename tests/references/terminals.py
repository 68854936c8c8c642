"""What a program shows on a terminal."""

import os
import pty
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

__all__ = ["terminal"]


@contextmanager
def terminal() -> Iterator[tuple[TextIO, bytearray]]:
    """A file that is a terminal, and what is shown on it, whole after the context."""
    leader, follower = pty.openpty()
    shown = bytearray()

    def read() -> None:  # as it is written: a terminal that nobody reads is full after some kilobytes
        while True:
            try:
                more = os.read(leader, 65536)
            except OSError:  # the other side has closed
                return
            if not more:
                return
            shown.extend(more)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with os.fdopen(follower, "w") as file:
            yield file, shown
    finally:
        reader.join()
        os.close(leader)
