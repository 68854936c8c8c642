"""The role of an engine, and what goes in and comes out."""

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from nas_search.errors import SearchError

__all__ = ["Engine", "Outcome", "Run", "Task", "answer", "one_line"]


@dataclass(frozen=True)
class Task:
    """One call of the function that an engine was opened with.

    Args:
        name: of the process, in lists of processes.
        arguments: of the call.
        log: the file to which what it prints is added, by engines that can; stderr when left out.
    """

    name: str
    arguments: tuple[Any, ...]
    log: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """How a call ended.

    Args:
        value: what it returned.
        error: in one line why it did not return; empty if it did.
    """

    value: Any = None
    error: str = ""


Run: TypeAlias = Callable[[Sequence[Task], Callable[[], bool]], Iterator[tuple[Task, Outcome]]]
"""Runs tasks, and yields each as it ends, in any order; it ends soon once the second argument says so."""


class Engine(Protocol):
    """Calls a function in other processes, several at a time."""

    @property
    def workers(self) -> int:
        """How many calls are made at a time, at most."""
        ...

    def open(self, function: Callable[..., Any], *, fresh: bool = False) -> AbstractContextManager[Run]:
        """Get ready to call one function; what is still running when the context is left is asked to stop.

        A call that raises is an outcome with its error. One whose process dies is made again, so it must not matter how often
        it begins.

        Args:
            function: sent once to every process, with all that it refers to; of any kind, also one of the script that runs.
            fresh: whether each call gets a process of its own, and does not share one with those before it.

        Raises:
            ConfigError: the function cannot be sent, or the engine is not to be had.
        """
        ...


def answer(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, str]:
    """What a call returned, and in one line the error that it raised instead; the traceback of one that is not ours is printed."""
    try:
        return function(*arguments), ""
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the engine goes on
        if not isinstance(error, SearchError):  # those say all that there is to say
            traceback.print_exc()
        return None, one_line(type(error).__name__, str(error))


def one_line(kind: str, text: str) -> str:
    """The type of an error and the first line of what it says."""
    lines = text.strip().splitlines()
    return f"{kind}: {lines[0][:300]}" if lines else kind
