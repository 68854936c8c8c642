"""One self-contained page about one or several runs: figures, curves and the cells that were found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from nas_search.errors import RunFolderError
from nas_search.files import write_atomically
from nas_search.reports.augmentation import augmentation
from nas_search.reports.chart import line_chart
from nas_search.reports.front import front_of, front_table
from nas_search.reports.remarks import remarks
from nas_search.result import SearchResult
from nas_search.run_folder import RunFolder
from nas_spaces import catalog, drawing

__all__ = ["write_report"]

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2730; background: #f5f7f9; margin: 0; }
main { max-width: 1040px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 34px 0 10px; }
p.lead { color: #50606e; margin: 0 0 18px; }
section.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(400px, 1fr)); gap: 16px; }
figure { background: #fff; border: 1px solid #dde4ea; border-radius: 8px; margin: 0; padding: 12px 14px; overflow-x: auto; }
figure > svg { max-width: 100%; height: auto; } figcaption { font-weight: 600; margin-bottom: 6px; }
figure text { font: 11px system-ui, sans-serif; fill: #50606e; } figure.cell text { font-size: 13px; }
.grid { stroke: #e6ecf1; } p.legend { margin: 4px 0 0; font-size: 13px; }
p.legend span { margin-right: 14px; }
p.legend i { display: inline-block; width: 12px; height: 3px; margin-right: 5px; vertical-align: middle; }
table { border-collapse: collapse; background: #fff; border: 1px solid #dde4ea; border-radius: 8px; width: 100%; }
th, td { text-align: left; padding: 6px 12px; border-bottom: 1px solid #edf1f4; vertical-align: top; }
th { font-weight: 600; white-space: nowrap; }
td { overflow-wrap: anywhere; } code { font-size: 13px; }
"""

_CHARTS = (
    ("Loss", ("train_loss", "valid_loss")),
    ("Accuracy", ("train_accuracy", "valid_accuracy")),
    ("Perplexity", ("train_perplexity", "valid_perplexity")),
    ("Entropy of the choice weights, and of uniform ones (nats)", ("entropy", "uniform_entropy")),
    ("Share of skip connections in the derived architecture", ("skip_share",)),
    ("Depth of the derived cells: connections on the longest way", ("depth",)),
    ("Dominant eigenvalue of the validation loss in the architecture parameters", ("hessian_eigenvalue",)),
    ("Trace of the same Hessian", ("hessian_trace",)),
    ("Test accuracy of the derived architecture in the table (%)", ("table_test",)),
    ("Learning rate", ("learning_rate",)),
    ("Weight decay", ("weight_decay",)),
)


@dataclass(frozen=True)
class _Run:
    name: str
    result: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    training: Sequence[Mapping[str, Any]]


def write_report(runs: Sequence[str | Path], out: str | Path) -> Path:
    """Write a page about runs, side by side if there are several.

    The page is one file that needs nothing else: no script, no font, no picture from elsewhere. Every text from a run is
    escaped.

    Args:
        runs: the run folders.
        out: the HTML file.

    Returns:
        The path of the file.

    Raises:
        RunFolderError: a folder has no finished search, or the page could not be written.
    """
    read = [_read(RunFolder(run)) for run in runs]
    try:
        page = _page(read)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, ArithmeticError) as error:
        raise RunFolderError(
            f"no report of {', '.join(map(str, runs))}: in result.json, train.json or events.jsonl a value is not of the type "
            f"that is written there ({error}); it was changed or damaged."
        ) from error
    path = Path(out)
    write_atomically(path, page)
    return path


def _page(read: Sequence[_Run]) -> str:
    title = (
        f"{read[0].result['method']} on {read[0].result['space']}" if len(read) == 1 else f"{len(read)} runs compared"
    )
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="lead">{escape(", ".join(run.name for run in read))}</p>',
        _figures(read),
        "<h2>What was found</h2>",
        *(_cell(run) for run in read),
        "<h2>The search, epoch by epoch</h2>",
        _charts(read, "events"),
        *(_front(run) for run in read),
    ]
    if any(run.training for run in read):
        body += ["<h2>The training of the result</h2>", _charts(read, "training")]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _read(folder: RunFolder) -> _Run:
    result = SearchResult.load(folder.root).to_dict()
    training = folder.read_json(folder.training, "training").get("history") if folder.training.exists() else []
    if not isinstance(training, list):
        raise RunFolderError(
            f"{folder.training} has no history; it was changed or damaged: train again with `nascli train`."
        )
    return _Run(folder.root.resolve().name, result, folder.read_events(), training)


