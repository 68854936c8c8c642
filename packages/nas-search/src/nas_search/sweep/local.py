"""The engine of one machine: so many processes at once."""

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nas_search.sweep.plan import Plan, Trial

__all__ = ["LocalEngine"]

_POLL = 0.05


@dataclass
class _Running:
    trial: Trial
    process: "subprocess.Popen[bytes]"
    slot: int


@dataclass(frozen=True)
class LocalEngine:
    """Trials as processes of this machine; each of N GPUs takes its share of them.

    Args:
        workers: how many run at once.
        retries: how often a trial whose process was killed is taken up again, from its last checkpoint.
    """

    workers: int = 1
    retries: int = 1

    def run(self, plan: Plan, trials: list[Trial], stopping: Callable[[], bool]) -> Iterator[tuple[Trial, str]]:
        """See `nas_search.sweep.run.Engine`; trials that run when the sweep ends are asked to save and stop."""
        waiting = deque(trials)
        left = {trial.name: self.retries for trial in trials}
        running: list[_Running] = []
        try:
            while (waiting or running) and not stopping():
                while waiting and len(running) < self.workers:
                    slot = min(set(range(self.workers)) - {each.slot for each in running})
                    trial = waiting.popleft()
                    running.append(_Running(trial, self._start(plan, trial, slot), slot))
                for each in list(running):
                    status = each.process.poll()
                    if status is None:
                        continue
                    running.remove(each)
                    if status < 0 and left[each.trial.name]:
                        left[each.trial.name] -= 1
                        waiting.appendleft(each.trial)
                    else:
                        yield each.trial, _reason(status, plan.log(each.trial))
                time.sleep(_POLL)
        finally:
            for each in running:
                each.process.terminate()  # a run saves and ends
            for each in running:
                each.process.wait()

    def _start(self, plan: Plan, trial: Trial, slot: int) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, **_share(slot, self.workers)}
        command = [
            sys.executable,
            "-m",
            "nas_search.sweep.trial",
            str(plan.config_file(trial)),
            str(plan.folder(trial)),
        ]
        with plan.log(trial).open("ab") as log:
            # A session of its own: Ctrl-C is for the sweep, which then asks its trials to stop.
            return subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
            )


def _share(slot: int, workers: int) -> dict[str, str]:
    """The threads and the GPU of one of several processes."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, cores // workers)))}
    gpus = torch.cuda.device_count()
    if gpus > 1 and "CUDA_VISIBLE_DEVICES" not in os.environ:
        share["CUDA_VISIBLE_DEVICES"] = str(slot % gpus)
    return share


def _reason(status: int, log: Path) -> str:
    if status == 0:
        return ""
    if status < 0:
        return f"killed by signal {-status}"
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "")
    return last[:300] or f"exit status {status}"
