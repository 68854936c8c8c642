"""What was asked and what was found, in sentences, and how numbers are written."""

from collections.abc import Mapping
from typing import Any

from nas_search.reports.remarks import trained_alike

__all__ = ["asked", "found", "number", "trained_like"]


def asked(result: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """What the run was to do.

    Args:
        result: the content of ``result.json``.
        config: that of ``config.toml``; empty for a search that was not made from the command line.
    """
    data = f" for {config['data'].partition(':')[0]}" if "data" in config else ""
    text = f"The method {result['method']} was to search the space {result['space']}{data} "
    text += f"in {config.get('epochs', result['epochs'])} epochs"
    if config.get("train_epochs", 0) > 0:
        text += f", {config['train_epochs']} more for the training of what it finds, if it does not train it itself"
    return f"{text}; seed {result['seed']}."


def found(result: Mapping[str, Any]) -> str:
    """What came out, beside what it is to be compared with."""
    metrics, parts = result["metrics"], []
    if "test_perplexity" in metrics:
        text = f"The network that was found has a test perplexity of {metrics['test_perplexity']:.2f}"
        if "random_test_perplexity" in metrics:
            text += f"; a random architecture, {trained_like(metrics)}, {metrics['random_test_perplexity']:.2f}"
        parts.append(text)
    elif "test_accuracy" in metrics:
        which = ", as trained in the search," if metrics.get("trained_in_search") else ""
        share = f"{100 * metrics['test_accuracy']:.2f} % of the test images{of_data(metrics)}"
        text = f"The network that was found{which} classifies {share} correctly"
        if "random_test_accuracy" in metrics:
            text += f"; a random architecture, {trained_like(metrics)}, {100 * metrics['random_test_accuracy']:.2f} %"
        parts.append(text)
    if "table_test" in metrics:
        parts.append(
            f"The table gives it {metrics['table_test']:.2f} %, rank {metrics['table_rank']:,} of {metrics['table_size']:,}, "
            f"{metrics['table_regret']:.2f} below the best"
        )
    if not parts:
        parts.append(f"It found {result['architecture']}, which has not been trained yet")
    took = f"The search took {result['seconds']:.1f} s"
    if result["peak_memory_mib"]:
        took += f" and at most {result['peak_memory_mib']:,.0f} MiB"
    return ". ".join([*parts, took]) + "."


def of_data(metrics: Mapping[str, Any]) -> str:
    """Of which data, where these are others than the run's."""
    return f" of {metrics['train_data']}" if "train_data" in metrics else ""


def trained_like(metrics: Mapping[str, Any]) -> str:
    """How the random architecture was trained beside the one that was found."""
    if trained_alike(metrics):
        return "trained alike"
    epochs = metrics.get("random_train_epochs")
    otherwise = " otherwise" if metrics.get("train_epochs") == epochs and "trained_in_search" not in metrics else ""
    return f"trained{otherwise} for {epochs} epochs"


def number(value: float) -> str:
    """Three digits of a value, without an exponent where it can be avoided.

    Example:
        >>> [number(value) for value in (0.0, 0.123456, 21.96, 12345.6, 0.000031)]
        ['0', '0.123', '22', '12,346', '3.1e-5']
    """
    if value == 0:
        return "0"  # and not -0
    if abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 1e7 else _short(f"{value:.2e}")
    return _short(f"{value:.2e}") if abs(value) < 1e-3 else f"{value:.3g}"


def _short(text: str) -> str:
    """Without the zeros of ``3.10e-05``."""
    digits, _, power = text.partition("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(power)}"
