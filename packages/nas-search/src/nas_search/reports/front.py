"""The Pareto front of a black-box search that looked at a cost too."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from nas_search.reports.chart import line_chart
from nas_search.surrogate.pareto import pareto_front

__all__ = ["front_of", "front_table"]


def front_of(events: Sequence[Mapping[str, Any]]) -> list[tuple[str, float, float]]:
    """What nothing else of the run beats: ``(architecture, validation accuracy, cost)``, by rising cost.

    Args:
        events: the records of a run's epochs, with the ``candidates`` of `nas_search.diagnostics.CandidateCost`; without any
            the front is empty.
    """
    return pareto_front(
        [
            (str(text), float(score), float(cost))
            for record in events
            for text, score, cost in record.get("candidates", ())
        ]
    )


def front_table(front: Sequence[tuple[str, float, float]], unit: str) -> str:
    """The front as a chart and as a table, in HTML.

    Args:
        front: see `front_of`; not empty.
        unit: of the cost.
    """
    name = unit.replace("_", " ")
    scale, power = _scale(front[-1][2])
    chart = line_chart(
        {"front": [(cost / scale, 100 * score) for _, score, cost in front]},
        x_label=f"{name}{power}",
        y_label="validation accuracy (%)",
    )
    rows = "".join(
        f"<tr><td>{cost:,.0f}</td><td>{100 * score:.2f} %</td><td><code>{escape(text)}</code></td></tr>"
        for text, score, cost in front
    )
    head = f"<tr><th>{escape(name)}</th><th>validation accuracy</th><th>architecture</th></tr>"
    caption = f"The best validation accuracy (%) for so many {escape(name)}"
    table = f'<div class="wide"><table>{head}{rows}</table></div>'
    return f"<figure><figcaption>{caption}</figcaption>{chart}</figure>{table}"


def _scale(largest: float) -> tuple[float, str]:
    """Numbers that fit on an axis of whole ticks."""
    for scale, power in ((1e6, " (millions)"), (1e3, " (thousands)")):
        if largest >= 10 * scale:
            return scale, power
    return 1.0, ""
