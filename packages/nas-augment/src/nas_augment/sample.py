"""The record of what was drawn."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["PolicySample"]


@dataclass(frozen=True)
class PolicySample:
    """What was drawn for each image of a batch; applying it again gives the same images.

    Args:
        draws: one tensor ``(batch, numbers)`` of uniform numbers in [0, 1) for each stage of the policy.
    """

    draws: tuple[Tensor, ...]
    batch: int

    def __len__(self) -> int:
        """The number of images it was drawn for."""
        return self.batch
