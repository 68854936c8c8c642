"""The engine of a Ray cluster. Needs the extra ``ray``."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_search.config import RunConfig
from nas_search.errors import ConfigError
from nas_search.sweep.plan import Plan, Trial
from nas_search.sweep.trial import run_trial

__all__ = ["RayEngine"]

_POLL = 0.2


@dataclass(frozen=True)
class RayEngine:
    """Trials as Ray tasks; a task whose worker or machine dies is taken up again from its last checkpoint.

    The folder of the sweep must be on a file system that all machines share.

    Args:
        workers: how many run at once, at most; on a cluster also as many as it has room for.
        retries: how often a trial is taken up again.
        address: of a running cluster; empty to start one on this machine.
        gpus: of each trial.
    """

    workers: int = 1
    retries: int = 1
    address: str = ""
    gpus: float = 0.0

    def run(self, plan: Plan, trials: list[Trial], stopping: Callable[[], bool]) -> Iterator[tuple[Trial, str]]:
        """See `nas_search.sweep.run.Engine`; trials that run when the sweep ends are cancelled, their last checkpoint is whole.

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
            except (ConnectionError, ValueError) as error:
                raise ConfigError(f"there is no Ray cluster at {self.address!r}: {error}") from error
        task = ray.remote(num_cpus=1, num_gpus=self.gpus, max_retries=self.retries)(_task)
        waiting, running = list(trials), dict[Any, Trial]()
        try:
            while (waiting or running) and not stopping():
                while waiting and len(running) < self.workers:
                    trial = waiting.pop(0)
                    paths = str(plan.config_file(trial).resolve()), str(plan.folder(trial).resolve())
                    running[task.remote(*paths)] = trial
                done, _ = ray.wait(list(running), num_returns=1, timeout=_POLL)
                if not done:
                    continue
                trial = running.pop(done[0])
                try:
                    yield trial, ray.get(done[0])
                except ray.exceptions.RayError as error:
                    yield trial, f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300]}"
        finally:
            for reference in running:
                ray.cancel(reference, force=True)  # what was saved last is whole
            if ours:
                ray.shutdown()


def _task(config: str, folder: str) -> str:
    """The error of a trial, empty if there was none: errors of ours must not count as a worker that died."""
    try:
        run_trial(RunConfig.from_toml(config), Path(folder))
    except Exception as error:  # noqa: BLE001 - whatever it is, the sweep goes on and tells it
        return f"{type(error).__name__}: {error}"
    return ""
