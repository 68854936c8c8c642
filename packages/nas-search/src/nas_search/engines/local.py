"""The engine of one machine: so many processes at once."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from queue import SimpleQueue
from signal import SIGTERM
from typing import Any

from loky import wrap_non_picklable_objects
from loky.backend import get_context

from nas_search.engines.engine import Outcome, Run, Task, answer, one_line
from nas_search.errors import ConfigError
from nas_search.run_state import check_positive

__all__ = ["LocalEngine"]

_POLL = 0.05


@dataclass(frozen=True)
class LocalEngine:
    """Calls in processes of this machine; each of N GPUs takes its share of them, and so do the cores.

    Args:
        workers: how many processes there are.
        retries: how often a call whose process was killed is made again.

    Raises:
        ConfigError: less than one worker.
    """

    workers: int = 1
    retries: int = 1

    def __post_init__(self) -> None:
        check_positive(workers=self.workers)

    @contextmanager
    def open(self, function: Callable[..., Any], *, fresh: bool = False) -> Iterator[Run]:
        """See `Engine.open`; what is running at the end gets SIGTERM, and is waited for: a run saves and ends."""
        _check_sendable(function)
        workers = [_Worker(function, fresh, self.retries, _share(slot, self.workers)) for slot in range(self.workers)]
        free: SimpleQueue[_Worker] = SimpleQueue()
        for worker in workers:
            free.put(worker)

        def call(task: Task) -> Outcome:
            worker = free.get()
            try:
                return worker.call(task)
            finally:
                free.put(worker)

        # A thread for each process waits for its answer, and goes on when the process ends.
        threads = ThreadPoolExecutor(self.workers)

        def run(tasks: Sequence[Task], stopping: Callable[[], bool]) -> Iterator[tuple[Task, Outcome]]:
            running = {threads.submit(call, task): task for task in tasks}
            try:
                while running and not stopping():
                    done, _ = wait(running, timeout=_POLL, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield running.pop(future), future.result()
            finally:
                for future in running:
                    future.cancel()

        try:
            yield run
        finally:
            for worker in workers:
                worker.stop()
            threads.shutdown(cancel_futures=True)
            for worker in workers:
                worker.close()


class _Worker:
    """One process at a time: made when it is needed, and anew when it has died."""

    def __init__(self, function: Callable[..., Any], fresh: bool, retries: int, share: dict[str, str]) -> None:
        self.function, self.fresh, self.retries, self.share = function, fresh, retries, share
        self.process: Any = None  # of multiprocessing
        self.told = False  # whether it has the function
        self.stopped = False
        self.lock = threading.Lock()  # no process is begun after the others were stopped

    def call(self, task: Task) -> Outcome:
        """Make a call, again if the process is killed."""
        _check_sendable(task.arguments)
        for left in reversed(range(self.retries + 1)):
            process = self._running(task)
            if process is None:
                break
            try:
                if not self.told:
                    self.calls.send(_sendable(self.function))
                    self.told = True
                self.calls.send((_sendable(task.arguments), task.log))
                value, error = self.calls.recv()
            except (OSError, EOFError):  # it ended before or within its answer
                status = self._end(process)
                if status >= 0 or not left:
                    return Outcome(error=_reason(status, task.log))
                continue
            except Exception as reason:  # noqa: BLE001 - what was returned may raise anything where it is made again
                value, error = None, one_line(type(reason).__name__, str(reason))
            if self.fresh:
                self._end(process)
            return Outcome(value, error)
        return Outcome(error="stopped")

    def _running(self, task: Task) -> Any:
        with self.lock:
            if self.process is None and not self.stopped:
                context = get_context("loky")
                self.calls, theirs = context.Pipe()
                # Without the function: loky waits for ever where a process dies before it has read what it starts with, unless
                # that is short.
                process = context.Process(target=_serve, name=task.name, args=(theirs,), env=self.share)
                process.start()
                theirs.close()  # so that its end is the end of the pipe
                self.process, self.told = process, False
            return self.process

    def _end(self, process: Any) -> int:
        """Let it end, if it has not, by having no more calls; its status."""
        with self.lock:
            self.process = None
        self.calls.close()
        while process.exitcode is None:  # another thread may have seen its end, and tell us a moment later
            process.join(_POLL)
        return int(process.exitcode)

    def stop(self) -> None:
        """Ask the process to stop, and begin no other."""
        with self.lock:
            self.stopped = True
            if self.process is not None:
                self.process.terminate()

    def close(self) -> None:
        """Wait for the process, when nobody else does any more."""
        if self.process is not None:
            self._end(self.process)


def _serve(calls: Connection) -> None:
    """Answer calls of the function that comes first, until there are no more: what a process does."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C is for the program, which then asks its processes to stop
    threading.Thread(target=_stop_with_parent, args=(os.getppid(),), daemon=True).start()
    _redirect(os.devnull, os.O_RDONLY, 0)
    os.dup2(2, 1)
    try:
        function = calls.recv()
    except EOFError:
        return
    except Exception as error:  # noqa: BLE001 - what a part of anybody's is made of may be missing here
        function = partial(_unreadable, one_line(type(error).__name__, str(error)))
    while True:
        try:
            arguments, log = calls.recv()
        except EOFError:
            return
        if log is not None:
            _redirect(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 2)
        os.dup2(2, 1)
        found = answer(function, arguments)
        sys.stdout.flush()
        try:
            calls.send(_sendable(found))
        except OSError:
            return  # nobody waits for it any more
        except Exception as error:  # noqa: BLE001 - what was returned may raise anything
            calls.send((None, one_line(type(error).__name__, str(error))))


def _unreadable(reason: str, *_: object) -> object:
    raise ImportError(f"what is to be computed cannot be read in another process ({reason})")


def _redirect(path: str | Path, flags: int, number: int) -> None:
    """Let a file stand for stdin, or for what is printed."""
    opened = os.open(path, flags, 0o644)
    os.dup2(opened, number)
    os.close(opened)


def _stop_with_parent(parent: int) -> None:
    """Save and end when the engine was killed: when it is started again, no two processes may write to the same folder."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), SIGTERM)


def _sendable(what: Any) -> Any:
    """The same for a pipe, with functions of a script and those without a name."""
    return wrap_non_picklable_objects(what, keep_wrapper=False)


def _check_sendable(what: Any) -> None:
    try:
        ForkingPickler.dumps(_sendable(what))
    except Exception as error:  # a part of anybody's may raise anything
        reason = one_line(type(error).__name__, str(error))
        raise ConfigError(
            f"what is to be computed in another process cannot be sent there ({reason}); leave out of the method and its parts "
            "what belongs to this process, such as open files and locks, or use no engine."
        ) from error


def _share(slot: int, workers: int) -> dict[str, str]:
    """The threads and the GPU of one of several processes."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, cores // workers)))}
    gpus = torch.cuda.device_count()
    if gpus > 1 and "CUDA_VISIBLE_DEVICES" not in os.environ:
        share["CUDA_VISIBLE_DEVICES"] = str(slot % gpus)
    return share


def _reason(status: int, log: Path | None) -> str:
    if status < 0:
        return f"killed by signal {-status}"
    # It may have ended before it made the log, or for want of room for it.
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log is not None and log.exists() else []
    last = next((line for line in reversed(lines) if line.strip()), "")
    return last[:300] or f"its process ended with status {status}"
