"""Hessian products with the generalised Gauss-Newton matrix."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nas_hypergrad.differentiation import differentiate, zero_filled
from nas_hypergrad.errors import ProblemError
from nas_hypergrad.point import Point
from nas_hypergrad.problem import Loss, Variables
from nas_hypergrad.products import GradientGraph
from nas_hypergrad.vectors import Vector

__all__ = ["GaussNewton", "gauss_newton"]


@dataclass(frozen=True)
class GaussNewton:
    """Hessian products with the generalised Gauss-Newton matrix ``J' (d2 loss / d outputs2) J + d2 rest / dw2``.

    It equals the Hessian where the outputs are linear in `w` or fitted exactly, and is positive semi-definite for
    every convex `loss`, so that conjugate gradient meets no negative curvature. Mixed products stay exact.

    Args:
        outputs: ``(inner, outer) -> outputs`` of any shape: the network.
        loss: ``(outputs, outer) -> scalar``, convex in the outputs.
        rest: what the inner loss adds to that, such as weight decay; its exact Hessian is added.

    Raises:
        ProblemError: when called, if ``loss(outputs) + rest`` is not the inner loss, as with another minibatch or a
            weight decay that was left out.
    """

    outputs: Callable[[Variables, Variables], Tensor]
    loss: Callable[[Tensor, Variables], Tensor]
    rest: Loss | None = None

    def __call__(self, loss: Loss, role: str, point: Point) -> "_GaussNewtonCurvature":
        """Build the graphs of the gradient, the outputs and the rest."""
        return _GaussNewtonCurvature(self, loss, role, point)


class _GaussNewtonCurvature:
    """Exact gradient and mixed products, and the Gauss-Newton matrix, linearised when first asked for."""

    def __init__(self, parts: GaussNewton, loss: Loss, role: str, point: Point) -> None:
        self._parts, self._loss, self._role, self._point = parts, loss, role, point
        self._exact = GradientGraph(loss, role, point)

    def gradient(self) -> Vector:
        return self._exact.gradient()

    def hessian(self, vector: Vector) -> Vector:
        product = self._linearised(vector)
        if self._rest is None:
            return product
        rest = self._rest.hessian(vector)
        return {name: value + rest[name] for name, value in product.items()}

    def mixed(self, vector: Vector) -> Vector:
        return self._exact.mixed(vector)

    def both(self, vector: Vector) -> tuple[Vector, Vector]:
        return self.hessian(vector), self._exact.mixed(vector)

    @cached_property
    def _rest(self) -> GradientGraph | None:
        return None if self._parts.rest is None else GradientGraph(self._parts.rest, "rest", self._point)

    @cached_property
    def _linearised(self) -> "_Linearised":
        # Built late, since mixed products on another minibatch never need it.
        linearised = _Linearised(self._parts, self._point)
        parts = linearised.value + (0.0 if self._rest is None else self._rest.value)
        tolerance = 10 * math.sqrt(torch.finfo(next(iter(self._point.inner.values())).dtype).eps)
        if abs(self._exact.value - parts) > tolerance * max(abs(self._exact.value), abs(parts)):
            raise ProblemError(
                f"gauss_newton: loss(outputs) + rest is {parts:.6g}, but {self._role} is {self._exact.value:.6g}; they "
                "must be the same function: check the minibatch, and give terms such as weight decay as rest."
            )
        return linearised


class _Linearised:
    """The kept graphs of the outputs' linearisation and of the loss's gradient at the outputs."""

    def __init__(self, parts: GaussNewton, point: Point) -> None:
        self._moving = point.moving
        self._outputs = point.evaluate(parts.outputs, "outputs")
        if not isinstance(self._outputs, Tensor):
            raise ProblemError(
                f"gauss_newton: outputs returned a {type(self._outputs).__name__}; expected one tensor: join several by torch.cat."
            )
        if not self._outputs.requires_grad:
            raise ProblemError(f"outputs depends on none of the inner variables {sorted(point.inner)}.")
        self._at = self._outputs.detach().requires_grad_()
        value = parts.loss(self._at, dict(point.outer))
        if not isinstance(value, Tensor) or value.numel() != 1:
            given = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise ProblemError(f"gauss_newton: loss returned {given}; expected a scalar tensor: take its mean().")
        self.value = float(value.detach())
        self._slope = differentiate([value], {"z": self._at}, role="loss", create_graph=True)["z"]
        # J' u is linear in u, so differentiating it with respect to u along v gives J v by reverse mode alone.
        self._probe = torch.zeros_like(self._outputs, requires_grad=True)
        pulled = differentiate([self._outputs], self._moving, [self._probe], role="outputs", create_graph=True)
        self._pulled = {name: grad for name, grad in pulled.items() if grad is not None}

    def __call__(self, vector: Vector) -> Vector:
        bent = self._bend(self._push(vector))
        if bent is None:
            return zero_filled(dict.fromkeys(self._moving), self._moving)
        grads = differentiate([self._outputs], self._moving, [bent], role="outputs", retain_graph=True)
        return zero_filled(grads, self._moving)

    def _push(self, vector: Vector) -> Tensor | None:
        """``J vector``, of the outputs' shape."""
        vectors = [vector[name] for name in self._pulled]
        pulled = list(self._pulled.values())
        return differentiate(pulled, {"u": self._probe}, vectors, role="outputs", retain_graph=True)["u"]

    def _bend(self, pushed: Tensor | None) -> Tensor | None:
        """``d2 loss / d outputs2 @ pushed``; None where it vanishes."""
        if pushed is None or self._slope is None or not self._slope.requires_grad:
            return None
        return differentiate([self._slope], {"z": self._at}, [pushed], role="loss", retain_graph=True)["z"]


gauss_newton = GaussNewton
