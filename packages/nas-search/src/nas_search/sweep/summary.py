"""The table of a sweep: a row a trial, and mean and deviation over the seeds."""

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas_search.errors import RunFolderError
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
    """

    trial: Trial
    status: str
    error: str = ""
    architecture: str = ""
    seconds: float = 0.0
    figures: Mapping[str, float] | None = None


def read_row(plan: Plan, trial: Trial, error: str = "") -> Row:
    """The row of a trial, by what stands in its folder.

    Raises:
        RunFolderError: a result in it was changed or damaged.
    """
    folder = plan.folder(trial)
    if error:
        return Row(trial, "failed", error)
    if not finished(folder, trial.config):
        return Row(trial, "waiting")
    result = SearchResult.load(folder)
    try:
        figures = {name: _number(result.metrics[name]) for name in _FIGURES if name in result.metrics}
    except (TypeError, ValueError) as reason:
        raise RunFolderError(
            f"the metrics of {folder / 'result.json'} are not all numbers ({reason}); they were changed or damaged."
        ) from reason
    return Row(trial, "done", "", str(result.architecture), result.seconds, figures)


def _number(value: Any) -> float:
    """As it stands: a number of parameters is a whole one."""
    return value if isinstance(value, int | float) else float(value)


def to_csv(rows: Sequence[Row]) -> str:
    """All rows as comma-separated values; the first line names the columns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "method", "seed", "status", "error", "seconds", *_FIGURES, "architecture"])
    for row in rows:
        config, figures = row.trial.config, row.figures or {}
        cells: list[Any] = [row.trial.name, config.method, config.seed, row.status, row.error]
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
