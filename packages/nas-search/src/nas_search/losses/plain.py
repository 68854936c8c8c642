"""The loss of the drawn weights alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from nas_search.roles import ChoiceWeights

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["Plain"]


@dataclass(frozen=True)
class Plain:
    """The mean cross-entropy of the batch under the drawn weights."""

    def __call__(
        self, evaluate: Callable[[ChoiceWeights], Tensor], choice: ChoiceWeights, state: "SearchState"
    ) -> Tensor:
        """See `SupernetLoss`."""
        return evaluate(choice)
