"""What a run is in figures: the few that are looked at first, and all of them."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from nas_search.reports.augmentation import augmentation
from nas_search.reports.reading import ReportedRun
from nas_search.reports.words import number, trained_like

__all__ = ["comparison", "headline", "table"]


def headline(run: ReportedRun) -> str:
    """The figures that are looked at first, large, each with what it is to be compared with; in HTML."""
    return f'<dl class="tiles">{"".join(_tile(*tile) for tile in _tiles(run))}</dl>'


def _tile(label: str, value: str, beside: str) -> str:
    return f"<div><dt>{escape(label)}</dt><dd><b>{escape(value)}</b><span>{escape(beside)}</span></dd></div>"


def _tiles(run: ReportedRun) -> list[tuple[str, str, str]]:
    """Label, value, and what stands beside it."""
    result, metrics, tiles = run.result, run.result["metrics"], []
    if "test_accuracy" in metrics and "test_perplexity" not in metrics:
        beside = ""
        if "random_test_accuracy" in metrics:
            beside = f"a random architecture, {trained_like(metrics)}: {_percent(metrics['random_test_accuracy'])}"
        tiles.append(("Test accuracy", _percent(metrics["test_accuracy"]), beside))
    if "test_perplexity" in metrics:
        beside = ""
        if "random_test_perplexity" in metrics:
            beside = f"a random architecture, {trained_like(metrics)}: {metrics['random_test_perplexity']:.2f}"
        tiles.append(("Test perplexity", _perplexity(metrics["test_perplexity"]), beside))
    if "table_test" in metrics:
        beside = (
            f"rank {metrics['table_rank']:,} of {metrics['table_size']:,}; the mean is {metrics['table_random']:.2f} %"
        )
        tiles.append(("Test accuracy in the table", f"{metrics['table_test']:.2f} %", beside))
        tiles.append(
            (
                "Regret",
                f"{metrics['table_regret']:.2f} points",
                f"below the best of the table, {metrics['table_best']:.2f} %",
            )
        )
    if not tiles and "valid_accuracy" in metrics:
        tiles.append(("Validation accuracy", _percent(metrics["valid_accuracy"]), "in the search; not trained yet"))
    if "parameters" in metrics:
        tiles.append(("Parameters", f"{metrics['parameters']:,}", _multiply_adds(metrics["multiply_adds"])))
    tiles.append(("Search time", duration(result["seconds"]), f"{result['epochs']} epochs"))
    if result["peak_memory_mib"]:
        tiles.append(("Peak memory", f"{result['peak_memory_mib']:,.0f} MiB", _passes(run)))
    return tiles


def duration(seconds: float) -> str:
    """A time in the units that it is told in.

    Example:
        >>> [duration(seconds) for seconds in (5.04, 61.0, 7322.0)]
        ['5.0 s', '1 min 1 s', '2 h 2 min']
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _passes(run: ReportedRun) -> str:
    passes = [record["forward_passes"] for record in run.events if "forward_passes" in record]
    return f"{sum(passes) / len(passes):.4g} forward passes of the supernet in a step" if passes else ""


def comparison(runs: Sequence[ReportedRun]) -> str:
    """The figures by which runs are compared, a line for each run, whose name leads to what is said of it alone; in HTML."""
    figures = [_compared(run) for run in runs]
    names = [name for name in figures[0] if any(each[name] for each in figures)]
    head = "<tr><th>run</th>" + "".join(f"<th>{escape(name)}</th>" for name in names) + "</tr>"
    body = "".join(
        f'<tr><th><a href="#run-{index}">{escape(run.name)}</a></th>'
        + "".join(f"<td>{escape(each[name])}</td>" for name in names)
        + "</tr>"
        for index, (run, each) in enumerate(zip(runs, figures, strict=True), start=1)
    )
    return f'<div class="wide"><table class="runs">{head}{body}</table></div>'


