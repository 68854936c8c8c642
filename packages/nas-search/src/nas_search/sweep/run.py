"""Running a sweep to its end."""

from collections.abc import Callable, Iterator
from typing import Protocol

from nas_search.errors import Interrupted
from nas_search.files import write_atomically
from nas_search.interruption import StopSignals
from nas_search.reports.html import write_report_if_possible
from nas_search.sweep.plan import Plan, Trial
from nas_search.sweep.summary import Row, read_row, to_csv
from nas_search.sweep.trial import finished

__all__ = ["Engine", "run_sweep"]


class Engine(Protocol):
    """What runs trials."""

    def run(self, plan: Plan, trials: list[Trial], stopping: Callable[[], bool]) -> Iterator[tuple[Trial, str]]:
        """Run them in any order; of each that ends its error, empty if there was none. End soon once `stopping` is true."""
        ...


def run_sweep(plan: Plan, engine: Engine, tell: Callable[[Row], None] = lambda row: None) -> list[Row]:
    """Run every trial that has not finished yet, and keep the table and the report of all.

    A trial that fails does not stop the others; it is tried again when the sweep is repeated. One that was interrupted goes on
    from its last checkpoint.

    Args:
        plan: what is run.
        engine: what runs it.
        tell: told of every trial that is done or has failed, those of an earlier call first.

    Returns:
        A row for every trial, in the order of the plan.

    Raises:
        RunFolderError: the folder holds another sweep, or cannot be written.
        Interrupted: SIGINT or SIGTERM asked to stop; the trials have saved their state.
    """
    plan.claim()
    rows = {trial.name: read_row(plan, trial) for trial in plan.trials}
    for row in rows.values():
        if row.status == "done":
            tell(row)
    waiting = [trial for trial in plan.trials if not finished(plan.folder(trial), trial.config)]
    write_atomically(plan.table, to_csv(list(rows.values())))
    with StopSignals() as stop:
        for trial, error in engine.run(plan, waiting, lambda: stop.requested):
            rows[trial.name] = read_row(plan, trial, error)
            write_atomically(plan.table, to_csv(list(rows.values())))
            tell(rows[trial.name])
    if stop.requested and any(row.status == "waiting" for row in rows.values()):
        done = sum(row.status == "done" for row in rows.values())
        raise Interrupted(f"stopped the sweep in {plan.root} after {done} of {len(rows)} trials.")
    whole = [plan.folder(row.trial) for row in rows.values() if row.status == "done"]
    if whole:
        write_report_if_possible(whole, plan.root / "report.html")
    return list(rows.values())
