"""Terms that are added to the outer loss."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nas_hypergrad import Variables
from nas_search.roles import Schedule
from nas_search.schedules import Constant

__all__ = ["Entropy", "entropy"]


@dataclass(frozen=True)
class Entropy:
    """``coefficient * mean entropy`` of the rows, in nats: a positive coefficient drives the weights to one-hot.

    Args:
        coefficient: over the run.
    """

    coefficient: Schedule = Constant(0.0)

    def __call__(self, weights: Tensor, progress: float, outer: Variables) -> Tensor:
        """See `Regularizer`."""
        return self.coefficient(progress) * entropy(weights)


def entropy(weights: Tensor) -> Tensor:
    """Mean over the rows of ``- sum w log w``, in nats; `weights` ``(choices, options)`` with rows that sum to 1."""
    # xlogy is 0 at 0, where the product would be NaN.
    return -torch.special.xlogy(weights, weights).sum(dim=1).mean()
