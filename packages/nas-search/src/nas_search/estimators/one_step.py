"""One virtual step of the weights' own optimiser."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nas_hypergrad import Hypergradient, Products, Unrolled, double_backward, optimizer_step

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["OneStep"]

_EXACT: Products = double_backward()


@dataclass(frozen=True)
class OneStep:
    """``d L_valid(w', a) / da`` with `w'` the weights after the optimiser's next step on the train batch.

    ``w' = w - lr (momentum b + d L_train(w, a) / dw + decay w)`` (Liu, Simonyan and Yang, "DARTS", ICLR 2019, Eq. 7, with
    the momentum buffer `b` and the weight decay of the released code), at the learning rate of this step; with Nesterov's
    momentum where the optimiser has it. The weights stay where they are.

    Args:
        products: how the second derivative is computed; ``finite_difference()`` is DARTS' central difference (Eq. 8),
            with a perturbation of length 0.01.

    Differs from the paper:
        1. The virtual step does not clip the gradient, as in the released code; a weight step does.
    """

    products: Products = _EXACT

    def at(self, state: "SearchState") -> Hypergradient:
        """See `HypergradientFactory`."""
        assert state.weight_optimizer is not None
        weights = dict(state.require_supernet().named_parameters())
        # The optimiser holds the learning rate of its last step; a step of this point of the run has another.
        step = replace(optimizer_step(state.weight_optimizer, weights), **state.weight_options())  # type: ignore[type-var]
        return Unrolled(step, products=self.products)
