"""What recovers the codes of `SparseCode` during a search, and ends it when none of them changes any more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from nas_search.errors import ConfigError
from nas_search.relaxations import SparseCode

if TYPE_CHECKING:
    from nas_search.state import Batch, SearchState

__all__ = ["AllFrozen", "RecoverCodes"]


@dataclass(frozen=True)
class RecoverCodes:
    """At the end of every epoch, solve for the sparse codes of the learned measurements; the last update of a method.

    Args:
        freeze: the distance at or below which a node's codes are frozen; None for never.
    """

    freeze: float | None = None

    uses: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report ``frozen``, the share of the nodes whose codes are frozen, once an epoch.

        Raises:
            ConfigError: the method has no sparse codes.
            ConvergenceError: they were not found.
        """
        if not isinstance(state.relaxation, SparseCode):
            raise ConfigError(f"method {state.method.name!r} recovers codes; give it the relaxation SparseCode.")
        if state.step < state.steps - 1:
            return {}
        state.relaxation.recover(self.freeze)
        return {"frozen": state.relaxation.frozen.float().mean()}


@dataclass(frozen=True)
class AllFrozen:
    """End the search when the codes of all nodes are frozen: the architecture cannot change any more."""

    def __call__(self, history: Sequence[Mapping[str, Any]]) -> bool:
        """See `StopRule`."""
        return bool(history) and history[-1].get("frozen") == 1.0
