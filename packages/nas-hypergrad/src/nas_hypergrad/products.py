"""Products with second derivatives of a training loss, in three ways chosen by one option.

A `Products` value makes a `Curvature` at a point; estimators ask the curvature for the gradient, for Hessian products
and for mixed products, and never see how they are computed.

| products | cost of a Hessian product, in gradients | memory | use |
|---|---|---|---|
| `double_backward()` | about 2.6 on a small network, less on small problems | one kept graph | exact; the default |
| `finite_difference()` | 2 | none | networks; operations without second derivative |
| `gauss_newton(...)` | about 2.3 | one kept graph | positive semi-definite: safe for conjugate gradient |
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from nas_hypergrad.errors import NonFiniteError, ProblemError
from nas_hypergrad.evaluation import (
    Point,
    check_twice_differentiable,
    differentiate,
    keyed,
    parted,
    reached,
    zero_filled,
)
from nas_hypergrad.problem import Loss, Variables
from nas_hypergrad.settings import check_positive
from nas_hypergrad.vectors import Vector, norm

__all__ = [
    "EXACT",
    "Curvature",
    "DoubleBackward",
    "FiniteDifference",
    "GaussNewton",
    "Products",
    "double_backward",
    "finite_difference",
    "gauss_newton",
]


class Curvature(Protocol):
    """First and second derivatives of one training loss `L` at one point."""

    def gradient(self) -> Vector:
        """``dL / dw``, keyed like the inner variables that are no constants."""
        ...

    def hessian(self, vector: Vector) -> Vector:
        """``d2L / dw2 @ vector``."""
        ...

    def mixed(self, vector: Vector) -> Vector:
        """``d2L / (da dw) @ vector`` for the outer variables that the gradient depends on; others are left out."""
        ...

    def both(self, vector: Vector) -> tuple[Vector, Vector]:
        """``(hessian(vector), mixed(vector))`` for less than the price of the two."""
        ...


class Products(Protocol):
    """How second derivatives are computed: a value that makes a `Curvature`."""

    def __call__(self, loss: Loss, role: str, point: Point) -> Curvature:
        """The curvature of `loss`, called `role` in messages, at `point`."""
        ...


@dataclass(frozen=True)
class DoubleBackward:
    """Exact products by differentiating the gradient, whose graph is built once and kept for all products."""

    def __call__(self, loss: Loss, role: str, point: Point) -> "_Graph":
        """Build the gradient's graph."""
        return _Graph(loss, role, point)


class _Graph:
    """The kept graph of a training gradient; freed with this object."""

    def __init__(self, loss: Loss, role: str, point: Point) -> None:
        self._role, self._point = role, point
        value = point.value(loss, role)
        self._value = value.detach()
        grads = differentiate([value], point.moving, role=role, create_graph=True)
        _check_reached(grads, role)
        check_twice_differentiable(value, grads.values(), role)
        self._grads = grads
        # A gradient that does not depend on anything (a loss linear in that variable) has no second derivative.
        self._curved = {name: grad for name, grad in grads.items() if grad is not None and grad.requires_grad}

    @property
    def value(self) -> float:
        return float(self._value)

    def gradient(self) -> Vector:
        grads = {name: None if grad is None else grad.detach() for name, grad in self._grads.items()}
        return zero_filled(grads, self._point.moving)

    def hessian(self, vector: Vector) -> Vector:
        moving = self._point.moving
        return zero_filled(self._product(vector, moving), moving)

    def mixed(self, vector: Vector) -> Vector:
        return reached(self._product(vector, self._point.learned))

    def both(self, vector: Vector) -> tuple[Vector, Vector]:
        inner, outer = self._point.moving, self._point.learned
        grads = self._product(vector, keyed(inner, outer))
        hessian, mixed = parted(grads, inner, outer)
        return zero_filled(hessian, inner), reached(mixed)

    def _product(self, vector: Vector, inputs: Vector) -> dict[str, Tensor | None]:
        vectors = [vector[name] for name in self._curved]
        return differentiate(list(self._curved.values()), inputs, vectors, role=self._role, retain_graph=True)


