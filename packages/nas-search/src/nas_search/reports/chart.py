"""Line charts as SVG text, without any dependency."""

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["COLORS", "line_chart"]

COLORS = ("#1f6fb2", "#c0562b", "#2b8a57", "#8a4fa3", "#a68a12", "#4d5b66")

_WIDTH, _HEIGHT = 460, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 16, 34


def line_chart(series: Mapping[str, Sequence[tuple[float, float]]], *, x_label: str, y_label: str) -> str:
    """Draw lines through points.

    Args:
        series: ``(x, y)`` points by name; points that are not finite are left out.
        x_label: below the axis.
        y_label: the accessible name of the chart.

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

    def place(x: float, y: float) -> str:
        across = _LEFT + (x - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)
        down = _TOP + (high - y) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)
        return f"{across:.1f},{down:.1f}"

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(y_label)}">']
    for tick in ticks:
        x, y = place(first, tick).split(",")
        parts.append(f'<line x1="{x}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}" class="grid"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{float(y) + 4:.1f}" text-anchor="end">{_number(tick)}</text>')
    for tick in _whole_ticks(first, last):
        x = place(tick, low).split(",")[0]
        parts.append(f'<text x="{x}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{tick}</text>')
    parts.append(
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 3}" text-anchor="middle">{escape(x_label)}</text>'
    )
    for color, (name, points) in zip(COLORS * len(lines), lines.items(), strict=False):
        path = " ".join(place(x, y) for x, y in points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"><title>{escape(name)}</title></polyline>'
        )
        if len(points) == 1:
            x, y = place(*points[0]).split(",")
            parts.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{color}"/>')
    parts.append("</svg>")
    legend = "".join(
        f'<span><i style="background:{color}"></i>{escape(name)}</span>'
        for color, name in zip(COLORS * len(lines), lines, strict=False)
    )
    return "".join(parts) + f'<p class="legend">{legend}</p>'


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


def _number(value: float) -> str:
    return f"{value:.6g}" if abs(value) >= 1e-12 else "0"
