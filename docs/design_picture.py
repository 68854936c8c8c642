"""The picture of the design page: `python docs/design_picture.py` writes docs/_static/design.svg.

Boxes of text and arrows between them; colours follow the reader's choice of a light or a dark page.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path

STYLE = """
svg { font: 14px system-ui, sans-serif; }
text { fill: #1c1e21; }
.small { font-size: 12px; fill: #4b5157; }
.head { font-weight: 600; }
rect { fill: #f4f5f7; stroke: #8a9099; }
.page { fill: #ffffff; stroke: none; }
.part { fill: #ffffff; }
.outer { fill: #e3eefc; stroke: #2f6db3; }
.inner { fill: #fdf0dc; stroke: #b3771d; }
path { fill: none; stroke: #4b5157; stroke-width: 1.5; }
.tip { fill: #4b5157; stroke: none; }
@media (prefers-color-scheme: dark) {
  text { fill: #e8eaed; }
  .small { fill: #b4bac2; }
  rect { fill: #24272b; stroke: #767d86; }
  .page { fill: #131416; stroke: none; }
  .part { fill: #17191c; }
  .outer { fill: #16304d; stroke: #6ea8e8; }
  .inner { fill: #44300f; stroke: #dba54f; }
  path { stroke: #b4bac2; }
  .tip { fill: #b4bac2; stroke: none; }
}
"""


def box(x: int, y: int, width: int, height: int, lines: Sequence[str], kind: str = "") -> str:
    """A rectangle with a heading and smaller lines under it, in the middle."""
    middle = x + width / 2
    top = y + (height - 17 * len(lines)) / 2 + 13
    texts = "".join(
        f'<text x="{middle:g}" y="{top + 17 * row:g}" text-anchor="middle" class="{"small" if row else "head"}">'
        f"{escape(line)}</text>"
        for row, line in enumerate(lines)
    )
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" class="{kind}"/>{texts}'


def arrow(*points: tuple[int, int], label: str = "", at: tuple[int, int] = (0, 0), anchor: str = "middle") -> str:
    """A line through the points with a tip at its end, and a word beside it."""
    steps = "".join(f"{'M' if index == 0 else 'L'}{x} {y}" for index, (x, y) in enumerate(points))
    text = f'<text x="{at[0]}" y="{at[1]}" text-anchor="{anchor}" class="small">{escape(label)}</text>' if label else ""
    return f'<path d="{steps}" marker-end="url(#tip)"/>{text}'


def title(y: int, text: str) -> str:
    """A heading of one half of the picture."""
    return f'<text x="20" y="{y}" class="head" style="font-size:16px">{escape(text)}</text>'


def packages() -> str:
    """The five packages; arrows say which imports which."""
    return "\n".join(
        (
            title(28, "Five packages: arrows go down only"),
            box(300, 46, 240, 54, ("nas-cli", "parse, one library call, print")),
            box(300, 136, 240, 54, ("nas-search", "roles, methods, the one loop, reports")),
            box(20, 236, 250, 54, ("nas-spaces", "spaces, supernets, networks, tables")),
            box(295, 236, 250, 54, ("nas-hypergrad", "estimators of hypergradients")),
            box(570, 236, 250, 54, ("nas-augment", "augmentation, fixed and learned")),
            arrow((420, 100), (420, 134)),
            arrow((340, 190), (145, 234)),
            arrow((420, 190), (420, 234)),
            arrow((500, 190), (695, 234)),
            '<text x="420" y="312" text-anchor="middle" class="small">The three leaves do not know each other; '
            "nas-hypergrad needs torch alone.</text>",
        )
    )


def step() -> str:
    """What one step of a search hands from part to part."""
    return "\n".join(
        (
            title(356, "One step of a search: what the parts hand to each other"),
            box(20, 380, 180, 62, ("Relaxation", "or a Sampler", "parameters → weights"), "outer"),
            box(330, 380, 180, 62, ("Supernet", "images, weights → logits"), "inner"),
            box(640, 380, 180, 62, ("AugmentationPolicy", "images → images,", "their log-probability"), "outer"),
            arrow((200, 411), (328, 411), label="choice weights", at=(264, 403)),
            arrow((640, 411), (512, 411), label="augmented batch", at=(576, 403)),
            box(
                20,
                500,
                380,
                62,
                ("WeightStep", "SupernetLoss of a train batch;", "the optimiser moves the supernet's weights"),
                "inner",
            ),
            box(
                440,
                500,
                380,
                62,
                (
                    "OuterStep",
                    "OuterLoss of a validation batch, with Regularizers",
                    "= a bilevel problem of two losses",
                ),
                "outer",
            ),
            arrow((390, 442), (230, 498)),
            arrow((450, 442), (610, 498)),
            box(
                440,
                606,
                380,
                46,
                ("Hypergradient", "its gradient in all outer variables, through the weights"),
                "outer",
            ),
            arrow((630, 562), (630, 604)),
            arrow((820, 629), (832, 629), (832, 411), (822, 411)),
            arrow(
                (440, 640),
                (8, 640),
                (8, 411),
                (18, 411),
                label="moves the parameters of both, and learned hyper-parameters",
                at=(215, 632),
            ),
            box(20, 694, 220, 46, ("Observer, StopRule", "the records of every epoch"), "part"),
            box(300, 694, 240, 46, ("Selector", "the finished search → an architecture"), "part"),
            box(600, 694, 220, 46, ("SearchResult", "saved, reported, trained, exported"), "part"),
            arrow((240, 717), (298, 717)),
            arrow((540, 717), (598, 717)),
            '<text x="20" y="766" class="small">Blue: outer variables, learned on validation images. Orange: the weights, learned '
            "on train images.</text>",
            '<text x="20" y="784" class="small">A method names one part for each role, and the order of its updates; the loop runs '
            "them.</text>",
        )
    )


def picture() -> str:
    """The whole file."""
    label = (
        "The five packages and what imports what; below them the parts of one step of a search, with what they hand on"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 840 800" role="img" aria-label="{label}">\n<style>{STYLE}</style>\n'
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="7" markerHeight="7" orient="auto-start-reverse">'
        f'<path d="M0 0L10 5L0 10z" class="tip"/></marker></defs>\n<rect class="page" width="840" height="800"/>\n'
        f"{packages()}\n{step()}\n</svg>\n"
    )


if __name__ == "__main__":
    Path(__file__).parent.joinpath("_static", "design.svg").write_text(picture(), encoding="utf-8")
