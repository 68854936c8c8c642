"""The engine of one machine: so many processes at once."""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import cloudpickle

from nas_search.engines.engine import Outcome, Run, Task, one_line
from nas_search.errors import ConfigError
from nas_search.run_state import check_positive

__all__ = ["LocalEngine"]

_POLL = 0.05
_WORKER = Path(__file__).with_name("worker.py")


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
        sent = _sent(function)
        workers = [_Worker(sent, fresh, self.retries, _share(slot, self.workers)) for slot in range(self.workers)]
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

    def __init__(self, function: bytes, fresh: bool, retries: int, share: dict[str, str]) -> None:
        self.function, self.fresh, self.retries, self.share = function, fresh, retries, share
        self.process: subprocess.Popen[bytes] | None = None
        self.stopped = False
        self.lock = threading.Lock()  # no process is begun after the others were stopped

    def call(self, task: Task) -> Outcome:
        """Make a call, again if the process is killed."""
        arguments = _sent(task.arguments)
        for left in reversed(range(self.retries + 1)):
            process = self._running(task)
            if process is None:
                break
            try:
                value, error = self._ask(process, arguments)
            except (OSError, EOFError, pickle.UnpicklingError):  # it ended before or within its answer
                status = self._end(process)
                if status >= 0 or not left:
                    return Outcome(error=_reason(status, task.log))
            else:
                if self.fresh:
                    self._end(process)
                return Outcome(value, error)
        return Outcome(error="stopped")

    def _running(self, task: Task) -> "subprocess.Popen[bytes] | None":
        with self.lock:
            if self.process is None and not self.stopped:
                self.process = self._start(task)
            return self.process

    def _start(self, task: Task) -> "subprocess.Popen[bytes]":
        command = [sys.executable, str(_WORKER), task.name]
        with ExitStack() as stack:
            log = None if task.log is None else stack.enter_context(task.log.open("ab"))
            # A session of its own: Ctrl-C is for the program, which then asks its processes to stop.
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env={**os.environ, **self.share},
                start_new_session=True,
            )  # fmt: skip
        assert process.stdin is not None
        with suppress(OSError):  # it has ended already, as whoever asks it will see
            pickle.dump(sys.path, process.stdin)
            pickle.dump(self.function, process.stdin)
            process.stdin.flush()
        return process

    @staticmethod
    def _ask(process: "subprocess.Popen[bytes]", arguments: bytes) -> tuple[Any, str]:
        assert process.stdin is not None
        assert process.stdout is not None
        pickle.dump(arguments, process.stdin)
        process.stdin.flush()
        value, error = pickle.load(process.stdout)
        return value, "" if error is None else one_line(*error)

    def _end(self, process: "subprocess.Popen[bytes]") -> int:
        """Let it end, if it has not, by having no more requests; its status."""
        with self.lock:
            self.process = None
        with suppress(OSError):  # what was not sent yet cannot be
            process.communicate()
        return process.wait()

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


def _sent(what: Any) -> bytes:
    try:
        return bytes(cloudpickle.dumps(what))
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
    lines = [] if log is None else log.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "")
    return last[:300] or f"its process ended with status {status}"
