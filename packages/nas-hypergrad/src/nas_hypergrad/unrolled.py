"""The unrolled estimator: reverse mode through inner optimisation steps."""

import math
from dataclasses import KW_ONLY, dataclass, replace

import torch
from torch import Tensor

from nas_hypergrad.differentiation import check_twice_differentiable, differentiate, reached, zero_filled
from nas_hypergrad.errors import ProblemError, SettingError
from nas_hypergrad.evaluation import averaged, averaged_response, check_alike, finite, outer_gradient
from nas_hypergrad.inner_step import InnerStep, check_inner_step
from nas_hypergrad.point import Point, RandomState, isolated
from nas_hypergrad.problem import BilevelProblem, Loss, Variables
from nas_hypergrad.products import EXACT, DoubleBackward, Products, check_products
from nas_hypergrad.settings import check_count
from nas_hypergrad.vectors import Vector

__all__ = ["Unrolled", "step_losses"]


@dataclass(frozen=True)
class Unrolled:
    """``d L_out(w_T(a), a) / da`` with `w_T` reached from the given `w` by T inner steps (thesis Eq. 6.4 and 6.5).

    One step of `sgd` is second-order DARTS. ``truncate=K`` differentiates through the last K steps only; at a
    stationary point that equals ``Implicit(neumann(K - 1, lr))`` (thesis Corollary 2). The steps are virtual: the
    given variables stay where they are.

    Args:
        inner_step: the optimiser, such as ``sgd(lr=0.1)``.
        steps: T.
        truncate: K, all steps when None.
        recompute: walk back step by step and compute each step anew, from copies of the variables and the state at
            about ``2 sqrt(K)`` of the steps, instead of keeping the graph of all: memory hardly grows with K, for
            one or two gradients more a step.
        products: how the second derivatives of each step are computed; anything but double backward walks back step
            by step too. ``Unrolled(sgd(lr), products=finite_difference())`` is DARTS' classic central difference.

    Example:
        >>> from nas_hypergrad.inner_step import sgd
        >>> problem = BilevelProblem(
        ...     inner_loss=lambda w, a: ((w["w"] - a["a"]) ** 2).sum() / 2,
        ...     outer_loss=lambda w, a: w["w"].sum(),
        ... )
        >>> Unrolled(sgd(lr=0.1), steps=2)(problem, {"w": torch.zeros(1)}, {"a": torch.ones(1)})
        {'a': tensor([0.1900])}
    """

    inner_step: InnerStep
    steps: int = 1
    truncate: int | None = None
    _: KW_ONLY
    recompute: bool = False
    products: Products = EXACT

    def __post_init__(self) -> None:
        check_inner_step(self.inner_step)
        check_products(self.products)
        check_count("steps", self.steps, 1)
        if self.truncate is not None:
            check_count("truncate", self.truncate, 1)
            if self.truncate > self.steps:
                raise SettingError(f"truncate is {self.truncate}, more than steps={self.steps}; expected at most that.")

    def __call__(self, problem: BilevelProblem, inner: Variables, outer: Variables) -> dict[str, Tensor]:
        """Return the hypergradient.

        Raises:
            ProblemError: a loss is not a scalar or is not reached; ``problem.step_losses`` are not T; nothing that
                the inner steps use depends on the outer variables.
            NonFiniteError: the result is not finite.
        """
        losses = step_losses(problem, self.steps)
        # A reduction over ranks is no part of a graph, so it too needs the walk step by step.
        stepwise = self.recompute or problem.reduce is not None or not isinstance(self.products, DoubleBackward)
        with isolated(problem, inner, outer) as point:
            walk = _Walk(self.inner_step, self.products, problem, losses, point)
            state = _State(point.moving, self.inner_step.start(point.moving), point.random)
            first = self.steps - (self.truncate or self.steps)
            start, _ = walk.forward(state, 0, first)
            total = walk.step_by_step(start, first) if stepwise else walk.through_graph(start, first)
        return finite(total, "the hypergradient")


@dataclass(frozen=True)
class _State:
    """Where the inner optimisation is: variables, optimiser state, and the random state of the next step."""

    inner: Vector
    memory: Vector
    random: RandomState


