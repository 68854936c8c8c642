"""The accuracy of a network on labelled images."""

from collections.abc import Callable

import torch
from torch import Tensor

from nas_search.data import NO_VALIDATION, Examples
from nas_search.errors import ConfigError

__all__ = ["top1"]


def top1(
    classify: Callable[[Tensor], Tensor], examples: Examples, device: torch.device, batch_size: int = 500
) -> float:
    """The share of `examples` whose largest logit is that of their label, in [0, 1]; without gradient.

    Args:
        classify: images ``(batch, channels, height, width)`` as in the data to logits ``(batch, classes)``.
        examples: what is classified.
        device: where `classify` wants them.
        batch_size: the most images classified at once.

    Raises:
        ConfigError: there are no examples.
    """
    if not len(examples.labels):
        raise ConfigError(NO_VALIDATION)
    correct = torch.zeros((), dtype=torch.int64, device=device)
    with torch.no_grad():
        # Batches of equal size: a last one of few images would have poor batch statistics.
        for index in torch.arange(len(examples.labels)).chunk(-(-len(examples.labels) // batch_size)):
            images, labels = examples.take(index).to(device)
            correct += (classify(images).argmax(dim=1) == labels).sum()
    return int(correct) / len(examples.labels)
