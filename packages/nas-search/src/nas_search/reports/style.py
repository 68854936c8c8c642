"""How the page looks: light and dark, wide and narrow."""

from importlib.resources import files

__all__ = ["STYLE", "themed"]

STYLE = files("nas_search.reports").joinpath("report.css").read_text(encoding="utf-8")

# The colours of `nas_spaces.drawing` by the names of the style sheet.
_DRAWING = {
    "#ffffff": "card", "#eef3f8": "node", "#34495e": "edge", "#566573": "edge", "#6c7a7d": "skip", "#8e44ad": "pool",
    "#c0392b": "dil", "#2471a3": "one", "#1e8449": "three", "#9a6400": "five", "#0e6655": "seven",
}  # fmt: skip


def themed(picture: str) -> str:
    """A picture of `nas_spaces.drawing.to_svg` in the colours of the page; its names cannot hold one: they are escaped text."""
    for color, name in _DRAWING.items():
        picture = picture.replace(f'="{color}"', f'="var(--{name})"')
    return picture