@dataclass(frozen=True)
class FiniteDifference:
    """Products by a central difference of gradients along the vector: DARTS' approximation.

    ``H v = [g(w + r v) - g(w - r v)] / 2r`` with ``r = radius / |v|``; the mixed product likewise with ``dL/da``. The
    points are formed as new tensors, so the weights cannot drift; both evaluations see the same random draw.

    Args:
        radius: the length of the perturbation; 0.01 as in DARTS and AdversarialNAS. None takes
            ``eps^(1/3) max(1, |w|)`` with the machine precision `eps` of the variables, which balances truncation
            and rounding and is the choice for half precision and for accuracy in double precision.

    Differs from the released codes:
        1. DARTS, archai and iDARTS perturb the weights in place and move them back, which leaves a rounding drift
           at every step, and the perturbation itself after an exception.
    """

    radius: float | None = 0.01

    def __post_init__(self) -> None:
        if self.radius is not None:
            check_positive("radius", self.radius)

    def __call__(self, loss: Loss, role: str, point: Point) -> "_Difference":
        """Remember the point; nothing is evaluated yet."""
        return _Difference(loss, role, point, self.radius)


class _Difference:
    """Central differences at a point; keeps no graph."""

    def __init__(self, loss: Loss, role: str, point: Point, radius: float | None) -> None:
        self._loss, self._role, self._point = loss, role, point
        self._radius = radius if radius is not None else self._automatic_radius()

    def _automatic_radius(self) -> float:
        moving = self._point.moving
        precision = max(torch.finfo(value.dtype).eps for value in moving.values())
        return float(precision ** (1 / 3)) * max(1.0, float(norm(moving).detach()))

    def gradient(self) -> Vector:
        moving = self._point.moving
        value = self._point.value(self._loss, self._role)
        grads = differentiate([value], moving, role=self._role)
        _check_reached(grads, self._role)
        return zero_filled(grads, moving)

    def hessian(self, vector: Vector) -> Vector:
        return self._difference(vector, want_inner=True, want_outer=False)[0]

    def mixed(self, vector: Vector) -> Vector:
        return self._difference(vector, want_inner=False, want_outer=True)[1]

    def both(self, vector: Vector) -> tuple[Vector, Vector]:
        return self._difference(vector, want_inner=True, want_outer=True)

    def _difference(self, vector: Vector, *, want_inner: bool, want_outer: bool) -> tuple[Vector, Vector]:
        length = float(norm(vector))
        if not math.isfinite(length):
            raise NonFiniteError(f"the vector to multiply with the Hessian of {self._role} is NaN or infinite.")
        # Along a vector of zeros any step will do; the quotient is exactly zero.
        step = self._radius / (length or 1.0)
        plus = self._gradients(vector, step, want_inner, want_outer)
        minus = self._gradients(vector, -step, want_inner, want_outer)
        hessian = _quotient(plus[0], minus[0], 2 * step)
        return zero_filled({name: hessian.get(name) for name in vector}, vector), _quotient(plus[1], minus[1], 2 * step)

    def _gradients(
        self, vector: Vector, step: float, want_inner: bool, want_outer: bool
    ) -> tuple[dict[str, Tensor | None], dict[str, Tensor | None]]:
        with torch.no_grad():
            names = list(vector)
            base = [self._point.inner[name] for name in names]
            moved = torch._foreach_add(base, [vector[name] for name in names], alpha=step)
        point = self._point.at(dict(zip(names, moved, strict=True)))
        if not want_inner:
            # Constants ask for no weight gradients, which would nearly double the cost of the pass.
            point = Point({n: v.detach() for n, v in point.inner.items()}, point.outer, point.random)
        value = point.value(self._loss, self._role, may_be_constant=not want_inner)
        if not value.requires_grad:
            return {}, {}
        inner, outer = point.moving if want_inner else {}, point.learned if want_outer else {}
        grads = differentiate([value], keyed(inner, outer), role=self._role)
        return parted(grads, inner, outer)


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
        self._exact = _Graph(loss, role, point)

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
    def _rest(self) -> _Graph | None:
        return None if self._parts.rest is None else _Graph(self._parts.rest, "rest", self._point)

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
        point.random.restore()
        self._outputs = parts.outputs(dict(point.inner), dict(point.outer))
        self._at = self._outputs.detach().requires_grad_()
        value = parts.loss(self._at, dict(point.outer))
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


EXACT: Products = DoubleBackward()  # the default of every estimator

double_backward = DoubleBackward
finite_difference = FiniteDifference
gauss_newton = GaussNewton


def _quotient(plus: dict[str, Tensor | None], minus: dict[str, Tensor | None], width: float) -> Vector:
    low = reached(minus)
    return {name: (value - low[name]) / width for name, value in reached(plus).items() if name in low}


def _check_reached(grads: dict[str, Tensor | None], role: str) -> None:
    if all(grad is None for grad in grads.values()):
        raise ProblemError(
            f"{role} depends on none of the inner variables {sorted(grads)}: compute it from the dictionary it is "
            "given, for a module with call_module(module, inner, x), not with the module's own parameters."
        )
