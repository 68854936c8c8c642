"""The engine of a Ray cluster. Needs the extra ``ray``."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from nas_search.engines.engine import Outcome, Run, Task, one_line
from nas_search.errors import ConfigError
from nas_search.run_state import check_positive

__all__ = ["RayEngine"]

_POLL = 0.2


@dataclass(frozen=True)
class RayEngine:
    """Calls as Ray tasks; one whose worker or machine dies is made again, elsewhere.

    Args:
        workers: how many calls are made at once, at most; on a cluster also as many as it has room for.
        retries: how often a call whose process was killed is made again.
        address: of a running cluster; empty to start one on this machine.
        gpus: of each call.

    Raises:
        ConfigError: less than one worker.
    """

    workers: int = 1
    retries: int = 1
    address: str = ""
    gpus: float = 0.0

    def __post_init__(self) -> None:
        check_positive(workers=self.workers)

    @contextmanager
    def open(self, function: Callable[..., Any], *, fresh: bool = False) -> Iterator[Run]:
        """See `Engine.open`; what is running at the end is killed.

        Raises:
            ConfigError: Ray is not installed, or there is no cluster at the address.
        """
        try:
            import ray
        except ImportError as error:
            raise ConfigError('the engine ray needs Ray: pip install "nas-search[ray]".') from error
        ours = not ray.is_initialized()
        if ours:
            try:
                room: dict[str, Any] = {"address": self.address} if self.address else {"num_cpus": self.workers}
                ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, **room)
            except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
                raise ConfigError(f"there is no Ray cluster at {self.address!r}: {error}") from error
        try:
            shared = ray.put(function)
        except Exception as error:  # a part of anybody's may raise anything
            if ours:
                ray.shutdown()
            reason = one_line(type(error).__name__, str(error))
            raise ConfigError(f"what is to be computed in another process cannot be sent there ({reason}).") from error
        alone: dict[str, Any] = {"max_calls": 1} if fresh else {}
        call = ray.remote(num_cpus=1, num_gpus=self.gpus, max_retries=self.retries, **alone)(_call)
        running: dict[Any, Task] = {}

        def run(tasks: Sequence[Task], stopping: Callable[[], bool]) -> Iterator[tuple[Task, Outcome]]:
            waiting = list(tasks)
            while (waiting or running) and not stopping():
                while waiting and len(running) < self.workers:
                    task = waiting.pop(0)
                    running[call.options(name=task.name).remote(shared, *task.arguments)] = task
                done, _ = ray.wait(list(running), num_returns=1, timeout=_POLL)
                for reference in done:
                    task = running.pop(reference)
                    try:
                        yield task, Outcome(*ray.get(reference))
                    except ray.exceptions.RayError as error:
                        yield task, Outcome(error=one_line(type(error).__name__, str(error)))

        try:
            yield run
        finally:
            for reference in running:
                ray.cancel(reference, force=True)
            if ours:
                ray.shutdown()


def _call(function: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """What a call returned, and its error: errors of ours must not count as a worker that died."""
    try:
        return function(*arguments), ""
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the engine goes on
        return None, one_line(type(error).__name__, str(error))
