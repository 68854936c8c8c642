"""Means over an epoch that do not make an accelerator wait at every step."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from nas_search.distributed import mean

__all__ = ["Meter", "perplexities"]


class Meter:
    """Collects scalars step by step, and averages them.

    Scalars stay on their device until `flush`, which copies all of them at once.
    """

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self._pending: list[tuple[int, str, Tensor]] = []

    def add(self, step: int, figures: Mapping[str, Tensor]) -> None:
        """Note the figures of a step."""
        self._pending.extend((step, name, value.detach()) for name, value in figures.items())

    def flush(self) -> int | None:
        """Average what was noted, also over the ranks; the first step that has a figure which is not finite, None if all are."""
        if not self._pending:
            return None
        values = mean(torch.stack([value.float() for _, _, value in self._pending])).tolist()
        bad = None
        for (step, name, _), value in zip(self._pending, values, strict=True):
            if not math.isfinite(value) and bad is None:
                bad = step
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1
        self._pending.clear()
        return bad

    def means(self) -> dict[str, float]:
        """The mean of each figure over the steps that had it."""
        return {name: total / self.counts[name] for name, total in self.sums.items()}

    def state_dict(self) -> dict[str, dict[str, float] | dict[str, int]]:
        """What `load_state_dict` needs to continue."""
        return {"sums": dict(self.sums), "counts": dict(self.counts)}

    def load_state_dict(self, state: Mapping[str, Mapping[str, float]]) -> None:
        """Continue where `state_dict` was taken."""
        self.sums = dict(state["sums"])
        self.counts = {name: int(count) for name, count in state["counts"].items()}


def perplexities(means: Mapping[str, float]) -> dict[str, float]:
    """``exp(loss)`` of every mean cross-entropy per token ``*_loss``, as ``*_perplexity``.

    Example:
        >>> perplexities({"valid_loss": 0.0, "valid_accuracy": 1.0})
        {'valid_perplexity': 1.0}
    """
    # A loss of 700 nats is a broken model's; the exponential of more is no number.
    return {
        name.replace("_loss", "_perplexity"): math.exp(min(loss, 700.0))
        for name, loss in means.items()
        if name.endswith("_loss")
    }
