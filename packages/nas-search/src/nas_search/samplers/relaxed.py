"""Train what the relaxation says."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from nas_search.errors import ConfigError
from nas_search.roles import ChoiceWeights

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["Relaxed"]


@dataclass(frozen=True)
class Relaxed:
    """The weights of the method's relaxation: the mixture of DARTS, the drawn path of GDAS."""

    def __call__(self, state: "SearchState") -> ChoiceWeights:
        """See `Sampler`."""
        if state.relaxation is None:
            raise ConfigError(f"method {state.method.name!r} samples from its relaxation, but has none.")
        with torch.no_grad():
            return state.relaxation(state.relaxation.noise(state.generator), state.progress)
