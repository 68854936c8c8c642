"""Runs in processes of their own that can be killed: ``python forked_runs.py`` reads a job a line and says how it ended.

The process imports everything once and computes nothing, so that a fork of it is as good as a new process, and cheaper by the
seconds that importing takes. A job is a JSON object with ``argv`` (of ``nascli``) or ``config`` and ``out`` (of `run_search`);
``log``, where it prints; ``cache``, the user's cache folder; and what happens to it: ``steps``, after which it kills itself or,
with ``file_size``, may write no larger file; ``seconds``, after which it is killed from outside.
"""

import json
import os
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

# Imported late by what runs use, and dear: torch's optimisers import the compiler, drawings networkx, reports matplotlib.
import matplotlib.backends.backend_svg
import matplotlib.figure  # noqa: F401
import networkx  # noqa: F401
import torch._dynamo
import torch._inductor
import torch.onnx  # noqa: F401

from nas_cli.main import main as nascli
from nas_search.config import RunConfig
from nas_search.roles import Event, Observer
from nas_search.runs import run_search


class Happening:
    """An observer that kills its process, or takes it the room on the disk, at a step or the end of an epoch."""

    def __init__(self, after: int, file_size: int | None) -> None:
        self.left, self.file_size = after, file_size

    def __call__(self, event: Event) -> None:
        self.left -= 1
        if self.left == 0 and self.file_size is None:
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.left == 0:
            limit_files(self.file_size)


class Counter:
    """How many events there were."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, event: Event) -> None:
        self.count += 1


def limit_files(size: int | None) -> None:
    if size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def work(job: dict[str, Any]) -> int:
    """Do the job; the exit status."""
    if "cache" in job:
        os.environ["XDG_CACHE_HOME"] = job["cache"]
    if "argv" in job:
        limit_files(job.get("file_size"))
        sys.argv = ["nascli", *job["argv"]]
        try:
            nascli()
        except SystemExit as leave:
            return int(leave.code or 0)
        return 0
    counter = Counter()
    observers: list[Observer] = [counter, *([Happening(job["steps"], job.get("file_size"))] if "steps" in job else [])]
    out = Path(job["out"])
    run_search(RunConfig(**job["config"]), out, resume=(out / "config.toml").exists(), observers=observers)
    print(f"{counter.count} events")
    return 0


def forked(job: dict[str, Any]) -> dict[str, Any]:
    """The exit status of the job, minus the number of the signal that killed it, and the seconds that it took."""
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        status = 99
        try:
            log = os.open(job["log"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            status = work(job)
        except Exception:  # noqa: BLE001 - whatever it is, it is printed
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    if "seconds" in job:
        time.sleep(job["seconds"])
        os.kill(child, signal.SIGKILL)  # of a child that has ended already nothing but its entry is there to be killed
    _, status = os.waitpid(child, 0)
    return {"status": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - start}


def main() -> None:
    # A file that grows too large is an error of the write then, as a full disk is.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(forked(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
