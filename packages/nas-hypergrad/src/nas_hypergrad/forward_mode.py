"""The forward-mode estimator: exact unrolled hypergradients for few hyper-parameters, in memory flat in the steps."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.autograd import forward_ad

from nas_hypergrad.differentiation import differentiate, zero_filled
from nas_hypergrad.errors import ProblemError
from nas_hypergrad.evaluation import averaged, check_alike, check_response, finite, outer_gradient
from nas_hypergrad.inner_step import InnerStep, check_inner_step
from nas_hypergrad.point import Point, RandomState, isolated
from nas_hypergrad.problem import BilevelProblem, Loss, Variables
from nas_hypergrad.settings import check_count
from nas_hypergrad.unrolled import step_losses
from nas_hypergrad.vectors import Vector, dot

__all__ = ["ForwardMode", "load_forward_mode"]


@cache
def load_forward_mode() -> None:
    """Let torch load, without a word, what its first forward-mode pass needs: that uses torch.jit, deprecated in torch 2.15."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*torch\.jit\.", FutureWarning)
        warnings.filterwarnings("ignore", r".*torch\.jit\.", DeprecationWarning)
        with suppress(RuntimeError), forward_ad.dual_level():  # inside of another one it is loaded already
            forward_ad.make_dual(torch.zeros(()), torch.zeros(()))


@dataclass(frozen=True)
class ForwardMode:
    """``d L_out(w_T(a), a) / da`` as `Unrolled`, with tangents ``dw_t / da_i`` carried along the inner steps.

    Each entry `i` of the outer variables costs one forward-over-reverse pass a step, about 4 gradients; memory holds
    one copy of the variables and the state an entry, whatever the number of steps (Franceschi et al., 2017). With more
    than a handful of entries `Unrolled(..., recompute=True)` is cheaper. Operations must have forward derivatives. PyTorch
    allows one forward mode at a time in a process: call it from one thread, and not inside another.

    Args:
        inner_step: the optimiser, such as ``sgd(lr="lr")``.
        steps: the number of inner steps.

    Example:
        >>> from nas_hypergrad.inner_step import sgd
        >>> problem = BilevelProblem(
        ...     inner_loss=lambda w, a: (w["w"] ** 2).sum() / 2,
        ...     outer_loss=lambda w, a: w["w"].sum(),
        ... )
        >>> ForwardMode(sgd(lr="lr"), steps=2)(problem, {"w": torch.ones(1)}, {"lr": torch.tensor(0.5)})
        {'lr': tensor(-1.)}
    """

    inner_step: InnerStep
    steps: int = 1

    def __post_init__(self) -> None:
        check_inner_step(self.inner_step)
        check_count("steps", self.steps, 1)

    def __call__(self, problem: BilevelProblem, inner: Variables, outer: Variables) -> dict[str, Tensor]:
        """Return the hypergradient.

        Raises:
            ProblemError: a loss is not a scalar or is not reached; an operation has no forward derivative; the
                inner steps do not depend on the outer variables.
            NonFiniteError: the result is not finite.
        """
        losses = step_losses(problem, self.steps)
        load_forward_mode()
        with isolated(problem, inner, outer) as point:
            none: tuple[Vector, Vector] = ({}, {})
            entries = [(name, i) for name, value in point.learned.items() for i in range(value.numel())]
            start = self.inner_step.start(point.moving)
            state = _Tangents(point.moving, start, point.random, dict.fromkeys(entries, none))
            for loss in losses:
                state = _Step(self.inner_step, problem, loss, point)(state)
            vector, direct = outer_gradient(problem, point.at(state.inner))
            total = _contracted(vector, direct, state)
        return finite(total, "the hypergradient")


@dataclass(frozen=True)
class _Tangents:
    """The state of the inner optimisation and, for each outer entry, the tangents of variables and memory."""

    inner: Vector
    memory: Vector
    random: RandomState
    tangents: dict[tuple[str, int], tuple[Vector, Vector]]


def _contracted(vector: Vector, direct: Vector, state: _Tangents) -> Vector:
    """``direct + vector' dw / da``."""
    # A tangent may be zero, as that of a learning rate at a minimum; one that is missing says that nothing responds.
    moved = {entry: tangent for entry, (tangent, _) in state.tangents.items() if tangent}
    check_response({name: direct[name] for name, _ in moved}, direct)
    total = {name: value.flatten().clone() for name, value in direct.items()}
    for (name, i), tangent in moved.items():
        total[name][i] += dot(tangent, {part: vector[part] for part in tangent})
    return {name: value.view(direct[name].shape) for name, value in total.items()}


@dataclass(frozen=True)
class _Step:
    """One inner step of one problem, carried out with tangents."""

    step: InnerStep
    problem: BilevelProblem
    loss: Loss
    point: Point

    def __call__(self, state: _Tangents) -> _Tangents:
        """All tangents one step further."""
        tangents: dict[tuple[str, int], tuple[Vector, Vector]] = {}
        inner, memory, random = state.inner, state.memory, state.random
        for (name, i), before in state.tangents.items():
            value = self.point.outer[name].detach()
            direction = value.new_zeros(value.numel())
            direction[i] = 1.0
            with forward_ad.dual_level():
                outer = {n: v.detach() for n, v in self.point.outer.items()}
                outer[name] = forward_ad.make_dual(value, direction.view(value.shape))
                inner, memory, random = self._dual_step(state, outer, before)
                inner, moved = _unpacked(inner)
                memory, remembered = _unpacked(memory)
            tangents[name, i] = (moved, remembered)
        return _Tangents(inner, memory, random, tangents)

    def _dual_step(
        self, state: _Tangents, outer: Vector, before: tuple[Vector, Vector]
    ) -> tuple[Vector, Vector, RandomState]:
        leaves = {name: value.detach().requires_grad_() for name, value in state.inner.items()}
        here = Point({**self.point.inner, **_dual(leaves, before[0])}, outer, state.random, self.point.frozen)
        with _explained_forward():
            value = here.value(self.loss, "inner_loss")
            random = state.random.again()
            grads = zero_filled(differentiate([value], here.moving, role="inner_loss"), leaves)
        slopes, bends = _unpacked(grads)
        if self.problem.reduce is not None:  # other ranks may have tangents where this one has none
            slopes, bends = averaged(self.problem, slopes), averaged(self.problem, _filled(bends, slopes))
        grads = _dual(slopes, bends)
        with torch.no_grad():
            inner = _dual({name: value.detach() for name, value in leaves.items()}, before[0])
            following, memory = self.step(inner, grads, outer, _dual(state.memory, before[1]))
        check_alike(following, inner, "the inner step")
        return following, memory, random


@contextmanager
def _explained_forward() -> Iterator[None]:
    try:
        yield
    except NotImplementedError as error:
        if "forward" not in str(error):
            raise
        raise ProblemError(
            f"an operation in inner_loss has no forward derivative ({str(error).splitlines()[0]}): use Unrolled."
        ) from error


def _dual(values: Vector, tangents: Vector) -> Vector:
    return {
        name: forward_ad.make_dual(value, tangents[name]) if name in tangents else value
        for name, value in values.items()
    }


def _unpacked(values: Vector) -> tuple[Vector, Vector]:
    pairs = {name: forward_ad.unpack_dual(value) for name, value in values.items()}
    primals = {name: pair.primal.detach() for name, pair in pairs.items()}
    return primals, {name: pair.tangent.detach() for name, pair in pairs.items() if pair.tangent is not None}


def _filled(tangents: Vector, like: Vector) -> Vector:
    return {name: tangents.get(name, torch.zeros_like(value)) for name, value in like.items()}
