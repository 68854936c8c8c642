"""The random streams of a run: the seed of each, and how examples are split by one."""

import hashlib

import torch
from torch import Tensor

__all__ = ["split_indices", "stream_seed"]


def split_indices(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Split examples in two so that every class is split in the same proportion.

    Args:
        labels: ``(n,)``.
        fraction: share of the first part, in (0, 1].
        seed: of the permutation of each class.

    Returns:
        The indices of both parts, each in increasing order.
    """
    generator = torch.Generator().manual_seed(stream_seed(seed, "split"))
    first = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        shuffled = members[torch.randperm(len(members), generator=generator)]
        first[shuffled[: round(fraction * len(members))]] = True
    return first.nonzero()[:, 0], (~first).nonzero()[:, 0]


def stream_seed(seed: int, *names: object) -> int:
    """The seed of one of a run's independent streams of random numbers."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
