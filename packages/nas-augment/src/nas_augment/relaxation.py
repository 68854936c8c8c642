"""What is relaxed of a draw: continuous levels and gates, which the soft path is differentiable in."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nas_augment.errors import PolicyError

__all__ = ["Relaxation"]


@dataclass(frozen=True, eq=False)
class Relaxation:
    """Numbers that take the place of a draw's levels and of its applied or not, for each image and operation.

    The output of an operation `T` on `x` is weighed by the gate, ``x + gate (T(x) - x)``: a relaxed Bernoulli gate, the
    straight-through weight of the operation that was chosen, or the product of both. The derivative by the gate is
    ``<gradient, T(x) - x>``, also where the gate is 0, so that every operation is computed for every image.

    Args:
        level: ``(batch, count)`` float in [0, 1]: 0 the first level of the space, 1 the last; None takes those drawn.
        gate: ``(batch, count)`` float in [0, 1]; None takes what was drawn, 0 or 1.

    Raises:
        PolicyError: both are None, or one is not floats in [0, 1] of such a shape.
    """

    level: Tensor | None = None
    gate: Tensor | None = None

    def __post_init__(self) -> None:
        if self.level is None and self.gate is None:
            raise PolicyError("a relaxation needs levels or gates; both are None.")
        for name, tensor in (("level", self.level), ("gate", self.gate)):
            if tensor is None:
                continue
            if tensor.ndim != 2 or not tensor.is_floating_point():
                raise PolicyError(f"{name} is {tensor.dtype} {tuple(tensor.shape)}; expected floats (batch, count).")
            low, high = (float(each) for each in tensor.detach().aminmax()) if tensor.numel() else (0.0, 1.0)
            if not (low >= 0 and high <= 1):
                raise PolicyError(
                    f"{name} of a relaxation ranges from {low} to {high}; expected [0, 1]: 0 is the first level of the "
                    "space (gate: off), 1 the last (gate: on). Squash parameters by a sigmoid, or clamp them."
                )

    def map(self, function: Callable[[Tensor], Tensor]) -> "Relaxation":
        """The relaxation with every tensor replaced, such as by a selection of images."""
        return Relaxation(*(None if each is None else function(each) for each in (self.level, self.gate)))

    def check(self, shape: torch.Size) -> None:
        """Refuse a relaxation of another draw.

        Raises:
            PolicyError: its tensors are not of the ``(batch, count)`` of the draw.
        """
        for name, tensor in (("level", self.level), ("gate", self.gate)):
            if tensor is not None and tensor.shape != shape:
                raise PolicyError(f"{name} of the relaxation is {tuple(tensor.shape)}; the draw is {tuple(shape)}.")
