"""The engine of a Ray cluster. Needs the extra ``ray``."""

import logging
import math
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nas_search.engines.engine import Outcome, Run, Task, answer, one_line
from nas_search.errors import ConfigError
from nas_search.run_state import check_positive

__all__ = ["RayEngine"]

_POLL = 0.2
_PATIENCE = 10.0
"""Seconds in which a cluster must answer; Ray itself waits for minutes."""


@dataclass(frozen=True)
class RayEngine:
    """Calls as Ray tasks; one whose worker or machine dies is made again, elsewhere.

    Args:
        workers: how many calls are made at once, at most; on a cluster also as many as it has room for.
        retries: how often a call whose process was killed is made again.
        address: of a running cluster; empty to start one on this machine, which may have another already.
        gpus: of each call.

    Raises:
        ConfigError: less than one worker, or a number of GPUs that is negative, not finite, or a fraction above 1.
    """

    workers: int = 1
    retries: int = 1
    address: str = ""
    gpus: float = 0.0

    def __post_init__(self) -> None:
        check_positive(workers=self.workers)
        if not 0 <= self.gpus < math.inf or (self.gpus > 1 and self.gpus % 1):  # which Ray has no shares of
            raise ConfigError(
                f"gpus is {self.gpus:g}; expected 0 or more GPUs for each worker, a share of one or a whole number."
            )

    @contextmanager
    def open(self, function: Callable[..., Any], *, fresh: bool = False) -> Iterator[Run]:
        """See `Engine.open`; what is running at the end is killed.

        Raises:
            ConfigError: Ray is not installed, there is no cluster at the address, or none of its machines has the GPUs of a call.
        """
        try:
            import ray
        except ImportError as error:
            raise ConfigError('the engine ray needs Ray: pip install "nas-search[ray]".') from error
        ours = not ray.is_initialized()
        if ours:
            _connect(ray, self.address, self.workers)
        running: dict[Any, Task] = {}
        try:
            self._check_room(ray)
            alone: dict[str, Any] = {"max_calls": 1} if fresh else {}
            call = ray.remote(num_cpus=1, num_gpus=self.gpus, max_retries=self.retries, **alone)(_call)
            yield partial(self._run, ray, call, _shared(ray, function), running)
        finally:
            for reference in running:
                ray.cancel(reference, force=True)
            if ours:
                ray.shutdown()

    def _check_room(self, ray: Any) -> None:
        """Refuse calls that no machine has room for: they would wait for ever."""
        rooms = [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]
        if not any(room.get("CPU", 0) >= 1 and room.get("GPU", 0) >= self.gpus for room in rooms):
            has = ", ".join(f"{room.get('CPU', 0):g} and {room.get('GPU', 0):g}" for room in rooms)
            raise ConfigError(
                f"each worker needs 1 CPU and {self.gpus:g} GPU(s), and the machines of the Ray cluster have {has} of them; "
                "take less with --gpus, or a cluster with such a machine."
            )

    def _run(
        self,
        ray: Any,
        call: Any,
        function: Any,
        running: dict[Any, Task],
        tasks: Sequence[Task],
        stopping: Callable[[], bool],
    ) -> Iterator[tuple[Task, Outcome]]:
        waiting = list(tasks)
        while (waiting or running) and not stopping():
            while waiting and len(running) < self.workers:
                task = waiting.pop(0)
                running[call.options(name=task.name).remote(function, task.log, *task.arguments)] = task
            done, _ = ray.wait(list(running), num_returns=1, timeout=_POLL)
            for reference in done:
                task = running.pop(reference)
                try:
                    yield task, Outcome(*ray.get(reference))
                except ray.exceptions.RayError as error:
                    yield task, Outcome(error=one_line(type(error).__name__, str(error)))


def _connect(ray: Any, address: str, workers: int) -> None:
    """Join the cluster at an address, or start one on this machine, whatever else runs there.

    Raises:
        ConfigError: there is no such cluster.
    """
    _check_answers(address)
    room: dict[str, Any] = {"address": address} if address else {"address": "local", "num_cpus": workers}
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, **room)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        what = f"there is no Ray cluster at {address!r}" if address else "Ray cannot be started on this machine"
        raise ConfigError(f"{what}: {error}") from error


def _check_answers(address: str) -> None:
    """Refuse a HOST:PORT, also one of ``ray://``, where nobody listens; of other addresses, such as ``auto``, Ray knows."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if "/" in host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"there is no Ray cluster at {address!r} ({error}); expected the HOST:PORT that `ray start --head` has printed, or "
            "auto for that of this machine."
        ) from error


def _shared(ray: Any, function: Callable[..., Any]) -> Any:
    """The function as all calls refer to it, sent once.

    Raises:
        ConfigError: it cannot be sent.
    """
    try:
        return ray.put(function)
    except Exception as error:  # a part of anybody's may raise anything
        reason = one_line(type(error).__name__, str(error))
        raise ConfigError(f"what is to be computed in another process cannot be sent there ({reason}).") from error


def _call(function: Callable[..., Any], log: Path | None, *arguments: Any) -> tuple[Any, str]:
    """What a call returned, and its error: errors of ours must not count as a worker that died."""
    if log is None:
        return answer(function, arguments)
    with log.open("a", buffering=1, encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        return answer(function, arguments)
