"""Line charts, drawn by matplotlib (extra ``report``), for a page that has many of them."""

from collections.abc import Sequence
from itertools import count
from math import ceil, isfinite
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from nas_search.errors import ConfigError
from nas_search.reports.svg import COLORS, STYLES, fitted
from nas_search.reports.words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Line", "Pen", "can_draw", "require_drawing"]

_WIDTH, _PLOT_HEIGHT = 360.0, 168.0  # points: 360 is what a phone has room for
_TOP, _BOTTOM, _LETTER, _LABEL = 12.0, 36.0, 6.0, 13.5
_LONGEST = 15  # letters of a name beside a line
_MOST_POINTS, _MOST_MARKS = 240, 7
_DASHES: tuple[tuple[float, ...], ...] = (
    (),
    (4, 2),
    (2, 1.2),
    (6, 2, 1, 2),
    (9, 2),
    (1, 1.2),
    (6, 1.4, 1, 1.4, 1, 1.4),
    (1, 3),
)
_MARKS = ("o", "s", "^", "D", "v", "X", "P", "*")


class Line(NamedTuple):
    """What a chart shows of one series.

    Args:
        name: said beside the line, and when it is pointed at.
        points: ``(x, y)`` by rising x; those that are not finite are left out.
        style: of `STYLES`: colour, dashes and marks.
        kind: ``line``; ``dots``, which nothing joins; or ``steps``, whose value holds until the next point.
        quiet: thin and without a name beside it: what another line of the same colour is compared with.
        band: ``(x, low, high)`` around it, such as the least and the largest of several runs.
    """

    name: str
    points: Sequence[tuple[float, float]]
    style: int = 0
    kind: Literal["line", "dots", "steps"] = "line"
    quiet: bool = False
    band: Sequence[tuple[float, float, float]] = ()

    @property
    def beside(self) -> bool:
        """Whether a label stands beside its end."""
        return not self.quiet and self.kind != "dots"


