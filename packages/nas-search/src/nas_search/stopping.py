"""Rules that end a search before its last epoch, as functions of the records of its epochs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Never"]


@dataclass(frozen=True)
class Never:
    """The search runs to its last epoch."""

    def __call__(self, history: Sequence[Mapping[str, Any]]) -> bool:
        """See `StopRule`."""
        return False
