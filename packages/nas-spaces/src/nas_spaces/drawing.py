"""A cell's graph as a picture: SVG without any dependency, PNG through matplotlib (extra ``draw``)."""

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_spaces.errors import SpacesError

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["layout", "save_png", "to_svg"]

_COLUMN, _ROW, _WIDTH, _HEIGHT, _MARGIN = 190.0, 84.0, 84.0, 36.0, 24.0
_COLORS = {
    "skip": "#7f8c8d",
    "1x1": "#2e86c1",
    "3x3": "#1e8449",
    "5x5": "#b9770e",
    "pool": "#8e44ad",
}


def layout(graph: "nx.DiGraph[int]") -> dict[int, tuple[float, float]]:
    """Place the nodes from left to right in the order of their depth, ``{node: (column, row)}``.

    A node stands one column right of its deepest predecessor (nodes of a cell without inputs stand after the first).
    Rows alternate above and below the axis, so that an edge which jumps over a column does not run through its node.
    """
    import networkx as nx

    order = list(nx.topological_sort(graph))
    first = min(order, default=0)
    columns: dict[int, int] = {}
    for node in order:
        before = [columns[source] for source in graph.predecessors(node)]
        columns[node] = max(before) + 1 if before else int(node != first)
    if order:
        last = max(order)
        columns[last] = max([columns[last], *(columns[node] + 1 for node in order if node != last)])
    places: dict[int, tuple[float, float]] = {}
    for column in sorted(set(columns.values())):
        here = [node for node in order if columns[node] == column]
        middle = column not in (0, columns[max(order)])
        shift = (0.0 if not middle else 0.5 if column % 2 else -0.5) if len(here) == 1 else 0.0
        for index, node in enumerate(sorted(here)):
            places[node] = (float(column), 1.6 * (index - (len(here) - 1) / 2) + shift)
    return places


def to_svg(graph: "nx.DiGraph[int]", title: str = "") -> str:
    """Draw a cell as a self-contained SVG picture.

    Args:
        graph: as `SearchSpace.graph` makes it: nodes with a ``label``, edges with an ``operation``.
        title: the picture's accessible title.
    """
    places = {node: (x * _COLUMN, y * _ROW) for node, (x, y) in layout(graph).items()}
    if not places:
        places = {0: (0.0, 0.0)}
    left = min(x for x, _ in places.values()) - _WIDTH / 2 - _MARGIN
    right = max(x for x, _ in places.values()) + _WIDTH / 2 + _MARGIN
    # Curved edges bulge beyond the outermost nodes by at most this much.
    bulge = _ROW * 0.9
    top = min(y for _, y in places.values()) - _HEIGHT / 2 - _MARGIN - bulge
    bottom = max(y for _, y in places.values()) + _HEIGHT / 2 + _MARGIN + bulge
    width, height = right - left, bottom - top
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{left:.0f} {top:.0f} {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>" if title else "",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#555"/></marker></defs>',
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
    ]
    parts += [_edge(places, source, target, data) for source, target, data in graph.edges(data=True)]
    parts += [_node(places[node], str(data.get("label", node))) for node, data in graph.nodes(data=True)]
    return "\n".join(part for part in parts if part) + "\n</svg>\n"


def _node(place: tuple[float, float], label: str) -> str:
    x, y = place
    return (
        f'<rect x="{x - _WIDTH / 2:.1f}" y="{y - _HEIGHT / 2:.1f}" width="{_WIDTH:.0f}" height="{_HEIGHT:.0f}" rx="8" '
        f'fill="#eef3f8" stroke="#34495e"/><text x="{x:.1f}" y="{y + 4.5:.1f}" text-anchor="middle">{escape(label)}</text>'
    )


def _edge(places: dict[int, tuple[float, float]], source: int, target: int, data: dict[str, Any]) -> str:
    (x0, y0), (x1, y1) = places[source], places[target]
    x0, x1 = x0 + _WIDTH / 2, x1 - _WIDTH / 2
    columns = round((x1 - x0 + _WIDTH) / _COLUMN)
    # An edge over several columns bends away from the axis, the longer the further.
    bend = 0.0 if columns <= 1 else (-1.0 if y0 + y1 <= 0 else 1.0) * _ROW * min(1.2, 0.55 * (columns - 1))
    control = (x0 + (x1 - x0) / 3, y0 + bend), (x0 + 2 * (x1 - x0) / 3, y1 + bend)
    middle_x = (x0 + 3 * control[0][0] + 3 * control[1][0] + x1) / 8
    middle_y = (y0 + 3 * control[0][1] + 3 * control[1][1] + y1) / 8
    operation = str(data.get("operation", ""))
    color = next((value for key, value in _COLORS.items() if key in operation), "#555555")
    width = 6.6 * len(operation) + 10
    return (
        f'<path d="M{x0:.1f} {y0:.1f}C{control[0][0]:.1f} {control[0][1]:.1f} {control[1][0]:.1f} {control[1][1]:.1f} '
        f'{x1:.1f} {y1:.1f}" fill="none" stroke="{color}" stroke-width="1.8" marker-end="url(#head)"/>'
        f'<rect x="{middle_x - width / 2:.1f}" y="{middle_y - 10:.1f}" width="{width:.1f}" height="20" rx="4" fill="#ffffff" '
        f'fill-opacity="0.9"/><text x="{middle_x:.1f}" y="{middle_y + 4:.1f}" text-anchor="middle" font-size="12" '
        f'fill="{color}">{escape(operation)}</text>'
    )


def save_png(graph: "nx.DiGraph[int]", path: Path, title: str = "") -> None:
    """Draw a cell as a PNG file.

    Raises:
        SpacesError: matplotlib is missing; it comes with ``pip install "nas-spaces[draw]"``.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SpacesError('PNG pictures need matplotlib: pip install "nas-spaces[draw]".') from error
    places = layout(graph)
    columns = 1 + max((x for x, _ in places.values()), default=0.0)
    figure = Figure(figsize=(2.6 * columns, 3.6), dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_title(title, fontsize=9)
    axes.axis("off")
    for node, (x, y) in places.items():
        label = str(graph.nodes[node].get("label", node))
        box = {"boxstyle": "round,pad=0.5", "facecolor": "#eef3f8", "edgecolor": "#34495e"}
        axes.text(x, -y, label, ha="center", va="center", bbox=box, zorder=3)
    for source, target, data in graph.edges(data=True):
        (x0, y0), (x1, y1) = places[source], places[target]
        span = abs(x1 - x0)
        radius = 0.0 if span <= 1 else (-0.32 if y0 + y1 <= 0 else 0.32)
        operation = str(data.get("operation", ""))
        color = next((value for key, value in _COLORS.items() if key in operation), "#555555")
        arrow = {
            "arrowstyle": "-|>",
            "connectionstyle": f"arc3,rad={radius}",
            "color": color,
            "shrinkA": 18,
            "shrinkB": 22,
        }
        axes.annotate("", (x1, -y1), (x0, -y0), arrowprops=arrow)
        lift = -radius * span / 2
        axes.text(
            (x0 + x1) / 2,
            -(y0 + y1) / 2 + lift,
            operation,
            ha="center",
            va="center",
            fontsize=8,
            color=color,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0},
            zorder=2,
        )
    rows = [y for _, y in places.values()] or [0.0]
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(-max(rows) - 1.1, -min(rows) + 1.1)
    figure.savefig(path, format="png", bbox_inches="tight")
