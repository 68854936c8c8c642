"""One self-contained page about one or several runs: words, figures, curves, the cells and the policy that were found."""

import warnings
from collections.abc import Sequence
from html import escape
from pathlib import Path

from nas_search import catalog, distributed
from nas_search.errors import ConfigError, RunFolderError
from nas_search.files import write_atomically
from nas_search.references import citations
from nas_search.reports.augmentation import augmentation
from nas_search.reports.chart import Pen, can_draw, require_drawing
from nas_search.reports.curves import curves, operation_weights
from nas_search.reports.figures import comparison, headline, table
from nas_search.reports.front import front_table
from nas_search.reports.policy import example_images, heat_map
from nas_search.reports.reading import ReportedRun, read_runs
from nas_search.reports.remarks import remarks
from nas_search.reports.style import STYLE, themed
from nas_search.reports.words import asked, found
from nas_spaces import SearchSpace, drawing

__all__ = ["write_report", "write_report_if_possible"]

_MOST_IMAGES = (
    20  # before and after augmentation, on one page: all four of five runs, and none where there are more than 20
)


def write_report(runs: Sequence[str | Path], out: str | Path, spaces: Sequence[SearchSpace] = ()) -> Path:
    """Write a page about runs, side by side if there are several.

    The page is one file that needs nothing else: no script, no font, no picture from elsewhere. Every text from a run is
    escaped. Of several ranks the first alone reads and writes: the others may be here before it has written the result.

    Args:
        runs: the run folders.
        out: the HTML file.
        spaces: those of the runs that are no installed ones, such as your own `nas_spaces.chain`; found by their names.

    Returns:
        The path of the file.

    Raises:
        RunFolderError: a folder has no finished search, or one of a space that is neither installed nor given, or the page could
            not be written.
        ConfigError: `out` does not end in ``.html``; a ``config.toml`` was changed or damaged; or matplotlib, which
            draws the charts, is missing; it comes with ``pip install "nas-search[report]"``.
    """
    path = Path(out)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"a report is to be written to {path}; expected a name that ends in .html.")
    if not distributed.is_first():
        return path
    require_drawing()
    read = read_runs(runs, spaces)
    try:
        page = _page(read)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, ArithmeticError) as error:
        raise RunFolderError(
            f"no report of {', '.join(map(str, runs))}: in result.json, train.json or events.jsonl a value is not of the type "
            f"that is written there ({error}); it was changed or damaged."
        ) from error
    write_atomically(path, page)
    return path


def write_report_if_possible(runs: Sequence[str | Path], out: str | Path) -> Path | None:
    """The same at the end of a run, which has taken long and is not to fail for want of a picture.

    Returns:
        The path of the file; None, after a warning that says what to install, where matplotlib is missing.

    Raises:
        RunFolderError: as `write_report`.
    """
    if can_draw():
        return write_report(runs, out)
    warnings.warn(
        f"no report is written to {out}: its charts need matplotlib, which is missing. Everything else of the run is "
        'there; for the report pip install "nas-search[report]", then call nas_search.reports.write_report.',
        stacklevel=2,
    )
    return None


def _page(runs: Sequence[ReportedRun]) -> str:
    alone = len(runs) == 1
    title = f"{runs[0].result['method']} on {runs[0].result['space']}" if alone else f"{len(runs)} runs compared"
    pen = Pen()
    body = [f"<h1>{escape(title)}</h1>"]
    if alone:
        body += [
            f'<p class="lead">{escape(runs[0].name)}</p>',
            _words(runs[0]),
            headline(runs[0]),
            _remarks(runs[0]),
            "<h2>What was found</h2>",
            _cell(runs[0]),
        ]
    else:
        body += ["<h2>In figures</h2>", comparison(runs)]
    body += ["<h2>The search, epoch by epoch</h2>", curves(pen, runs, "events")]
    if any(run.training for run in runs):
        body += ["<h2>The training of the result</h2>", curves(pen, runs, "training")]
    if alone:
        body += [_front(pen, runs[0]), _augmentation(runs[0], _MOST_IMAGES), "<h2>In figures</h2>", table(runs[0])]
    else:
        body += [_own(pen, run, number, _MOST_IMAGES // len(runs)) for number, run in enumerate(runs, start=1)]
    body.append(_papers(runs))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _words(run: ReportedRun) -> str:
    """What was asked and what was found."""
    return f"<p><b>Asked:</b> {escape(asked(run.result, run.config))}<br><b>Found:</b> {escape(found(run.result))}</p>"


def _remarks(run: ReportedRun) -> str:
    said = remarks(run.result["metrics"])
    return "".join(f'<p class="remark"><b>Remark:</b> {escape(remark)}</p>' for remark in said)


def _own(pen: Pen, run: ReportedRun, number: int, images: int) -> str:
    """What a run does not share with the others."""
    moved = operation_weights(pen, run)
    return "\n".join(
        (
            f'<h2 id="run-{number}">{escape(run.name)}</h2>',
            _words(run),
            _remarks(run),
            _cell(run),
            f'<section class="charts">{moved}</section>' if moved else "",
            _front(pen, run, "h3"),
            _augmentation(run, images, "h3"),
            f"<details><summary>All figures of {escape(run.name)}</summary>{table(run)}</details>",
        )
    )


def _front(pen: Pen, run: ReportedRun, heading: str = "h2") -> str:
    front = front_table(pen, run.events)
    return f"<{heading}>Accuracy against cost</{heading}>{front}" if front else ""


def _cell(run: ReportedRun) -> str:
    text = run.result["architecture"]
    picture = themed(drawing.to_svg(run.space.graph(run.space.parse(text)), title=text))
    return (
        f'<figure class="cell"><figcaption>The architecture <code>{escape(text)}</code></figcaption>{picture}</figure>'
    )


def _augmentation(run: ReportedRun, most: int, heading: str = "h2") -> str:
    """The policy of a run, and `most` of its images before and after it."""
    record = run.result["policy"]
    shown = heat_map(record) + ("" if run.images is None or not most else example_images(record, run.images[:most]))
    said = f"<{heading}>Augmentation</{heading}><p>{escape(augmentation(record))}</p>"
    return f'{said}<section class="charts">{shown}</section>' if shown else ""


def _papers(runs: Sequence[ReportedRun]) -> str:
    """The papers of the methods; a method that is not installed any more has none here."""
    known = catalog.methods()
    methods = dict.fromkeys(run.result["method"] for run in runs)
    entries = dict.fromkeys(entry for method in methods if method in known for entry in citations(method))
    if not entries:
        return ""
    text = escape("\n\n".join(entries))
    return f"<h2>To cite</h2><details><summary>BibTeX of the methods used</summary><pre>{text}</pre></details>"
