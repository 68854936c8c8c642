"""A cell's graph as a picture: SVG without any dependency, PNG through matplotlib (extra ``draw``)."""

import itertools
import textwrap
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from nas_spaces.errors import SpacesError
from nas_spaces.layout import LABEL_HEIGHT, NODE_HEIGHT, NODE_WIDTH, Layout, Point, label_width, layout

if TYPE_CHECKING:
    import networkx as nx
    from matplotlib.axes import Axes

__all__ = ["save_png", "to_svg"]

_MARGIN = 16.0
# Of the title: the height of a line, and more than the mean width of a character.
_LINE, _CHARACTER = 18.0, 8.0
_INK, _FILL, _BORDER = "#566573", "#eef3f8", "#34495e"
# The first key that an operation's name contains gives its colour.
_COLORS = {
    "skip": "#6c7a7d",
    "pool": "#8e44ad",
    "dil": "#c0392b",
    "1x1": "#2471a3",
    "3x3": "#1e8449",
    "5x5": "#9a6400",
    "7x7": "#0e6655",
    "identity": "#6c7a7d",
    "tanh": "#2471a3",
    "relu": "#1e8449",
    "sigmoid": "#c0392b",
}


def to_svg(graph: "nx.DiGraph[int]", title: str = "") -> str:
    """Draw a cell as a self-contained SVG picture.

    Args:
        graph: as `SearchSpace.graph` makes it: nodes with a ``label``, edges with an ``operation``.
        title: the picture's accessible title.
    """
    place = layout(graph)
    left, top, right, bottom = place.box
    left, top, width, height = left - _MARGIN, top - _MARGIN, right - left + 2 * _MARGIN, bottom - top + 2 * _MARGIN
    labels = _labels(graph)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{left:.0f} {top:.0f} {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{_text(title)}</title>" if title else "",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 8 4 0 8z" fill="{_INK}"/></marker></defs>',
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
    ]
    # Labels after all lines, so that no line crosses a text.
    parts += [_line(points, _color(labels[edge])) for edge, points in place.edges.items()]
    parts += [_label(place.labels[edge], text) for edge, text in labels.items() if text]
    parts += [_node(place.nodes[node], str(data.get("label", node))) for node, data in graph.nodes(data=True)]
    return "\n".join(part for part in parts if part) + "\n</svg>\n"


def _labels(graph: "nx.DiGraph[int]") -> dict[tuple[int, int], str]:
    return {(source, target): str(data.get("operation", "")) for source, target, data in graph.edges(data=True)}


def _color(operation: str) -> str:
    return next((value for key, value in _COLORS.items() if key in operation), _INK)


def _text(text: str) -> str:
    """Escaped, and without the control characters that XML does not know."""
    return escape("".join(character for character in text if character.isprintable()))


def _node(place: Point, label: str) -> str:
    x, y = place
    # A long label is squeezed into its box rather than drawn over the edge.
    squeeze = f' textLength="{NODE_WIDTH - 8:.0f}" lengthAdjust="spacingAndGlyphs"' if len(label) > 11 else ""
    return (
        f'<rect x="{x - NODE_WIDTH / 2:.1f}" y="{y - NODE_HEIGHT / 2:.1f}" width="{NODE_WIDTH:.0f}" '
        f'height="{NODE_HEIGHT:.0f}" rx="8" fill="{_FILL}" stroke="{_BORDER}"/>'
        f'<text x="{x:.1f}" y="{y + 4.5:.1f}" text-anchor="middle"{squeeze}>{_text(label)}</text>'
    )


def _curves(points: tuple[Point, ...]) -> list[tuple[Point, Point, Point]]:
    """Cubic Bezier segments, horizontal at every point: ``(control, control, end)`` of each."""
    segments = []
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        middle = (x0 + x1) / 2
        segments.append(((middle, y0), (middle, y1), (x1, y1)))
    return segments


def _line(points: tuple[Point, ...], color: str) -> str:
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for segment in _curves(points):
        path += "C" + " ".join(f"{x:.1f} {y:.1f}" for x, y in segment)
    return f'<path d="{path}" fill="none" stroke="{color}" stroke-width="1.8" marker-end="url(#head)"/>'


def _label(place: Point, text: str) -> str:
    x, y = place
    width = label_width(text)
    return (
        f'<rect x="{x - width / 2:.1f}" y="{y - LABEL_HEIGHT / 2:.1f}" width="{width:.1f}" height="{LABEL_HEIGHT:.0f}" '
        f'rx="4" fill="#ffffff"/><text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" font-size="12" '
        f'fill="{_color(text)}">{_text(text)}</text>'
    )


def save_png(graph: "nx.DiGraph[int]", path: Path, title: str = "") -> None:
    """Draw a cell as a PNG file.

    Args:
        graph: as `to_svg`.
        path: of the file.
        title: stands above the cell, in as many lines as it takes.

    Raises:
        SpacesError: matplotlib is missing; it comes with ``pip install "nas-spaces[draw]"``.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SpacesError(
            'PNG pictures need matplotlib: pip install "nas-spaces[draw]". SVG pictures (to_svg) need nothing.'
        ) from error
    place = layout(graph)
    left, top, right, bottom = place.box
    lines = textwrap.wrap(title, max(1, int((right - left) / _CHARACTER)))
    top -= _LINE * (len(lines) + 0.5) if lines else 0.0
    # 100 units of the layout are one inch, so that the texts below have the size the layout reserved for them.
    figure = Figure(figsize=((right - left + 2 * _MARGIN) / 100, (bottom - top + 2 * _MARGIN) / 100))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(left - _MARGIN, right + _MARGIN)
    axes.set_ylim(bottom + _MARGIN, top - _MARGIN)
    for number, line in enumerate(lines):
        axes.text((left + right) / 2, top + number * _LINE, _plain(line), ha="center", va="center", fontsize=9)
    _paint(axes, graph, place)
    figure.savefig(path, format="png", dpi=160)


def _plain(text: str) -> str:
    """Without the dollar signs that matplotlib would read as formulas."""
    return text.replace("$", r"\$")


def _paint(axes: "Axes", graph: "nx.DiGraph[int]", place: Layout) -> None:
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
    from matplotlib.path import Path as Outline

    labels = _labels(graph)
    for edge, points in place.edges.items():
        segments = _curves(points)
        vertices = [points[0], *(point for segment in segments for point in segment)]
        codes = [Outline.MOVETO, *[Outline.CURVE4] * (len(vertices) - 1)]
        color = _color(labels[edge])
        axes.add_patch(
            FancyArrowPatch(
                path=Outline(vertices, codes), arrowstyle="-|>", mutation_scale=10, color=color, fill=False, zorder=1
            )
        )
    for edge, text in labels.items():
        if text:
            axes.text(
                *place.labels[edge],
                _plain(text),
                ha="center",
                va="center",
                fontsize=8,
                color=_color(text),
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
                zorder=2,
            )
    for node, data in graph.nodes(data=True):
        x, y = place.nodes[node]
        corner = (x - NODE_WIDTH / 2, y - NODE_HEIGHT / 2)
        style = "round,pad=0,rounding_size=8"
        axes.add_patch(
            FancyBboxPatch(
                corner, NODE_WIDTH, NODE_HEIGHT, boxstyle=style, facecolor=_FILL, edgecolor=_BORDER, zorder=3
            )
        )
        axes.text(x, y, _plain(str(data.get("label", node))), ha="center", va="center", fontsize=8, zorder=4)