def can_draw() -> bool:
    """Whether matplotlib is there."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        return False
    return True


def require_drawing() -> None:
    """Raise ConfigError, which says what to install, where matplotlib is missing."""
    if not can_draw():
        raise ConfigError('the charts of a report need matplotlib, which is missing: pip install "nas-search[report]".')


class Pen:
    """Draws the charts of one page: no identifier comes twice."""

    def __init__(self) -> None:
        self._identifiers = count()

    def chart(
        self,
        lines: Sequence[Line],
        *,
        caption: str,
        x_label: str = "epoch",
        whole: bool = True,
        values: bool = True,
        named: bool = True,
        span: Sequence[float] = (),
    ) -> str:
        """An ``<svg>`` element; empty text if there is nothing to draw.

        Args:
            lines: what is drawn.
            caption: what is drawn, in words; with the first and last value of each line it is the chart's accessible name.
            x_label: below the axis.
            whole: x is a number of something, such as of an epoch; else its unit has a prefix: 20k, 3M.
            values: the last value of each line stands beside it.
            named: its name does too.
            span: values that the axis has in any case.
        """
        kept = [line._replace(points=[point for point in line.points if all(map(isfinite, point))]) for line in lines]
        kept = [line for line in kept if line.points]
        if not kept:
            return ""
        labels = [_label(line, values, named) for line in kept if line.beside]
        texts = dict[str, str]()
        figure = _drawn(kept, labels, x_label, whole, span, texts)
        told = [_range(line) for line in kept]
        return fitted(
            figure,
            name=f"{caption}: {'; '.join(told)}",
            titles={f"line-{index}": text for index, text in enumerate(told)},
            texts=texts,
            identifiers=self._identifiers,
        )


def _range(line: Line) -> str:
    first, last = line.points[0][1], line.points[-1][1]
    return (
        f"{line.name} {number(last)}"
        if len(line.points) == 1
        else f"{line.name} from {number(first)} to {number(last)}"
    )


def _drawn(
    lines: Sequence[Line],
    labels: Sequence[str],
    x_label: str,
    whole: bool,
    span: Sequence[float],
    texts: dict[str, str],
) -> "Figure":
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the settings of this machine's user are
        height = max(_PLOT_HEIGHT, _LABEL * len(labels)) + _TOP + _BOTTOM
        figure = Figure(figsize=(_WIDTH / 72, height / 72), dpi=72, frameon=False)
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0), frameon=False)
        left = _scale(axes, lines, whole, span)
        right = _WIDTH - 14 - _LETTER * max(map(len, labels), default=0)
        axes.set_position((left / _WIDTH, _BOTTOM / height, (right - left) / _WIDTH, 1 - (_TOP + _BOTTOM) / height))
        axes.set_xlabel(_written(x_label, texts), color=COLORS["soft"], labelpad=5)
        for index, line in enumerate(lines):
            _draw(axes, line, index)
        _name(
            figure, axes, [line for line in lines if line.beside], [_written(label, texts) for label in labels], right
        )
    return figure


def _written(text: str, texts: dict[str, str]) -> str:
    """What stands for a text until the end."""
    placeholder = f"text-{len(texts)}"
    texts[placeholder] = text
    return placeholder


def _label(line: Line, values: bool, named: bool) -> str:
    name = (
        line.name if len(line.name) <= _LONGEST else f"{line.name[: _LONGEST // 2]}…{line.name[-_LONGEST // 2 + 1 :]}"
    )
    value = number(line.points[-1][1]) if values else ""
    return f"{name} {value}".strip() if named else value


def _scale(axes: "Axes", lines: Sequence[Line], whole: bool, span: Sequence[float]) -> float:
    """Axes with round numbers that span the values, and a fine line at each; where the plot begins, in points."""
    from matplotlib.ticker import EngFormatter, MaxNLocator, ScalarFormatter

    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points] + [y for line in lines for _, *both in line.band for y in both]
    low, high = min((*ys, *span)), max((*ys, *span))
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low, high = min(0.0, 2 * low), max(0.0, 2 * high) or (1.0 if low == 0 else 0.0)
    ticks = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    axes.set_ylim(ticks[0], ticks[-1])
    first, last = min(xs), max(xs)
    room = 0.04 * (last - first) if not whole else 0.0
    axes.set_xlim(first - room, last + room if last > first else first + 1)
    formatter = ScalarFormatter(useOffset=False)
    formatter.set_powerlimits((-3, 6))
    axes.yaxis.set_major_formatter(formatter)
    axes.set_yticks(ticks)
    if whole:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.tick_params(length=0, pad=6, labelcolor=COLORS["soft"])
    axes.yaxis.get_offset_text().set_color(COLORS["soft"])
    axes.grid(axis="y", color=COLORS["fine"], linewidth=1)
    axes.set_axisbelow(True)
    return 8 + _LETTER * max(map(len, formatter.format_ticks(list(ticks))))


def _draw(axes: "Axes", line: Line, index: int) -> None:
    style = line.style % STYLES
    color = COLORS[f"s{style}"]
    xs, ys = zip(*_thinned(line.points), strict=True)
    if line.band:
        along, low, high = (list(each) for each in zip(*_widest(line.band), strict=True))
        axes.fill_between(along, low, high, color=color, alpha=0.16, linewidth=0)
    look: dict[str, Any] = {"color": color, "clip_on": False, "gid": f"line-{index}", "markersize": 5}
    if line.kind == "dots":
        axes.plot(xs, ys, "o", markerfacecolor=COLORS["card"], **look)
    elif line.quiet:
        axes.plot(xs, ys, linewidth=1, linestyle=(0, (2, 2)), **look)
    else:
        # Shifted from line to line, so that marks of lines that coincide do not.
        step = ceil(len(xs) / _MOST_MARKS)
        shown = list(range(min(index, len(xs) - 1) % step, len(xs), step))
        drawstyle = "steps-post" if line.kind == "steps" else "default"
        look |= {
            "linestyle": (0, _DASHES[style]) if _DASHES[style] else "-",
            "marker": _MARKS[style],
            "markevery": shown,
        }
        axes.plot(xs, ys, linewidth=1.8, drawstyle=drawstyle, **look)


def _widest(band: Sequence[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Of more points than the chart has room for the least and the largest of each stretch, where it begins."""
    size = ceil(len(band) / _MOST_POINTS)
    stretches = (band[start : start + size] for start in range(0, len(band), size))
    return [(each[0][0], min(low for _, low, _ in each), max(high for *_, high in each)) for each in stretches]


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of more points than the chart has room for the least and the largest of each stretch: no peak is lost."""
    if len(points) <= _MOST_POINTS:
        return list(points)
    size = ceil(2 * len(points) / _MOST_POINTS)
    kept = []
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        kept += sorted({min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])})
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]  # where the label points to


def _name(figure: "Figure", axes: "Axes", lines: Sequence[Line], labels: Sequence[str], right: float) -> None:
    """The labels beside the ends of the lines, moved apart, each with a thin line that leads to it."""
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches() * 72
    ends = [axes.transData.transform(line.points[-1]) for line in lines]
    places = _apart([end[1] for end in ends], _LABEL, _BOTTOM, height - _TOP)
    for line, label, (x, y), place in zip(lines, labels, ends, places, strict=True):
        color = COLORS[f"s{line.style % STYLES}"]
        leader = Line2D(
            [x / width, (right + 8) / width], [y / height, place / height], color=color, linewidth=0.8, alpha=0.6
        )
        figure.add_artist(leader)
        figure.text((right + 11) / width, place / height, label, color=color, va="center_baseline", fontsize=11)


def _apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places as near to the wanted ones as may be, in their order, `gap` apart and between `low` and `high`.

    Example:
        >>> _apart([50.0, 49.0, 0.0], 10.0, 0.0, 100.0)
        [54.5, 44.5, 0.0]
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    blocks: list[tuple[float, list[int]]] = []  # the middle of each, and what it holds
    for index in order:
        middle, held = wanted[index], [index]
        while True:
            half = gap * (len(held) - 1) / 2
            middle = min(max(middle, low + half), high - half)
            if not blocks or blocks[-1][0] + gap * len(blocks[-1][1]) / 2 <= middle - gap * len(held) / 2 + 1e-9:
                break
            before, others = blocks.pop()
            middle = (before * len(others) + middle * len(held)) / (len(others) + len(held))
            held = others + held
        blocks.append((middle, held))
    places = [0.0] * len(wanted)
    for middle, held in blocks:
        for position, index in enumerate(held):
            places[index] = middle + gap * (position - (len(held) - 1) / 2)
    return places
