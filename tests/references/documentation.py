"""The pages of the documentation, taken apart into the blocks that their tests run."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Block", "blocks"]

# A block by its fence; before it, perhaps, why it is not run, which no reader sees.
_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^\n]+?) -->\n+)?^```(?P<kind>[^\n]*)\n(?P<text>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A block of code in a page.

    Args:
        kind: what stands behind its fence, such as ``python``.
        text: its lines.
        line: of its fence in the page, from 1.
        reason: why it is not run; empty where it is.
        output: the lines of the ``text`` block that follows it without a word between; empty if there is none.
    """

    kind: str
    text: str
    line: int
    reason: str
    output: str


def blocks(page: Path) -> Iterator[Block]:
    """All blocks of a page in order, but for the outputs of others."""
    source = page.read_text()
    found = list(_BLOCK.finditer(source))
    for index, match in enumerate(found):
        if index and _is_output(source, found[index - 1], match):
            continue
        after = found[index + 1] if index + 1 < len(found) else None
        output = after["text"] if after is not None and _is_output(source, match, after) else ""
        line = source.count("\n", 0, match.start("kind")) + 1
        yield Block(match["kind"], match["text"], line, match["reason"] or "", output)


def _is_output(source: str, block: "re.Match[str]", after: "re.Match[str]") -> bool:
    runs = block["kind"] in ("python", "console")
    return runs and after["kind"] == "text" and not source[block.end() : after.start()].strip()
