"""Novelty: how far an architecture is from those that are known (Lehman and Stanley, 2011; thesis Eq. 2.4 and 3.5)."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from nas_search.errors import ConfigError

__all__ = ["most_novel", "novelties", "novelty"]

T = TypeVar("T")


def novelty(distances: Sequence[float], neighbors: int) -> float:
    """The mean of the `neighbors` smallest distances; of all where there are less; infinite without any.

    Example:
        >>> novelty([3.0, 1.0, 2.0], 2)
        1.5

    Raises:
        ConfigError: less than one neighbour.
    """
    if neighbors < 1:
        raise ConfigError(f"{neighbors} neighbours; novelty needs 1 or more.")
    nearest = sorted(distances)[:neighbors]
    return sum(nearest) / len(nearest) if nearest else float("inf")


def most_novel(candidates: Sequence[T], archive: Sequence[T], distance: Callable[[T, T], float], neighbors: int) -> T:
    """The candidate of the largest novelty with respect to the archive; the first of equals.

    Args:
        candidates: at least one.
        archive: what they are compared with.
        distance: of two of them.
        neighbors: see `novelty`.
    """
    return max(candidates, key=lambda each: novelty([distance(each, other) for other in archive], neighbors))


def novelties(points: Tensor, archive: Tensor, neighbors: int) -> Tensor:
    """The novelty of many points at once, by their Euclidean distance (thesis Eq. 2.4), ``(points,)``.

    Args:
        points: ``(points, dimensions)``.
        archive: ``(members, dimensions)``, at least one.
        neighbors: see `novelty`.

    Raises:
        ConfigError: less than one neighbour.
    """
    if neighbors < 1:
        raise ConfigError(f"{neighbors} neighbours; novelty needs 1 or more.")
    # The expansion of the square that is faster loses what little differs in float32.
    distances = torch.cdist(points, archive, compute_mode="donot_use_mm_for_euclid_dist")
    return distances.topk(min(neighbors, len(archive)), dim=1, largest=False).values.mean(dim=1)
