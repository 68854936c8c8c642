"""Averaging over the ranks of a distributed run: the one hook, ``BilevelProblem(..., reduce=...)``."""

from collections.abc import Callable

import torch
from torch import Tensor, distributed

__all__ = ["average_across_ranks"]


def average_across_ranks(
    group: "distributed.ProcessGroup | None" = None,
) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    """A `reduce` hook that takes the mean over the ranks of a process group, in one communication a call.

    Every rank obtains the hypergradient of the mean of the ranks' losses, bit-identical on all. All ranks must call
    the same estimator with the same inner and outer values.

    Args:
        group: the process group; the default group when None.
    """

    def reduce(vector: dict[str, Tensor]) -> dict[str, Tensor]:
        if not vector:
            return vector
        flat = torch.cat([value.flatten() for value in vector.values()])
        distributed.all_reduce(flat, group=group)
        parts = (flat / distributed.get_world_size(group)).split([value.numel() for value in vector.values()])
        return {
            name: part.view(value.shape).to(value.dtype)
            for (name, value), part in zip(vector.items(), parts, strict=True)
        }

    return reduce