def _compared(run: ReportedRun) -> dict[str, str]:
    result, metrics = run.result, run.result["metrics"]
    return {
        "test accuracy": _percent(metrics.get("test_accuracy")),
        "random one": _percent(metrics.get("random_test_accuracy")),
        "test perplexity": _perplexity(metrics.get("test_perplexity")),
        "in the table": f"{metrics['table_test']:.2f} %" if "table_test" in metrics else "",
        "regret": f"{metrics['table_regret']:.2f}" if "table_regret" in metrics else "",
        "validation": _percent(metrics.get("valid_accuracy")),
        "parameters": f"{metrics['parameters']:,}" if "parameters" in metrics else "",
        "search": duration(result["seconds"]),
        "memory": f"{result['peak_memory_mib']:,.0f} MiB" if result["peak_memory_mib"] else "",
        "method": result["method"],
        "space": result["space"],
    }


def table(run: ReportedRun) -> str:
    """All figures of a run, in HTML."""
    rows = "".join(f"<tr><th>{name}</th><td>{escape(value)}</td></tr>" for name, value in _facts(run).items() if value)
    return f'<div class="wide"><table class="facts">{rows}</table></div>'


def _facts(run: ReportedRun) -> dict[str, str]:
    """Every figure by its name, in the order of the table; empty where a run has none."""
    result, metrics = run.result, run.result["metrics"]
    learned = {name: value for name, value in result["hyperparameters"].items() if name != "schedule"}
    facts = {
        "Method": result["method"],
        "Space": result["space"],
        "Architecture": result["architecture"],
        **_tested(metrics),
        "Test accuracy in the table": "",
        "Stopped early": f"after {metrics['stopped_after']} epochs" if "stopped_after" in metrics else "",
        "Validation accuracy in the search": _percent(metrics.get("valid_accuracy")),
        "Validation perplexity in the search": _perplexity(metrics.get("valid_perplexity")),
        "Size": _size(metrics),
        "Search": f"{result['epochs']} epochs in {duration(result['seconds'])}",
        "Passes": _passes(run),
        "Peak memory": f"{result['peak_memory_mib']:,.0f} MiB" if result["peak_memory_mib"] else "",
        "Augmentation": augmentation(result["policy"]),
        "Learned at the end": ", ".join(f"{name.replace('_', ' ')} {number(value)}" for name, value in learned.items()),
        "Seed": result["seed"],
        "Versions": ", ".join(f"{name} {version}" for name, version in result["versions"].items()),
    }
    if "table_test" in metrics:
        facts["Test accuracy in the table"] = (
            f"{metrics['table_test']:.2f} % on {metrics['table_dataset']}; rank {metrics['table_rank']:,} of "
            f"{metrics['table_size']:,}; {metrics['table_regret']:.2f} below the best; "
            f"random architectures have {metrics['table_random']:.2f} % in the mean"
        )
    if result["images_per_second"]:
        what = "segments of text" if "train_perplexity" in metrics else "train images"
        facts["Search"] += f", {result['images_per_second']:,.0f} {what} per second"
    return {name: str(value) for name, value in facts.items()}


def _tested(metrics: Mapping[str, Any]) -> dict[str, str]:
    facts = {}
    for label, part in (("", ""), (" of a random architecture", "random_")):
        accuracy, epochs = metrics.get(f"{part}test_accuracy"), metrics.get(f"{part}train_epochs")
        facts[f"Test accuracy{label}"] = f"{_percent(accuracy)} after {epochs} epochs" if accuracy is not None else ""
        facts[f"Test perplexity{label}"] = _perplexity(metrics.get(f"{part}test_perplexity"))
    return facts


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"


def _perplexity(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _size(metrics: Mapping[str, Any]) -> str:
    if "parameters" not in metrics:
        return ""
    return f"{metrics['parameters']:,} parameters, {_multiply_adds(metrics['multiply_adds'])}"


def _multiply_adds(count: int) -> str:
    return f"{count / 1e6:,.2f} million multiply-adds" if count >= 1e5 else f"{count:,} multiply-adds"