@dataclass(frozen=True)
class _Walk:
    """Forward and backward through the inner steps of one problem; step `t` uses ``losses[t]``."""

    step: InnerStep
    products: Products
    problem: BilevelProblem
    losses: tuple[Loss, ...]
    point: Point

    def through_graph(self, state: _State, first: int) -> Vector:
        """Back-propagate through one graph of all steps from `first` on: the fastest, memory grows with them."""
        inner, memory = self.point.at(state.inner).moving, state.memory
        for t in range(first, len(self.losses)):
            here = replace(self.point, inner={**self.point.inner, **inner}, random=state.random)
            value = here.value(self.losses[t], "inner_loss")
            random = state.random.again()
            grads = differentiate([value], inner, role="inner_loss", create_graph=True)
            check_twice_differentiable(value, grads.values(), inner.values(), "inner_loss")
            state = self._advance(_State(inner, memory, random), zero_filled(grads, inner))
            inner, memory = state.inner, state.memory
        vector, direct = outer_gradient(self.problem, self.point.at(inner))
        moved = {name: value for name, value in inner.items() if value.requires_grad}
        vectors = [vector[name] for name in moved]
        role = "the unrolled inner steps"
        response = differentiate(list(moved.values()), self.point.learned, vectors, role=role)
        return _sum(direct, averaged_response(self.problem, reached(response), direct))

    def step_by_step(self, start: _State, first: int) -> Vector:
        """Back-propagate one step at a time, from states that are computed anew from about sqrt(K) kept ones."""
        stride = math.isqrt(len(self.losses) - first - 1) + 1
        bounds = list(range(first, len(self.losses), stride))
        marks = [start]
        for low in bounds[1:]:
            marks.append(self.forward(marks[-1], low - stride, low)[0])
        end, records = self.forward(marks[-1], bounds[-1], len(self.losses), record=True)
        vector, direct = outer_gradient(self.problem, self.point.at(end.inner))
        adjoint = _Adjoint(vector, {})
        total: Vector = {}
        for low, mark in reversed(list(zip(bounds, marks, strict=True))):
            if low != bounds[-1]:
                records = self.forward(mark, low, low + stride, record=True)[1]
            for t in reversed(range(low, low + len(records))):
                adjoint, part = self._pull(*records.pop(), adjoint, t, last=t == first)
                total = _sum_reached(total, part)
        return _sum(direct, averaged_response(self.problem, total, direct))

    def forward(
        self, state: _State, first: int, last: int, *, record: bool = False
    ) -> tuple[_State, list[tuple[_State, Vector]]]:
        """The state before step `last` from that before step `first`, and on request each state with its gradient."""
        records = []
        for t in range(first, last):
            here = self.point.at(state.inner, state.random)
            value = here.value(self.losses[t], "inner_loss")
            random = state.random.again()
            grads = zero_filled(differentiate([value], here.moving, role="inner_loss"), here.moving)
            grads = averaged(self.problem, grads)
            if record:
                records.append((state, grads))
            with torch.no_grad():
                state = self._advance(_State(state.inner, state.memory, random), grads)
        return state, records

    def _advance(self, state: _State, grads: Vector) -> _State:
        inner, memory = self.step(state.inner, grads, self.point.outer, state.memory)
        check_alike(inner, state.inner, "the inner step")
        return _State(inner, memory, state.random)

    def _pull(
        self, state: _State, grads: Vector, adjoint: "_Adjoint", t: int, *, last: bool
    ) -> tuple["_Adjoint", Vector]:
        """The adjoint before step `t` from that after it, and the step's part of the hypergradient on this rank."""
        # With w' = step(w, g(w, a), a, m): the step itself is differentiated with g held as a variable, and what
        # flows into g is multiplied with the second derivatives of the loss.
        here = self.point.at(state.inner, state.random)
        groups = {"w": here.moving, "g": _leaves(grads), "m": _leaves(state.memory), "a": self.point.learned}
        memory = {**state.memory, **groups["m"]}
        inner, after = self.step(groups["w"], groups["g"], self.point.outer, memory)
        outputs = [(inner[n], v) for n, v in adjoint.inner.items()] + [(after[n], v) for n, v in adjoint.memory.items()]
        outputs = [(output, vector) for output, vector in outputs if output.requires_grad]
        flat = {f"{group}.{name}": value for group, values in groups.items() for name, value in values.items()}
        pulled = differentiate([o for o, _ in outputs], flat, [v for _, v in outputs], role="the inner step")
        parts = {group: reached({n: pulled[f"{group}.{n}"] for n in values}) for group, values in groups.items()}
        through = zero_filled({name: parts["g"].get(name) for name in grads}, grads)
        curvature = self.products(self.losses[t], "inner_loss", here)
        if last:
            return _Adjoint({}, {}), _sum_reached(parts["a"], curvature.mixed(through))
        bent, mixed = curvature.both(through)
        back = averaged(self.problem, bent)
        before = {name: back[name] + parts["w"][name] if name in parts["w"] else back[name] for name in back}
        return _Adjoint(before, parts["m"]), _sum_reached(parts["a"], mixed)


@dataclass(frozen=True)
class _Adjoint:
    """The derivative of the outer loss with respect to a state."""

    inner: Vector
    memory: Vector


def step_losses(problem: BilevelProblem, steps: int) -> tuple[Loss, ...]:
    """The training loss of each of the inner steps.

    Raises:
        ProblemError: the problem gives another number of them.
    """
    if problem.step_losses and len(problem.step_losses) != steps:
        raise ProblemError(
            f"the problem has {len(problem.step_losses)} step_losses, the estimator takes {steps} steps: give one loss "
            "a step, or none to use inner_loss at every step."
        )
    return tuple(problem.step_losses) or (problem.inner_loss,) * steps


def _leaves(values: Vector) -> Vector:
    # Integer entries count steps and are no variables.
    return {name: value.detach().requires_grad_() for name, value in values.items() if value.is_floating_point()}


def _sum_reached(left: Vector, right: Vector) -> Vector:
    return {**left, **{name: left[name] + value if name in left else value for name, value in right.items()}}


def _sum(direct: Vector, response: Vector) -> Vector:
    return {name: value + response[name] if name in response else value for name, value in direct.items()}
