"""Calls without other processes, for tests of what is done with them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from nas_search.engines import Outcome, Run

__all__ = ["Here"]


@dataclass(frozen=True)
class Here:
    """An engine that stays in this process."""

    workers: int = 1

    @contextmanager
    def open(self, function: Callable[..., Any], *, fresh: bool = False) -> Iterator[Run]:
        yield lambda tasks, stopping: ((task, Outcome(function(*task.arguments))) for task in tasks)
