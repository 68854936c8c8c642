"""The interface of a supernet: one network that holds the weights of every architecture of a space."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

__all__ = ["Drawn", "SharedOperation", "Supernet", "connected"]

Drawn: TypeAlias = Sequence[Sequence[int]]


class Supernet(nn.Module, ABC):
    """Evaluates any mixture of the architectures of a space with shared weights.

    Batch normalisation uses the statistics of the batch in training and in evaluation alike, and has no running
    statistics: those of one path would be wrong for every other, and extra passes leave no trace in the module.
    """

    @abstractmethod
    def forward(self, images: Tensor, weights: Tensor, drawn: Drawn | None = None) -> Tensor:
        """Return the logits of a batch under the given choice weights.

        Args:
            images: ``(batch, channels, height, width)`` float; a space that reads tokens has ``(batch, time)`` int64.
            weights: ``(choices, options)``; each option's output is multiplied by its weight.
            drawn: for a sampled path, the options of each row that are evaluated at all, as integers on the host, so
                that a step on an accelerator needs no synchronisation to know which operations to run. Gradients
                reach the weights of the drawn options alone. All options are evaluated when it is left out.

        Returns:
            Logits ``(batch, classes)``; ``(batch, classes, time)`` where every token has a label of its own, as
            ``torch.nn.functional.cross_entropy`` takes them.
        """


@dataclass(frozen=True)
class SharedOperation:
    """An operation of one architecture, where it stands in the supernet.

    Args:
        choices: the ``(row, option)`` whose weights, multiplied, are its factor.
        share: the part of that factor that is this operation's, where an architecture takes one several times.
        state: its weights, by the names that they have in the module of the architecture's own network.
    """

    choices: tuple[tuple[int, int], ...]
    state: Mapping[str, Tensor]
    share: float = 1.0


def connected(logits: Tensor, weights: Tensor) -> Tensor:
    """The same logits, made to depend on the weights: where a drawn path reads none of them, their gradient is zero then.

    Args:
        logits: ``(batch, classes)``, or with a time behind.
        weights: ``(choices, options)``, finite.
    """
    return logits + 0 * weights.sum().to(logits)
