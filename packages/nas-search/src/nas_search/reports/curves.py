"""How the figures of a run moved, epoch by epoch, as charts; several runs stand in the same ones."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import takewhile
from typing import Any, Literal, NamedTuple

from nas_search.reports.chart import Line, Pen
from nas_search.reports.reading import ReportedRun
from nas_search.reports.svg import STYLES

__all__ = ["curves", "figure", "operation_weights"]


class _Chart(NamedTuple):
    caption: str
    keys: tuple[str, ...]  # of the records; the first is what the chart is about
    note: str = ""
    scale: float = 1.0
    span: tuple[float, ...] = ()  # what the axis has at least
    thin: str = "on what trains the weights"  # what the lines of the other keys are, where several runs are shown


_CHARTS = (
    _Chart("Loss", ("valid_loss", "train_loss")),
    _Chart("Accuracy (%)", ("valid_accuracy", "train_accuracy"), scale=100),
    _Chart("Perplexity", ("valid_perplexity", "train_perplexity")),
    _Chart("Table's test accuracy of what is derived (%)", ("table_test",), "the truth, which the search does not see"),
    _Chart(
        "Entropy of the choice weights (nats)",
        ("entropy", "uniform_entropy"),
        "near that of uniform weights nothing is decided yet",
        thin="of uniform weights",
    ),
    _Chart("Temperature of the relaxation", ("temperature",), "the lower, the nearer to a choice"),
    _Chart("Skip connections derived (%)", ("skip_share",), "towards 100 the search collapses", 100, (0, 100)),
    _Chart("Depth of the derived cells", ("depth",), "connections on the longest way", span=(0,)),
    _Chart("Largest Hessian eigenvalue", ("hessian_eigenvalue",), "of the validation loss in the architecture"),
    _Chart("Trace of the same Hessian", ("hessian_trace",), "growing fast, as its eigenvalue, it announces a collapse"),
    _Chart("Learning rate", ("learning_rate",)),
    _Chart("Weight decay, as learned", ("weight_decay",)),
    _Chart("Momentum, as learned", ("momentum",)),
    _Chart("Seconds of an epoch", ("seconds",)),
    _Chart("Forward passes of the supernet in a step", ("forward_passes",)),
)
_WEIGHTS_BEFORE = "Entropy"
_NAMES = {"uniform_entropy": "uniform", "entropy": "search"}
_MOST_RUNS = STYLES  # of more, those that differ in their seed alone are one line


@dataclass(frozen=True)
class _Series:
    """What is drawn in one look: a run, or several that differ in their seed."""

    name: str
    runs: tuple[ReportedRun, ...]
    style: int

    def records(self, part: str) -> list[Mapping[str, Any]]:
        """The records of a part, of one run after the other."""
        return [record for run in self.runs for record in getattr(run, part)]


def figure(caption: str, picture: str, note: str = "") -> str:
    """A picture with its caption; empty text without a picture."""
    below = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<figure><figcaption>{escape(caption)}{below}</figcaption>{picture}</figure>" if picture else ""


def curves(pen: Pen, runs: Sequence[ReportedRun], part: Literal["events", "training"]) -> str:
    """The charts of a search, or of the training of its result, in HTML.

    Args:
        pen: draws them.
        runs: stand in the same charts. Of more than eight, those whose names and configurations differ in their seed alone are
            one line, which is their mean, with a band from the least to the largest.
        part: of the run.
    """
    series = _series(runs)
    alone, html = len(runs) == 1, ""
    for chart in _CHARTS:
        if alone and part == "events" and chart.caption.startswith(_WEIGHTS_BEFORE):
            html += operation_weights(pen, runs[0])
        if part == "events" or chart.keys != ("seconds",):
            html += _chart(pen, series, chart, part, alone)
    return f'<section class="charts">{html}</section>'


def _series(runs: Sequence[ReportedRun]) -> list[_Series]:
    together: dict[tuple[str, str], list[ReportedRun]] = {}
    if len(runs) <= _MOST_RUNS:
        groups = [(run.name, [run]) for run in runs]
    else:
        for run in runs:
            name = re.sub(r"-?seed\d+(-\d+)?$", "", run.name) or run.result["method"]
            together.setdefault((name, repr({**run.config, "seed": 0, "device": ""})), []).append(run)
        often = Counter(name for name, _ in together)
        groups = [(name if often[name] == 1 else same[0].name, same) for (name, _), same in together.items()]
    return [
        _Series(name if len(same) == 1 else f"{name} x{len(same)}", tuple(same), index)
        for index, (name, (_, same)) in enumerate(zip(_apart([name for name, _ in groups]), groups, strict=True))
    ]


def _apart(names: Sequence[str]) -> list[str]:
    """Names without the parts between hyphens with which all begin or end.

    Example:
        >>> _apart(["gdas-digits-seed0", "darts-digits-seed0"])
        ['gdas', 'darts']
    """
    parts = [name.split("-") for name in names]
    first = _alike(parts)
    last = _alike([each[first:][::-1] for each in parts])
    short = ["-".join(each[first : len(each) - last]) for each in parts]
    return short if all(short) else list(names)


def _alike(several: Sequence[Sequence[str]]) -> int:
    """How many elements all begin with."""
    return sum(1 for _ in takewhile(lambda each: len(set(each)) == 1, zip(*several, strict=False)))


def _chart(pen: Pen, series: Sequence[_Series], chart: _Chart, part: str, alone: bool) -> str:
    # The first that any run has is what the others are compared by.
    main = next((key for key in chart.keys if any(key in record for one in series for record in one.records(part))), "")
    lines = [
        line for each in series for line in (_own(each, chart, part) if alone else _beside(each, chart, part, main))
    ]
    if chart.keys == ("forward_passes",) and len({y for line in lines for _, y in line.points}) == 1:
        return ""  # the same in every step: a figure, and no curve
    note = "; ".join(filter(None, (chart.note, f"thin: {chart.thin}" if any(line.quiet for line in lines) else "")))
    named = not alone or len(chart.keys) > 1 or len(lines) > 1
    return figure(chart.caption, pen.chart(lines, caption=chart.caption, named=named, span=chart.span), note)


def _own(series: _Series, chart: _Chart, part: str) -> Iterator[Line]:
    """The lines of the only run."""
    found = {key: points for key in chart.keys if (points := _points(series.records(part), key, chart.scale))}
    for index, (key, points) in enumerate(found.items()):
        if key == "valid_accuracy" and part == "events" and len(found) == 1 and len(points) > 1:
            # Nothing was trained from epoch to epoch: each is another network, or the mean of several that were scored
            # together, and the best of them was found.
            best = _points(series.records(part), "best_accuracy", chart.scale) or _best(points)
            yield Line("candidate" if best == _best(points) else "mean of candidates", points, 0, "dots")
            yield Line("best", best, 1, "steps")
        else:
            yield Line(_kind(chart, key), points, index)


def _beside(series: _Series, chart: _Chart, part: str, main: str) -> Iterator[Line]:
    """The lines of one of several: the main one with its name, and a thin one for every other key."""
    first = True
    for key in chart.keys:
        several = [points for run in series.runs if (points := _points(getattr(run, part), key, chart.scale))]
        if first and several:
            mean, band = _mean(several)
            name = series.name if key == main else f"{series.name} {_kind(chart, key)}"
            yield Line(name, mean, series.style, band=band)
            first = False
        elif len(several) == 1:
            yield Line(f"{series.name} {_kind(chart, key)}", several[0], series.style, quiet=True)


def _kind(chart: _Chart, key: str) -> str:
    return _NAMES.get(key, key.partition("_")[0] if len(chart.keys) > 1 else key.replace("_", " "))


def _points(records: Sequence[Mapping[str, Any]], key: str, scale: float) -> list[tuple[float, float]]:
    return [
        (record["epoch"], scale * value)
        for record in records
        if isinstance(value := record.get(key), int | float) and not isinstance(value, bool)
    ]


def _best(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The largest value so far, at every point."""
    found = list(points[:1])
    for x, y in points[1:]:
        found.append((x, max(y, found[-1][1])))
    return found


def _mean(
    several: Sequence[Sequence[tuple[float, float]]],
) -> tuple[list[tuple[float, float]], list[tuple[float, float, float]]]:
    """The mean of the series that have a point at an x, and the least and the largest; no band of a single one."""
    if len(several) == 1:
        return list(several[0]), []
    values: dict[float, list[float]] = {}
    for points in several:
        for x, y in points:
            values.setdefault(x, []).append(y)
    rising = sorted(values.items())
    return [(x, sum(each) / len(each)) for x, each in rising], [(x, min(each), max(each)) for x, each in rising]


def operation_weights(pen: Pen, run: ReportedRun) -> str:
    """How the weights of the operations moved, a chart for each group of rows; in HTML."""
    moved: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for record in run.events:
        for group, values in record.get("operation_weights", {}).items():
            for name, value in values.items():
                moved.setdefault(group, {}).setdefault(name, []).append((record["epoch"], value))
    html = ""
    for group, series in moved.items():
        caption = f"Mean weight of each operation: {group.replace('_', ' ')}"
        lines = [Line(name, points, index) for index, (name, points) in enumerate(series.items())]
        html += figure(caption, pen.chart(lines, caption=caption), "what rises is what the search prefers")
    return html
