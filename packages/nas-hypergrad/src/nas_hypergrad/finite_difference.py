"""Products with second derivatives by differences of gradients."""

import math
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from nas_hypergrad.differentiation import differentiate, keyed, parted, reached, zero_filled
from nas_hypergrad.errors import NonFiniteError
from nas_hypergrad.point import Point
from nas_hypergrad.problem import Loss
from nas_hypergrad.products import check_reached
from nas_hypergrad.settings import check_positive
from nas_hypergrad.vectors import Vector, norm

__all__ = ["FiniteDifference", "finite_difference"]


@dataclass(frozen=True)
class FiniteDifference:
    """Products by a difference of gradients along the vector; the central one is DARTS' approximation.

    ``H v = [g(w + r v) - g(w - r v)] / 2r`` with ``r = radius / |v|``, or one-sided ``[g(w + r v) - g(w)] / r``; the
    mixed product likewise with ``dL/da``. The points are formed as new tensors, so the weights cannot drift; all
    evaluations see the same random draw.

    Args:
        radius: the length of the perturbation; 0.01 as in DARTS and AdversarialNAS. None balances truncation and
            rounding with the machine precision `eps` of the variables, under autocast that of its dtype: ``eps^(1/3)
            max(1, |w|)``, one-sided ``eps^(1/2) max(1, |w|)``. It is the choice for half precision, autocast, and for
            accuracy in double precision.
        one_sided: one gradient a product instead of two. The error is of first order in the radius instead of second,
            so it wants a smaller radius, and rounding is felt sooner.

    Differs from the released codes:
        1. DARTS, archai and iDARTS perturb the weights in place and move them back, which leaves a rounding drift
           at every step, and the perturbation itself after an exception.
    """

    radius: float | None = 0.01
    _: KW_ONLY
    one_sided: bool = False

    def __post_init__(self) -> None:
        if self.radius is not None:
            check_positive("radius", self.radius)

    def __call__(self, loss: Loss, role: str, point: Point) -> "_Difference":
        """Remember the point; nothing is evaluated yet."""
        radius = _automatic_radius(point, 1 / 2 if self.one_sided else 1 / 3) if self.radius is None else self.radius
        return _Difference(loss, role, point, radius, self.one_sided)


def _automatic_radius(point: Point, power: float) -> float:
    precision = max(torch.finfo(_computed_in(value)).eps for value in point.moving.values())
    return float(precision**power) * max(1.0, float(norm(point.moving).detach()))


def _computed_in(value: Tensor) -> torch.dtype:
    """The dtype in which the gradient is rounded: under autocast that of its products, whatever the variables have."""
    device = value.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else value.dtype


class _Difference:
    """Differences at a point; keeps no graph, and one-sided ones keep the gradients there."""

    def __init__(self, loss: Loss, role: str, point: Point, radius: float, one_sided: bool) -> None:
        self._loss, self._role, self._point = loss, role, point
        self._radius, self._one_sided = radius, one_sided
        self._here: tuple[dict[str, Tensor | None], dict[str, Tensor | None]] = ({}, {})

    def gradient(self) -> Vector:
        moving = self._point.moving
        value = self._point.value(self._loss, self._role)
        grads = differentiate([value], moving, role=self._role)
        check_reached(grads, self._role)
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
        plus = self._gradients(self._moved(vector, step), want_inner, want_outer)
        if self._one_sided:
            minus, width = self._gradients_here(want_inner, want_outer), step
        else:
            minus, width = self._gradients(self._moved(vector, -step), want_inner, want_outer), 2 * step
        hessian = _quotient(plus[0], minus[0], width)
        return zero_filled({name: hessian.get(name) for name in vector}, vector), _quotient(plus[1], minus[1], width)

    def _moved(self, vector: Vector, step: float) -> Point:
        with torch.no_grad():
            names = list(vector)
            base = [self._point.inner[name] for name in names]
            moved = torch._foreach_add(base, [vector[name] for name in names], alpha=step)
        return self._point.at(dict(zip(names, moved, strict=True)))

    def _gradients_here(
        self, want_inner: bool, want_outer: bool
    ) -> tuple[dict[str, Tensor | None], dict[str, Tensor | None]]:
        # All products share them; what was not asked for before is added.
        missing = want_inner and not self._here[0], want_outer and not self._here[1]
        if any(missing):
            found = self._gradients(self._point, *missing)
            self._here = found[0] or self._here[0], found[1] or self._here[1]
        return self._here

    def _gradients(
        self, point: Point, want_inner: bool, want_outer: bool
    ) -> tuple[dict[str, Tensor | None], dict[str, Tensor | None]]:
        if not want_inner:
            # Constants ask for no weight gradients, which would nearly double the cost of the pass.
            point = Point({n: v.detach() for n, v in point.inner.items()}, point.outer, point.random)
        value = point.value(self._loss, self._role, may_be_constant=not want_inner)
        if not value.requires_grad:
            return {}, {}
        inner, outer = point.moving if want_inner else {}, point.learned if want_outer else {}
        grads = differentiate([value], keyed(inner, outer), role=self._role)
        return parted(grads, inner, outer)


finite_difference = FiniteDifference


def _quotient(plus: dict[str, Tensor | None], minus: dict[str, Tensor | None], width: float) -> Vector:
    low = reached(minus)
    return {name: (value - low[name]) / width for name, value in reached(plus).items() if name in low}
