"""Novelty: how far an architecture is from those that are known (Lehman and Stanley, 2011; thesis Eq. 2.4 and 3.5)."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from nas_search.errors import ConfigError

__all__ = ["most_novel", "novelty"]

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
