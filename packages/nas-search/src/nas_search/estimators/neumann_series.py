"""Implicit differentiation with a truncated Neumann series."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_hypergrad import Hypergradient, Implicit, Products, double_backward, neumann
from nas_search.errors import ConfigError

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["NeumannSeries"]

_EXACT: Products = double_backward()


@dataclass(frozen=True)
class NeumannSeries:
    """``d L_valid / da - gamma (d2 L_train / da dw) sum_{k=0..K} (I - gamma H)^k d L_valid / dw`` (thesis, Eq. 6.8).

    `H` is the Hessian of the training loss in the weights, and gamma the learning rate of this step.

    Args:
        terms: K, the number of terms after the first; each costs a product with `H`.
        products: how second derivatives are computed.
        halvings: how often gamma may be halved in a step where the series grows because gamma is too large.

    Differs from the paper:
        1. `H` is that of the cross-entropy, without the weight decay, as in the released code; momentum and clipping of
           the real steps do not enter either.

    Raises:
        ConfigError: fewer than 0 terms, or halvings.
    """

    terms: int = 2
    products: Products = _EXACT
    halvings: int = 0

    def __post_init__(self) -> None:
        if self.terms < 0:
            raise ConfigError(f"terms is {self.terms}; expected 0 or more terms of the Neumann series after the first.")
        if self.halvings < 0:
            raise ConfigError(f"halvings is {self.halvings}; expected 0 or more.")

    def at(self, state: "SearchState") -> Hypergradient:
        """See `HypergradientFactory`."""
        assert state.learning_rate is not None
        return Implicit(neumann(self.terms, state.learning_rate, halvings=self.halvings), products=self.products)
