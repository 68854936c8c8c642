"""Line charts as SVG text, without any dependency: told apart by dashes and marks as well as by colour.

Colours are classes (``s0`` to ``s5``, ``grid``), which the page's style sheet gives for light and for dark.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["line_chart"]

_STYLES = 6
_DASHES = ("none", "7 4", "2 3", "9 3 2 3", "14 4", "4 2")
_WIDTH, _HEIGHT = 400, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 14, 38
_MOST_MARKS = 8


def line_chart(series: Mapping[str, Sequence[tuple[float, float]]], *, x_label: str, y_label: str) -> str:
    """Draw lines through points.

    Args:
        series: ``(x, y)`` points by name; points that are not finite are left out.
        x_label: below the axis.
        y_label: what is drawn; with the first and last value of each line it is the accessible name of the chart.

    Returns:
        An ``<svg>`` element; empty text if there is nothing to draw.
    """
    lines = {name: [(x, y) for x, y in points if math.isfinite(y)] for name, points in series.items()}
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return ""
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    ticks = _ticks(min(ys), max(ys))
    low, high = ticks[0], ticks[-1]
    first, last = min(xs), max(max(xs), min(xs) + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)
        return across, _TOP + (high - y) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    told = "; ".join(f"{name} from {_number(p[0][1])} to {_number(p[-1][1])}" for name, p in lines.items())
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(f"{y_label}: {told}")}">']
    for tick, label in zip(ticks, _apart(ticks), strict=True):
        x, y = place(first, tick)
        parts.append(f'<line x1="{x:.1f}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    for tick in _whole_ticks(first, last):
        x, _ = place(tick, low)
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 17}" text-anchor="middle">{tick}</text>')
    parts.append(
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(x_label)}</text>'
    )
    for index, (name, points) in enumerate(lines.items()):
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in points)
        parts.append(
            f'<polyline points="{path}" class="s{index % _STYLES}" {_dash(index)}><title>{escape(name)}</title></polyline>'
        )
        # Shifted from line to line, so that marks of lines that coincide do not.
        step = math.ceil(len(points) / _MOST_MARKS)
        parts += [_mark(index, *place(x, y)) for x, y in points[min(index, len(points) - 1) % step :: step]]
    return "".join(parts) + f'</svg><p class="legend">{"".join(map(_legend, range(len(lines)), lines))}</p>'


def _dash(index: int) -> str:
    return f'fill="none" stroke-width="2" stroke-dasharray="{_DASHES[index % _STYLES]}"'


def _mark(index: int, x: float, y: float) -> str:
    """Circle, square, triangle, diamond, ring, cross."""
    shape = (
        f"M{x - 3.5:.1f} {y:.1f}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z",
        f"M{x - 3:.1f} {y - 3:.1f}h6v6h-6z",
        f"M{x:.1f} {y - 4:.1f}l4 7h-8z",
        f"M{x:.1f} {y - 4.5:.1f}l4.5 4.5l-4.5 4.5l-4.5 -4.5z",
        f"M{x - 3.5:.1f} {y:.1f}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z",
        f"M{x - 3.5:.1f} {y - 3.5:.1f}l7 7m0 -7l-7 7",
    )[index % _STYLES]
    hollow = " hollow" if index % _STYLES == 4 else ""
    return f'<path d="{shape}" class="mark s{index % _STYLES}{hollow}"/>'


def _legend(index: int, name: str) -> str:
    line = f'<line x1="0" x2="34" y1="7" y2="7" class="s{index % _STYLES}" {_dash(index)}/>'
    return (
        f'<span><svg viewBox="0 0 34 14" width="34" height="14" aria-hidden="true">{line}{_mark(index, 17, 7)}</svg>'
        f"{escape(name)}</span> "
    )


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers that span the values."""
    if high - low < 1e-12:
        low, high = low - 0.5 * max(1e-3, abs(low)), high + 0.5 * max(1e-3, abs(high))
    raw = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= raw * 0.999)
    start = math.floor(low / step + 1e-9)
    end = math.ceil(high / step - 1e-9)
    return [step * index for index in range(start, end + 1)]


def _whole_ticks(first: float, last: float) -> list[int]:
    step = max(1, math.ceil((last - first) / 8))
    return list(range(math.ceil(first), math.floor(last) + 1, step))


def _apart(values: Sequence[float]) -> list[str]:
    """Labels with as many digits as it takes to tell them apart, four at least."""
    return next(
        labels
        for digits in range(4, 18)
        if len(set(labels := [_number(value, digits) for value in values])) == len(set(values)) or digits == 17
    )


def _number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}g}" if abs(value) >= 1e-12 else "0"
