"""What was asked and what was found, in sentences."""

from collections.abc import Mapping
from typing import Any

from nas_search.reports.remarks import trained_alike

__all__ = ["asked", "found", "trained_like"]


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
    if "test_accuracy" in metrics:
        which = ", as trained in the search," if metrics.get("trained_in_search") else ""
        text = f"The network that was found{which} classifies {100 * metrics['test_accuracy']:.2f} % of the test images correctly"
        if "random_test_accuracy" in metrics:
            text += f"; a random architecture, {trained_like(metrics)}, {100 * metrics['random_test_accuracy']:.2f} %"
        parts.append(text)
    if "test_perplexity" in metrics:
        parts.append(f"The network that was found has a test perplexity of {metrics['test_perplexity']:.2f}")
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


def trained_like(metrics: Mapping[str, Any]) -> str:
    """How the random architecture was trained beside the one that was found."""
    return "trained alike" if trained_alike(metrics) else f"trained for {metrics.get('random_train_epochs')} epochs"
