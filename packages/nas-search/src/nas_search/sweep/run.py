"""Running a sweep to its end."""

from collections.abc import Callable

from nas_search.distributed import launched
from nas_search.engines import Engine, Task
from nas_search.errors import ConfigError, Interrupted
from nas_search.files import write_atomically
from nas_search.interruption import StopSignals
from nas_search.reports.html import write_report_if_possible
from nas_search.sweep.plan import Plan
from nas_search.sweep.summary import Row, read_row, to_csv
from nas_search.sweep.trial import finished, run_file

__all__ = ["run_sweep"]


def run_sweep(plan: Plan, engine: Engine, tell: Callable[[Row], None] = lambda row: None) -> list[Row]:
    """Run every trial that has not finished yet, and keep the table and the report of all.

    A trial that fails does not stop the others; it is tried again when the sweep is repeated. One that was interrupted goes on
    from its last checkpoint.

    Args:
        plan: what is run.
        engine: what runs it; of several machines, the folder must be on a file system that all of them share.
        tell: told of every trial that is done or has failed, those of an earlier call first.

    Returns:
        A row for every trial, in the order of the plan.

    Raises:
        RunFolderError: the folder holds another sweep, cannot be written, or another process runs the sweep.
        ConfigError: torchrun started it.
        Interrupted: SIGINT or SIGTERM asked to stop; the trials of the local engine have saved their state, those on Ray go on from
            their last checkpoint.
    """
    if launched() > 1:
        raise ConfigError(
            "a sweep runs its trials in processes of its own, and was started by torchrun, in several: start it without, with "
            "--workers for as many trials at a time."
        )
    with plan.claimed():
        return _run(plan, engine, tell)


def _run(plan: Plan, engine: Engine, tell: Callable[[Row], None]) -> list[Row]:
    rows = {trial.name: read_row(plan, trial) for trial in plan.trials}
    for row in rows.values():
        if row.status == "done":
            tell(row)
    waiting = {trial.name: trial for trial in plan.trials if not finished(plan.folder(trial), trial.config)}
    write_atomically(plan.table, to_csv(list(rows.values())))
    tasks = [Task(name, plan.paths(trial), plan.log(trial)) for name, trial in waiting.items()]
    with StopSignals() as stop, engine.open(run_file, fresh=True) as run:
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
