"""A process of `LocalEngine`, a script that needs nothing of this package: what it calls may.

It reads from its stdin, which the engine writes: where modules are looked for, a function, and then arguments, again and again;
and writes to its stdout, which the engine reads: for each call what it returned, and else the type and the text of its error.
Both are pickles between two processes of one program: nothing that stands in a file is read so. What is printed goes to stderr.
"""

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import cache
from typing import Any, BinaryIO

import cloudpickle

__all__ = ["main"]


def main() -> None:
    """Answer until there are no more requests."""
    requests, answers = _channels()
    threading.Thread(target=_stop_with_parent, args=(os.getppid(),), daemon=True).start()
    sys.path[:] = pickle.load(requests)
    sent = pickle.load(requests)
    # Made once: it may keep what it needs for the next call.
    function = cache(lambda: pickle.loads(sent))
    while True:
        try:
            arguments = pickle.load(requests)
        except EOFError:
            return
        answers.write(_answer(function, arguments))
        answers.flush()


def _answer(function: Callable[[], Callable[..., Any]], arguments: bytes) -> bytes:
    try:
        return bytes(cloudpickle.dumps((function()(*pickle.loads(arguments)), None)))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the engine goes on
        if all(each.__name__ != "SearchError" for each in type(error).__mro__):  # those say all that there is to say
            traceback.print_exc()
        return pickle.dumps((None, (type(error).__name__, str(error))))


def _channels() -> tuple[BinaryIO, BinaryIO]:
    """The pipes from and to the engine, out of reach of what reads and prints."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _stop_with_parent(parent: int) -> None:
    """Save and end when the engine was killed: when it is started again, no two processes may write to the same folder."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