def _figures(runs: Sequence[_Run]) -> str:
    rows: dict[str, list[str]] = {}
    for index, run in enumerate(runs):
        for name, value in _facts(run).items():
            rows.setdefault(name, [""] * len(runs))[index] = value
    head = "" if len(runs) == 1 else "<tr><th></th>" + "".join(f"<th>{escape(run.name)}</th>" for run in runs) + "</tr>"
    body = "".join(
        f"<tr><th>{escape(name)}</th>" + "".join(f"<td>{escape(value)}</td>" for value in values) + "</tr>"
        for name, values in rows.items()
    )
    return f"<table>{head}{body}</table>"


def _facts(run: _Run) -> dict[str, str]:
    result, metrics = run.result, run.result["metrics"]
    facts = {"Method": result["method"], "Space": result["space"], "Architecture": result["architecture"]}
    for label, part in (("Test accuracy", ""), ("Test accuracy of a random architecture", "random_")):
        if f"{part}test_accuracy" in metrics:
            facts[label] = (
                f"{100 * metrics[f'{part}test_accuracy']:.2f} % after {metrics.get(f'{part}train_epochs')} epochs"
            )
        if f"{part}test_perplexity" in metrics:
            facts[label.replace("accuracy", "perplexity")] = f"{metrics[f'{part}test_perplexity']:.2f}"
    if "stopped_after" in metrics:
        facts["Stopped early"] = f"after {metrics['stopped_after']} epochs"
    if "valid_accuracy" in metrics:
        facts["Validation accuracy in the search"] = f"{100 * metrics['valid_accuracy']:.2f} %"
    if "valid_perplexity" in metrics:
        facts["Validation perplexity in the search"] = f"{metrics['valid_perplexity']:.2f}"
    if "table_test" in metrics:
        facts["Test accuracy in the table"] = (
            f"{metrics['table_test']:.2f} % on {metrics['table_dataset']}; rank {metrics['table_rank']:,} of "
            f"{metrics['table_size']:,}; {metrics['table_regret']:.2f} below the best; "
            f"random architectures have {metrics['table_random']:.2f} % in the mean"
        )
    if "parameters" in metrics:
        facts["Size"] = (
            f"{metrics['parameters']:,} parameters, {metrics['multiply_adds'] / 1e6:.2f} million multiply-adds"
        )
    facts["Search"] = f"{result['epochs']} epochs in {result['seconds']:.1f} s"
    if result["images_per_second"]:
        what = "segments of text" if "train_perplexity" in metrics else "train images"
        facts["Search"] += f", {result['images_per_second']:,.0f} {what} per second"
    if result["peak_memory_mib"]:
        facts["Peak memory"] = f"{result['peak_memory_mib']:,.0f} MiB"
    facts["Augmentation"] = augmentation(result["policy"])
    if result["hyperparameters"]:
        last = {name: value for name, value in result["hyperparameters"].items() if name != "schedule"}
        facts["Learned at the end"] = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in last.items())
    facts |= {f"Remark {number}": remark for number, remark in enumerate(remarks(metrics), start=1)}
    facts["Seed"] = str(result["seed"])
    facts["Versions"] = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return {name: str(value) for name, value in facts.items()}


def _charts(runs: Sequence[_Run], part: str) -> str:
    charts = []
    for caption, keys in _CHARTS:
        series = {
            (key.replace("_", " ") if len(runs) == 1 else f"{run.name}: {key.replace('_', ' ')}"): [
                (record["epoch"], value)
                for record in getattr(run, part)
                if isinstance(value := record.get(key, record.get("hyperparameters", {}).get(key)), int | float)
            ]
            for run in runs
            for key in keys
        }
        chart = line_chart(series, x_label="epoch", y_label=caption)
        if chart:
            charts.append(f"<figure><figcaption>{escape(caption)}</figcaption>{chart}</figure>")
    return f'<section class="charts">{"".join(charts)}</section>'


def _front(run: _Run) -> str:
    front = front_of(run.events)
    if not front:
        return ""
    return f"<h2>{escape(run.name)}: accuracy against cost</h2>{front_table(front, run.events[-1]['cost_unit'])}"


def _cell(run: _Run) -> str:
    text = run.result["architecture"]
    space = catalog.space(run.result["space"])
    picture = drawing.to_svg(space.graph(space.parse(text)), title=text)
    return f'<figure class="cell"><figcaption>{escape(run.name)}: <code>{escape(text)}</code></figcaption>{picture}</figure>'
