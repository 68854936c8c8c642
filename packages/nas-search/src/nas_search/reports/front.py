"""The Pareto front of a black-box search that looked at a cost too."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from nas_search.reports.chart import Line, Pen
from nas_search.reports.curves import figure
from nas_search.surrogate.pareto import pareto_front

__all__ = ["front_table"]


def front_table(pen: Pen, events: Sequence[Mapping[str, Any]]) -> str:
    """What nothing else of the run beats, as a chart and as a table by rising cost, in HTML.

    Args:
        pen: draws the chart.
        events: the records of a run's epochs, with the ``candidates`` of `nas_search.diagnostics.CandidateCost`; without any
            there is no front, and the text is empty.
    """
    tried = [
        (str(text), float(score), float(cost))
        for record in events
        for text, score, cost in record.get("candidates", ())
    ]
    front = pareto_front(tried)
    if not front:
        return ""
    name = str(events[-1]["cost_unit"]).replace("_", "-")
    points = [sorted((cost, 100 * score) for _, score, cost in each) for each in (tried, front)]
    lines = [Line("candidate", points[0], 0, "dots"), Line("front", points[1], 1, "steps")]
    caption = f"Validation accuracy (%) against {name}"
    chart = pen.chart(lines, caption=caption, x_label=name, whole=False, values=False)
    rows = "".join(
        f"<tr><td>{cost:,.0f}</td><td>{100 * score:.2f} %</td><td><code>{escape(text)}</code></td></tr>"
        for text, score, cost in front
    )
    head = f"<tr><th>{escape(name)}</th><th>validation accuracy</th><th>architecture</th></tr>"
    drawn = figure(caption, chart, "rings: what was tried; the line: the best for so much, or less")
    return f'<section class="beside">{drawn}<div class="wide"><table>{head}{rows}</table></div></section>'
