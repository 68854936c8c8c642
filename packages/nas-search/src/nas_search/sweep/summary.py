"""The table of a sweep: a row a trial, and mean and deviation over the seeds."""

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_search import catalog
from nas_search.errors import RunFolderError
from nas_search.reports.remarks import trained_alike
from nas_search.result import SearchResult
from nas_search.sweep.plan import Plan, Trial
from nas_search.sweep.trial import finished

__all__ = ["Row", "read_row", "summarize", "to_csv"]

_FIGURES = (
    "test_accuracy",
    "random_test_accuracy",
    "test_perplexity",
    "random_test_perplexity",
    "table_test",
    "table_regret",
    "valid_accuracy",
    "parameters",
)
_OF_TRAINING = ("test_accuracy", "test_perplexity", "parameters")
"""Those that a training after the trial changes."""


@dataclass(frozen=True)
class Row:
    """What is known of a trial.

    Args:
        trial: which.
        status: ``done``, ``failed`` or ``waiting``.
        error: why it failed.
        architecture: what it found.
        seconds: of the search.
        figures: those of its metrics that there are.
        remark: why some of them are left out.
    """

    trial: Trial
    status: str
    error: str = ""
    architecture: str = ""
    seconds: float = 0.0
    figures: Mapping[str, float] | None = None
    remark: str = ""


def read_row(plan: Plan, trial: Trial, error: str = "") -> Row:
    """The row of a trial, by the error that ended it or what stands in its folder; a result that cannot be read is a failure."""
    if error:
        return Row(trial, "failed", error)
    folder = plan.folder(trial)
    try:
        return _read(folder, trial) if finished(folder, trial.config) else Row(trial, "waiting")
    except RunFolderError as reason:
        return Row(trial, "failed", f"{reason} Delete {folder} to run the trial again.")


def _read(folder: Path, trial: Trial) -> Row:
    result = SearchResult.load(folder)
    try:
        figures = {name: _number(result.metrics[name]) for name in _FIGURES if name in result.metrics}
    except (TypeError, ValueError) as reason:
        raise RunFolderError(
            f"the metrics of {folder / 'result.json'} are not all numbers ({reason}); they were changed or damaged."
        ) from reason
    remark = ""
    if _trained_otherwise(trial, result.metrics):
        remark = (
            f"trained otherwise since: its accuracy, perplexity and parameters are left out. Delete {folder} to run the trial "
            "again."
        )
        figures = {name: value for name, value in figures.items() if name not in _OF_TRAINING}
    return Row(trial, "done", "", str(result.architecture), result.seconds, figures, remark)


def _trained_otherwise(trial: Trial, metrics: Mapping[str, Any]) -> bool:
    """Whether the figures are of a training that is not the trial's own, see `nas_search.run_training`."""
    if "train_epochs" not in metrics:
        return False
    if catalog.method(trial.config.method, trial.config.settings).network is not None:
        return "trained_in_search" not in metrics
    return not trained_alike(metrics)  # a trial trains a random architecture as the one that it found


def _number(value: Any) -> float:
    """As it stands: a number of parameters is a whole one."""
    return value if isinstance(value, int | float) else float(value)


def to_csv(rows: Sequence[Row]) -> str:
    """All rows as comma-separated values; the first line names the columns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "method", "seed", "status", "error", "remark", "seconds", *_FIGURES, "architecture"])
    for row in rows:
        config, figures = row.trial.config, row.figures or {}
        cells: list[Any] = [row.trial.name, config.method, config.seed, row.status, row.error, row.remark]
        cells += [f"{row.seconds:.3f}" if row.status == "done" else ""]
        cells += [figures.get(name, "") for name in _FIGURES]
        writer.writerow([*cells, row.architecture])
    return text.getvalue()


def summarize(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For every method with its settings the number of finished trials, and mean and sample deviation of each figure.

    Args:
        rows: of a sweep.

    Returns:
        ``{"name", "done", "failed", "seconds", "test_accuracy", "test_accuracy_sd", ...}``; a deviation needs two trials.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.trial.name.rpartition("-seed")[0], []).append(row)
    summary = []
    for name, group in groups.items():
        done = [row for row in group if row.status == "done"]
        entry: dict[str, Any] = {
            "name": name,
            "done": len(done),
            "failed": sum(row.status == "failed" for row in group),
        }
        if done:
            entry["seconds"] = statistics.mean(row.seconds for row in done)
        for figure in _FIGURES:
            values = [row.figures[figure] for row in done if row.figures and figure in row.figures]
            if values:
                entry[figure] = statistics.mean(values)
            if len(values) > 1:
                entry[f"{figure}_sd"] = statistics.stdev(values)
        summary.append(entry)
    return summary
