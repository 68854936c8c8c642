"""One self-contained page about one or several runs: words, figures, curves, the cells and the policy that were found."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nas_search import catalog, distributed
from nas_search.config import RunConfig
from nas_search.errors import RunFolderError
from nas_search.files import write_atomically
from nas_search.references import citations
from nas_search.reports.augmentation import augmentation
from nas_search.reports.chart import line_chart
from nas_search.reports.front import front_of, front_table
from nas_search.reports.policy import example_images, heat_map
from nas_search.reports.remarks import remarks
from nas_search.reports.style import STYLE, themed
from nas_search.reports.words import asked, found
from nas_search.result import SearchResult
from nas_search.run_folder import RunFolder
from nas_spaces import catalog as spaces
from nas_spaces import drawing

__all__ = ["write_report"]

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
    ("Temperature of the relaxation", ("temperature",)),
    ("Learning rate", ("learning_rate",)),
    ("Weight decay, as learned", ("weight_decay",)),
    ("Momentum, as learned", ("momentum",)),
    ("Forward passes of the supernet in a step", ("forward_passes",)),
    ("Seconds of an epoch", ("seconds",)),
)


@dataclass(frozen=True)
class _Run:
    name: str
    result: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    training: Sequence[Mapping[str, Any]]
    config: Mapping[str, Any]
    images: Tensor | None


def write_report(runs: Sequence[str | Path], out: str | Path) -> Path:
    """Write a page about runs, side by side if there are several.

    The page is one file that needs nothing else: no script, no font, no picture from elsewhere. Every text from a run is
    escaped. Of several ranks the first alone reads and writes: the others may be here before it has written the result.

    Args:
        runs: the run folders.
        out: the HTML file.

    Returns:
        The path of the file.

    Raises:
        RunFolderError: a folder has no finished search, or the page could not be written.
    """
    path = Path(out)
    if not distributed.is_first():
        return path
    read = [_read(RunFolder(run)) for run in runs]
    try:
        page = _page(read)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, ArithmeticError) as error:
        raise RunFolderError(
            f"no report of {', '.join(map(str, runs))}: in result.json, train.json or events.jsonl a value is not of the type "
            f"that is written there ({error}); it was changed or damaged."
        ) from error
    write_atomically(path, page)
    return path


def _page(read: Sequence[_Run]) -> str:
    title = (
        f"{read[0].result['method']} on {read[0].result['space']}" if len(read) == 1 else f"{len(read)} runs compared"
    )
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="lead">{escape(", ".join(run.name for run in read))}</p>',
        *(_words(run, named=len(read) > 1) for run in read),
        "<h2>In figures</h2>",
        _figures(read),
        "<h2>What was found</h2>",
        *(_cell(run) for run in read),
        "<h2>The search, epoch by epoch</h2>",
        _charts(read, "events"),
        *(_weights(run) for run in read),
        *(_front(run) for run in read),
        *(_augmentation(run) for run in read),
    ]
    if any(run.training for run in read):
        body += ["<h2>The training of the result</h2>", _charts(read, "training")]
    body.append(_papers(read))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><main>\n"
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
    events = [_flat(record) for record in folder.read_events()]
    return _Run(folder.root.resolve().name, result, events, training, _config(folder), _images(folder))


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the hyper-parameters that were learned beside the other figures."""
    learned = record.get("hyperparameters")
    return {**record, **(learned if isinstance(learned, dict) else {})}


def _config(folder: RunFolder) -> Mapping[str, Any]:
    return asdict(RunConfig.from_toml(folder.config)) if folder.config.exists() else {}


def _images(folder: RunFolder) -> Tensor | None:
    if not folder.examples.exists():
        return None
    try:
        # Opened here: numpy leaves open what turns out to be no archive.
        with folder.examples.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            images = torch.from_numpy(file["images"])
    except Exception as error:
        # A damaged archive surfaces as OSError, ValueError, EOFError, BadZipFile, zlib.error, KeyError and others.
        raise RunFolderError(
            f"{folder.examples} cannot be read ({error}); delete it: the report does without."
        ) from error
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise RunFolderError(f"{folder.examples} holds no images; delete it: the report does without.")
    return images


def _words(run: _Run, named: bool) -> str:
    return (
        f"<h3>{escape(run.name)}</h3>" if named else ""
    ) + f"<p><b>Asked:</b> {escape(asked(run.result, run.config))}<br><b>Found:</b> {escape(found(run.result))}</p>"


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
    return f'<div class="wide"><table>{head}{body}</table></div>'


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
    passes = [record["forward_passes"] for record in run.events if "forward_passes" in record]
    if passes:
        facts["Passes"] = f"{sum(passes) / len(passes):.4g} forward passes of the supernet in a step, in the mean"
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


def _weights(run: _Run) -> str:
    """How the weights of the operations moved, a chart for each group of rows."""
    moved: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for record in run.events:
        for group, values in record.get("operation_weights", {}).items():
            for name, value in values.items():
                moved.setdefault(group, {}).setdefault(name, []).append((record["epoch"], value))
    charts = ""
    for group, series in moved.items():
        caption = f"{run.name}: mean weight of each operation ({group.replace('_', ' ')})"
        chart = line_chart(series, x_label="epoch", y_label=caption)
        charts += f"<figure><figcaption>{escape(caption)}</figcaption>{chart}</figure>"
    return f'<h2>Operation weights</h2><section class="charts">{charts}</section>' if charts else ""


def _augmentation(run: _Run) -> str:
    record = run.result["policy"]
    shown = heat_map(record) + ("" if run.images is None else example_images(record, run.images))
    title = f"<h2>{escape(run.name)}: augmentation</h2><p>{escape(augmentation(record))}</p>"
    return f'{title}<section class="charts">{shown}</section>' if shown else ""


def _papers(runs: Sequence[_Run]) -> str:
    """The papers of the methods; a method that is not installed any more has none here."""
    known = catalog.methods()
    methods = dict.fromkeys(run.result["method"] for run in runs)
    entries = dict.fromkeys(entry for method in methods if method in known for entry in citations(method))
    if not entries:
        return ""
    text = escape("\n\n".join(entries))
    return f"<h2>To cite</h2><details><summary>BibTeX of the methods used</summary><pre>{text}</pre></details>"


def _front(run: _Run) -> str:
    front = front_of(run.events)
    if not front:
        return ""
    return f"<h2>{escape(run.name)}: accuracy against cost</h2>{front_table(front, run.events[-1]['cost_unit'])}"


def _cell(run: _Run) -> str:
    text = run.result["architecture"]
    space = spaces.space(run.result["space"])
    picture = themed(drawing.to_svg(space.graph(space.parse(text)), title=text))
    return f'<figure class="cell"><figcaption>{escape(run.name)}: <code>{escape(text)}</code></figcaption>{picture}</figure>'
