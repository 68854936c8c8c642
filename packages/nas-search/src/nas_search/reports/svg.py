"""What matplotlib draws as SVG, made fit for a page: colours become the names of the style sheet, which gives them for light
and for dark; texts lose their font and take that of the page; and what is referred to has an identifier of its own.
"""

import re
from collections.abc import Iterator, Mapping
from html import escape
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLORS", "STYLES", "fitted"]

STYLES = 8
"""How many lines differ in colour, dashes and marks alike."""

COLORS = {
    name: f"#0{index:x}f1e2" for index, name in enumerate(("soft", "fine", "card", *(f"s{i}" for i in range(STYLES))))
}
"""What stands for a colour of the style sheet until the end; none is a colour that means itself."""


def fitted(
    figure: "Figure", *, name: str, titles: Mapping[str, str], texts: Mapping[str, str], identifiers: Iterator[int]
) -> str:
    """A figure as an ``<svg>`` element for a page.

    Args:
        figure: whose colours are `COLORS`.
        name: the accessible one.
        titles: what is shown when an artist is pointed at, by its ``gid``.
        texts: what is to be written, by the text that stands for it in the figure. matplotlib has no glyph for some, and takes
            others for formulas.
        identifiers: numbers that the page has not used.
    """
    svg = _drawn(figure)
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None
    svg = svg[svg.index(">", box.end()) + 1 :]
    svg = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:d|x|y)="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), svg)
    svg = re.sub(r"\s*\n\s*", "\n", svg).replace("xlink:href", "href")
    svg = re.sub(r"font[-a-z]*: [^;\"]*;? ?", "", svg)
    svg = re.sub(r' transform="rotate\(-?0 [^"]*\)"', "", svg)
    for color, placeholder in COLORS.items():
        svg = svg.replace(placeholder, f"var(--{color})")
    used = {key: f"c{next(identifiers)}" for key in dict.fromkeys(re.findall(r"#([\w.-]+)", svg))}
    svg = re.sub(r"#([\w.-]+)", lambda found: f"#{used[found[1]]}", svg)

    def identified(found: re.Match[str]) -> str:
        tag, key, end = found.groups()
        if key in titles:
            return f"<g><title>{_text(titles[key])}</title>"
        return f'<{tag} id="{used[key]}"{end}' if key in used else f"<{tag}{end}"

    svg = re.sub(r'<(\w+) id="([^"]*)"(>?)', identified, svg)
    # Last of all, so that nothing above can change what is written by others.
    for placeholder, text in texts.items():
        svg = svg.replace(f">{placeholder}<", f">{_text(text)}<")
    return f'<svg {box[0]} role="img" aria-label="{_text(name)}">{svg}'


def _drawn(figure: "Figure") -> str:
    import matplotlib

    buffer = StringIO()
    # A salt, as identifiers are drawn at random without one; no date: equal runs have equal pages.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "nas_search"}):
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return buffer.getvalue()


def _text(text: str) -> str:
    """Escaped, and without the control characters that XML does not know."""
    return escape("".join(character for character in text if character.isprintable()))
