"""What somebody who knows these methods would say when he looks at a result."""

from collections.abc import Mapping
from typing import Any

__all__ = ["remarks", "trained_alike"]


def remarks(metrics: Mapping[str, Any]) -> list[str]:
    """Sentences on what is wrong with a result, each with what to do about it; usually none.

    Args:
        metrics: those of ``result.json``.

    Example:
        >>> remarks({"entropy": 1.609, "uniform_entropy": 1.6094})[0][:24]
        'The search is undecided:'
    """
    found = []
    if "uniform_entropy" in metrics and metrics["entropy"] > 0.99 * metrics["uniform_entropy"]:
        found.append(
            f"The search is undecided: the entropy of its choice weights is {metrics['entropy']:.4f}, that of uniform ones "
            f"{metrics['uniform_entropy']:.4f}. Search longer, or raise architecture_learning_rate."
        )
    if metrics.get("skip_share", 0.0) > 0.5:
        found.append(
            f"The search may have collapsed: {100 * metrics['skip_share']:.0f} % of the operations found are skip connections. "
            f"Search for fewer epochs, or try another method."
        )
    if metrics.get("unconverged", 0.0) > 0.5:
        found.append(
            f"The inverse Hessian did not converge in {100 * metrics['unconverged']:.0f} % of the last epoch's steps: its "
            f"curvature is negative, or the learning rate too large for it. Lower learning_rate, take fewer terms, or set halvings."
        )
    if isinstance(empty := metrics.get("empty_classes"), list) and empty:
        names = ", ".join(map(str, empty[:5])) + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
        found.append(
            f"No train image has the label {names}: such outputs of the network are never right. Labels are to count the classes "
            "from 0, without gaps."
        )
    if "table_test" in metrics and metrics["table_test"] < metrics.get("table_random", 0.0):
        found.append(
            f"The table gives what was found {metrics['table_test']:.2f} %, and the mean of all architectures is "
            f"{metrics['table_random']:.2f} %: drawing one at random would have been better. Search longer, or try another method."
        )
    if trained_alike(metrics) and metrics.get("random_test_accuracy", 0.0) > metrics.get("test_accuracy", 1.0):
        found.append(
            "A random architecture, trained alike, is better on the test part: the search is worth nothing here, or the "
            "data tells architectures too little."
        )
    return found


def trained_alike(metrics: Mapping[str, Any]) -> bool:
    """Whether the random architecture had the training of the one that was found."""
    if "train_data" in metrics:  # the random one has been trained on the data of the run
        return False
    same = all(metrics.get(f"train_{name}") == metrics.get(f"random_train_{name}") for name in ("epochs", "recipe"))
    return same and not metrics.get("trained_in_search", False)
