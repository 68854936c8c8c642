"""Running a sweep to its end."""

from collections.abc import Callable

from nas_search.distributed import launched
from nas_search.engines import Engine, LocalEngine, Task
from nas_search.errors import ConfigError, Interrupted
from nas_search.files import write_atomically
from nas_search.interruption import StopSignals
from nas_search.measure import choose_device
from nas_search.reports.html import write_report_if_possible
from nas_search.sweep.plan import Plan
from nas_search.sweep.summary import Row, read_row, to_csv
from nas_search.sweep.trial import run_file

__all__ = ["run_sweep"]


def run_sweep(plan: Plan, engine: Engine, tell: Callable[[Row], None] = lambda row: None) -> list[Row]:
    """Run every trial that has not finished yet, and keep the table and the report of all.

    A trial that fails does not stop the others; it is tried again when the sweep is repeated. One that was interrupted goes on
    from its last checkpoint.

    Args:
        plan: what is run.
        engine: what runs it; of several machines, the folder must be on a file system that all of them share.
        tell: told of every trial that is done or has failed, those of an earlier call first; also of one whose result was damaged
            since, which is not run again while it is there.

    Returns:
        A row for every trial, in the order of the plan.

    Raises:
        RunFolderError: the folder holds trials of another sweep, cannot be written, or another process runs the sweep.
        ConfigError: torchrun started it, there is no device of the name that a trial has, or the engine is not to be had.
        Interrupted: SIGINT or SIGTERM asked to stop; the trials of the local engine have saved their state, those on Ray go on from
            their last checkpoint.
    """
    if launched() > 1:
        raise ConfigError(
            "a sweep runs its trials in processes of its own, and was started by torchrun, in several: start it without, with "
            "--workers for as many trials at a time."
        )
    if isinstance(engine, LocalEngine):  # machines of a cluster may have devices that this one has not
        waiting = [trial for trial in plan.trials if read_row(plan, trial).status == "waiting"]
        for device in sorted({trial.config.device for trial in waiting}):
            choose_device(device)
    with plan.claimed():
        return _run(plan, engine, tell)


def _run(plan: Plan, engine: Engine, tell: Callable[[Row], None]) -> list[Row]:
    rows = {trial.name: read_row(plan, trial) for trial in plan.trials}
    for row in rows.values():
        if row.status != "waiting":
            tell(row)
    waiting = {name: row.trial for name, row in rows.items() if row.status == "waiting"}
    write_atomically(plan.table, to_csv(list(rows.values())))
    tasks = [Task(name, plan.paths(trial), plan.log(trial).resolve()) for name, trial in waiting.items()]
    # In this order: an engine may handle signals in its own way, as Ray does, from the moment when it is open.
    with engine.open(run_file, fresh=True) as run, StopSignals() as stop:
        for task, outcome in run(tasks, lambda: stop.requested):
            trial = waiting[task.name]
            rows[trial.name] = read_row(plan, trial, outcome.error)
            write_atomically(plan.table, to_csv(list(rows.values())))
            tell(rows[trial.name])
    if stop.requested and any(row.status == "waiting" for row in rows.values()):
        done = sum(row.status == "done" for row in rows.values())
        raise Interrupted(f"stopped the sweep in {plan.root} after {done} of {len(rows)} trials.")
    whole = [plan.folder(row.trial) for row in rows.values() if row.status == "done"]
    if whole:
        write_report_if_possible(whole, plan.root / "report.html")
    return list(rows.values())
