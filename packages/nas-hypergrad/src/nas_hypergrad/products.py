"""Products with second derivatives of a training loss, in three ways chosen by one option.

A `Products` value makes a `Curvature` at a point; estimators ask the curvature for the gradient, for Hessian products
and for mixed products, and never see how they are computed.

| products | cost of a Hessian product, in gradients | memory | use |
|---|---|---|---|
| `double_backward()` | about 2.6 on a small network, less on small problems | one kept graph | exact; the default |
| `finite_difference()` | 2 | none | networks; operations without second derivative |
| `finite_difference(radius, one_sided=True)` | 1 | two gradients | the cheapest, where its accuracy is enough |
| `gauss_newton(...)` | about 2.3 | one kept graph | positive semi-definite: safe for conjugate gradient |
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from nas_hypergrad.differentiation import (
    check_twice_differentiable,
    differentiate,
    keyed,
    parted,
    reached,
    zero_filled,
)
from nas_hypergrad.errors import ProblemError
from nas_hypergrad.point import Point
from nas_hypergrad.problem import Loss
from nas_hypergrad.settings import check_made
from nas_hypergrad.vectors import Vector

__all__ = [
    "EXACT",
    "Curvature",
    "DoubleBackward",
    "GradientGraph",
    "Products",
    "check_products",
    "check_reached",
    "double_backward",
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


def check_products(products: object) -> None:
    """Raise SettingError unless it is a way to compute second derivatives."""
    check_made("products", products, "a way to compute second derivatives, such as finite_difference()")


@dataclass(frozen=True)
class DoubleBackward:
    """Exact products by differentiating the gradient, whose graph is built once and kept for all products."""

    def __call__(self, loss: Loss, role: str, point: Point) -> "GradientGraph":
        """Build the gradient's graph."""
        return GradientGraph(loss, role, point)


class GradientGraph:
    """The kept graph of a training gradient; freed with this object."""

    def __init__(self, loss: Loss, role: str, point: Point) -> None:
        self._role, self._point = role, point
        value = point.value(loss, role)
        self._value = value.detach()
        grads = differentiate([value], point.moving, role=role, create_graph=True)
        check_reached(grads, role)
        check_twice_differentiable(value, grads.values(), point.inner.values(), role)
        self._grads = grads
        # A gradient that does not depend on anything (a loss linear in that variable) has no second derivative.
        self._curved = {name: grad for name, grad in grads.items() if grad is not None and grad.requires_grad}

    @property
    def value(self) -> float:
        """The loss at the point."""
        return float(self._value)

    def gradient(self) -> Vector:
        """See `Curvature`."""
        grads = {name: None if grad is None else grad.detach() for name, grad in self._grads.items()}
        return zero_filled(grads, self._point.moving)

    def hessian(self, vector: Vector) -> Vector:
        """See `Curvature`."""
        moving = self._point.moving
        return zero_filled(self._product(vector, moving), moving)

    def mixed(self, vector: Vector) -> Vector:
        """See `Curvature`."""
        return reached(self._product(vector, self._point.learned))

    def both(self, vector: Vector) -> tuple[Vector, Vector]:
        """See `Curvature`."""
        inner, outer = self._point.moving, self._point.learned
        grads = self._product(vector, keyed(inner, outer))
        hessian, mixed = parted(grads, inner, outer)
        return zero_filled(hessian, inner), reached(mixed)

    def _product(self, vector: Vector, inputs: Vector) -> dict[str, Tensor | None]:
        vectors = [vector[name] for name in self._curved]
        return differentiate(list(self._curved.values()), inputs, vectors, role=self._role, retain_graph=True)


def check_reached(grads: dict[str, Tensor | None], role: str) -> None:
    """Raise ProblemError if the loss called `role` reaches none of the inner variables."""
    if all(grad is None for grad in grads.values()):
        raise ProblemError(
            f"{role} depends on none of the inner variables {sorted(grads)}: compute it from the dictionary it is "
            "given, for a module with call_module(module, inner, x), not with the module's own parameters."
        )


EXACT: Products = DoubleBackward()  # the default of every estimator

double_backward = DoubleBackward
