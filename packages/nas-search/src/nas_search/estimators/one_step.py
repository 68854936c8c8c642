"""One virtual step of the weights' own optimiser."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nas_hypergrad import Hypergradient, InnerStep, Products, Unrolled, Variables, double_backward, optimizer_step

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["OneStep"]

_EXACT: Products = double_backward()


@dataclass(frozen=True)
class OneStep:
    """``d L_valid(w', a) / da`` with `w'` the weights after the optimiser's next step on the train batch.

    ``w' = w - lr (momentum b + d L_train(w, a) / dw + decay w)`` (Liu, Simonyan and Yang, "DARTS", ICLR 2019, Eq. 7, with
    the momentum buffer `b` and the weight decay of the released code), at the learning rate of this step; with Nesterov's
    momentum where the optimiser has it. Where a weight step clips the norm of its gradient, so does this one, and its
    derivative is that of the clipped step. The weights stay where they are.

    Args:
        products: how the second derivative is computed; ``finite_difference()`` is DARTS' central difference (Eq. 8),
            with a perturbation of length 0.01.

    Differs from the paper:
        1. The virtual step of the released code does not clip the gradient, although its weight step does: at a gradient
           longer than the limit (5 for images, 0.25 for text) it looks ahead to weights that are never reached.
    """

    products: Products = _EXACT

    def at(self, state: "SearchState") -> Hypergradient:
        """See `HypergradientFactory`."""
        assert state.weight_optimizer is not None
        weights = dict(state.require_supernet().named_parameters())
        # The optimiser holds the settings of its last step; a step of this point of the run has others.
        step = replace(optimizer_step(state.weight_optimizer, weights), **state.weight_options())  # type: ignore[type-var]
        assert state.method.weights is not None
        limit = state.method.weights.clip
        return Unrolled(step if limit is None else _Clipped(step, limit), products=self.products)


@dataclass(frozen=True)
class _Clipped:
    """A step along ``gradient min(1, limit / (|gradient| + 1e-6))``, as `torch.nn.utils.clip_grad_norm_` has it."""

    step: InnerStep
    limit: float

    def start(self, inner: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `InnerStep`."""
        return self.step.start(inner)

    def __call__(
        self, inner: dict[str, Tensor], gradient: dict[str, Tensor], outer: Variables, state: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """See `InnerStep`."""
        norm = torch.stack([torch.linalg.vector_norm(value) for value in gradient.values()]).norm()
        # The limit is rarely exceeded on images; then nothing is added to the graph.
        if norm + 1e-6 > self.limit:
            factor = self.limit / (norm + 1e-6)
            gradient = {name: factor * value for name, value in gradient.items()}
        return self.step(inner, gradient, outer, state)
