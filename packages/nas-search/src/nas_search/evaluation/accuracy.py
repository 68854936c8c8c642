"""The accuracy of a network on labelled images, and its perplexity on text."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nas_search.data import NO_VALIDATION, Examples
from nas_search.errors import ConfigError
from nas_search.objective import cross_entropy

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["perplexity", "require_validation", "top1"]

_IMAGES, _TOKENS = 500, 2000
"""The most labels of a batch: the logits of a token are as many as the words of the vocabulary."""


def require_validation(state: "SearchState") -> None:
    """Refuse a search without validation images, which an evaluator needs.

    Raises:
        ConfigError: there are none.
    """
    if not len(state.valid_examples.labels):
        raise ConfigError(NO_VALIDATION)


def top1(
    classify: Callable[[Tensor], Tensor],
    examples: Examples | Iterable[Examples],
    device: torch.device,
    batch_size: int | None = None,
) -> float:
    """The share of labels that have the largest logit, in [0, 1]; without gradient.

    Args:
        classify: images ``(batch, channels, height, width)`` as in the data to logits ``(batch, classes)``, or tokens
            ``(batch, time)`` to ``(batch, classes, time)``.
        examples: what is classified; or batches of it, of what is not whole in memory.
        device: where `classify` wants them.
        batch_size: the most examples classified at once; 500 images, or 2,000 tokens, when left out.

    Raises:
        ConfigError: there are no examples.
    """
    correct, count = torch.zeros((), dtype=torch.int64, device=device), 0
    with torch.no_grad():
        for images, labels in _batches(examples, device, batch_size):
            correct += (classify(images).argmax(dim=1) == labels).sum()
            count += labels.numel()
    if not count:
        raise ConfigError(NO_VALIDATION)
    return int(correct) / count


def perplexity(
    classify: Callable[[Tensor], Tensor], examples: Examples, device: torch.device, batch_size: int | None = None
) -> float:
    """``exp`` of the mean cross-entropy per label; 1 is perfect, the number of classes is guessing. Without gradient.

    Args:
        classify: as in `top1`.
        examples: what is classified.
        device: where `classify` wants them.
        batch_size: as in `top1`.
    """
    total = torch.zeros((), dtype=torch.float64, device=device)
    with torch.no_grad():
        for images, labels in _batches(examples, device, batch_size):
            total += cross_entropy(classify(images), labels, reduction="sum")
    return math.exp(min(float(total) / examples.labels.numel(), 700.0))


def _batches(
    examples: Examples | Iterable[Examples], device: torch.device, batch_size: int | None
) -> Iterator[Examples]:
    """Batches of equal size, give or take one: a last one of few images would have poor batch statistics."""
    if not isinstance(examples, Examples):
        for batch in examples:
            yield batch.to(device)
        return
    count = len(examples.labels)
    if not count:
        return
    if batch_size is None:
        positions = examples.labels[0].numel()
        batch_size = _IMAGES if positions == 1 else max(2, _TOKENS // positions)
    for index in torch.arange(count).tensor_split(-(-count // batch_size)):
        yield examples.take(index).to(device)
