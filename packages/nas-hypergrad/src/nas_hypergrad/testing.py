"""What every estimator keeps to: a conformance check for those of this package and for your own.

Example:
    >>> from nas_hypergrad import Implicit
    >>> check_hypergradient(Implicit(), exact=1e-6)
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nas_hypergrad.errors import ConformanceError
from nas_hypergrad.problem import BilevelProblem, Hypergradient, Variables

__all__ = ["check_hypergradient", "quadratic_problem"]


def quadratic_problem(
    *, direct: bool = True, dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[BilevelProblem, dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """A bilevel problem with a closed-form hypergradient, at its inner minimum.

    ``L_in = w'Hw / 2 - w'C a`` with ``w*(a) = H^-1 C a`` and ``L_out = |w - t|^2 / 2``, with `direct` also ``+ |a|^2``,
    so that ``dL_out / da = C' H^-1 (w* - t) + 2 a``. The eigenvalues of `H` lie in [0.5, 2].

    Args:
        direct: whether the outer loss depends on `a` directly.
        dtype: of all tensors.
        seed: of the draw.

    Returns:
        The problem, inner variables ``{"w": (5,), "b": (1,)}``, outer variables ``{"a": (3,), "unused": (2,)}``, and
        the hypergradient, zeros for ``"unused"``.
    """
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    hessian = (rotation @ torch.diag(torch.linspace(0.5, 2.0, 6, dtype=torch.float64)) @ rotation.T).to(dtype)
    coupling, target, a = (torch.randn(s, generator=generator, dtype=torch.float64) for s in ((6, 3), (6,), (3,)))
    solution = torch.linalg.solve(hessian.double(), coupling @ a)
    truth = coupling.T @ torch.linalg.solve(hessian.double(), solution - target) + (2 * a if direct else 0)
    coupling, target = coupling.to(dtype), target.to(dtype)

    def inner_loss(w: Variables, a: Variables) -> Tensor:
        joined = torch.cat([w["w"], w["b"]])
        return joined @ (hessian @ joined) / 2 - joined @ (coupling @ a["a"])

    def outer_loss(w: Variables, a: Variables) -> Tensor:
        loss = (torch.cat([w["w"], w["b"]]) - target).square().sum() / 2
        return loss + a["a"].square().sum() if direct else loss

    inner = {"w": solution[:5].to(dtype), "b": solution[5:].to(dtype)}
    outer = {"a": a.to(dtype), "unused": torch.zeros(2, dtype=dtype)}
    return (
        BilevelProblem(inner_loss, outer_loss),
        inner,
        outer,
        {"a": truth.to(dtype), "unused": torch.zeros(2).to(dtype)},
    )


def check_hypergradient(
    estimator: Hypergradient, *, exact: float | None = None, dtypes: tuple[torch.dtype, ...] = (torch.float64,)
) -> None:
    """Check that an estimator is a pure function of the right form, and optionally that it is exact.

    It must return one tensor for each outer variable, detached, of its shape and dtype, zeros for one that nothing
    reaches; return the same at a second call, under ``torch.no_grad`` and ``torch.inference_mode``, and for parameters
    in the place of plain tensors; and leave ``.grad``, the values and the random state bit-identical, also when a loss
    raises at one of its evaluations, and also when the losses draw random numbers.

    Args:
        estimator: to check. Step sizes below 1 suit its parts: the Hessians' eigenvalues lie in [0.5, 2].
        exact: the relative error allowed against the closed form; None where the estimator is an approximation.
        dtypes: to check the form in.

    Raises:
        ConformanceError: naming the rule that is broken.
    """
    for dtype in dtypes:
        problem, inner, outer, _ = quadratic_problem(dtype=dtype)
        grads = _quietly(estimator, problem, inner, outer)
        _check_form(grads, outer)
        _check_repeats(estimator, problem, inner, outer, grads)
    if exact is not None:
        for direct in (True, False):
            _check_exact(estimator, direct, exact)
    _check_pure(estimator)
    _check_pure_after_exceptions(estimator)


class _InjectedError(Exception):
    """Raised on purpose inside a loss."""


def _quietly(
    estimator: Hypergradient, problem: BilevelProblem, inner: Variables, outer: Variables
) -> dict[str, Tensor]:
    # What a truncated series warns of is not what is checked here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator(problem, inner, outer)


def _require(condition: bool, rule: str) -> None:
    if not condition:
        raise ConformanceError(rule)


def _check_form(grads: dict[str, Tensor], outer: Variables) -> None:
    _require(grads.keys() == outer.keys(), f"returned keys {sorted(grads)}; expected {sorted(outer)}")
    for name, grad in grads.items():
        like = outer[name]
        _require(grad.shape == like.shape, f"{name!r} has shape {tuple(grad.shape)}; expected {tuple(like.shape)}")
        _require(grad.dtype == like.dtype, f"{name!r} has dtype {grad.dtype}; expected {like.dtype}")
        _require(not grad.requires_grad, f"{name!r} requires grad; expected a detached tensor")
        _require(bool(grad.isfinite().all()), f"{name!r} is not finite: {grad}")
    _require(not bool(grads["unused"].any()), "an outer variable that nothing reaches must get zeros")
    _require(bool(grads["a"].any()), "the hypergradient is zero where the closed form is not")


def _check_repeats(
    estimator: Hypergradient, problem: BilevelProblem, inner: Variables, outer: Variables, grads: dict[str, Tensor]
) -> None:
    parameters = [{name: nn.Parameter(value.clone()) for name, value in group.items()} for group in (inner, outer)]
    again = {"a second call": _quietly(estimator, problem, inner, outer)}
    again["a call with nn.Parameter"] = _quietly(estimator, problem, parameters[0], parameters[1])
    with torch.no_grad():
        again["a call under torch.no_grad()"] = _quietly(estimator, problem, inner, outer)
    with torch.inference_mode():
        again["a call under torch.inference_mode()"] = _quietly(estimator, problem, inner, outer)
    for what, other in again.items():
        same = all(torch.equal(other[name], grad) for name, grad in grads.items())
        _require(same, f"{what} gave another hypergradient than the first")


def _check_exact(estimator: Hypergradient, direct: bool, tolerance: float) -> None:
    problem, inner, outer, truth = quadratic_problem(direct=direct)
    grads = _quietly(estimator, problem, inner, outer)
    error = float((grads["a"] - truth["a"]).norm() / truth["a"].norm())
    where = "with" if direct else "without"
    _require(error <= tolerance, f"relative error {error:.3g} {where} a direct term; expected at most {tolerance:.3g}")


class _Snapshot:
    """The values, gradients and random state that an estimator must leave alone."""

    def __init__(self, *groups: Variables) -> None:
        self._tensors = [(name, value) for group in groups for name, value in group.items()]
        self._values = [value.detach().clone() for _, value in self._tensors]
        self._grads = [torch.full_like(value, 7.0) for _, value in self._tensors]
        for (_, value), grad in zip(self._tensors, self._grads, strict=True):
            value.grad = grad.clone()
        self._random = torch.get_rng_state()

    def check(self, when: str) -> None:
        for (name, value), before, grad in zip(self._tensors, self._values, self._grads, strict=True):
            _require(torch.equal(value, before), f"{name!r} was moved {when}")
            _require(value.grad is not None and torch.equal(value.grad, grad), f".grad of {name!r} was written {when}")
            _require(value.requires_grad, f"requires_grad of {name!r} was switched off {when}")
        _require(torch.equal(torch.get_rng_state(), self._random), f"the global random state was moved {when}")


def _noisy(problem: BilevelProblem, before: Callable[[], None]) -> BilevelProblem:
    """The problem with losses that draw random numbers, and call a function first."""

    def wrapped(loss: Callable[[Variables, Variables], Tensor]) -> Callable[[Variables, Variables], Tensor]:
        def noisy(w: Variables, a: Variables) -> Tensor:
            before()
            return loss(w, a) * (1 + torch.rand(()) / 10)

        return noisy

    return BilevelProblem(wrapped(problem.inner_loss), wrapped(problem.outer_loss))


def _parameters(seed: int = 1) -> tuple[BilevelProblem, dict[str, Tensor], dict[str, Tensor]]:
    problem, inner, outer, _ = quadratic_problem(seed=seed)
    groups = ({name: value.clone().requires_grad_() for name, value in group.items()} for group in (inner, outer))
    leaves = tuple(groups)
    return problem, leaves[0], leaves[1]


def _check_pure(estimator: Hypergradient) -> None:
    problem, inner, outer = _parameters()
    calls: list[None] = []
    snapshot = _Snapshot(inner, outer)
    _quietly(estimator, _noisy(problem, lambda: calls.append(None)), inner, outer)
    _require(bool(calls), "the losses were not called")
    snapshot.check("by a call")


def _check_pure_after_exceptions(estimator: Hypergradient) -> None:
    problem, inner, outer = _parameters()
    calls: list[None] = []
    _quietly(estimator, _noisy(problem, lambda: calls.append(None)), inner, outer)
    # Evaluations spread over the call, the first and the last among them; all would cost the square of their number.
    for last in sorted({1 + round(i * (len(calls) - 1) / 7) for i in range(8)}):
        made: list[None] = []

        def fail(made: list[None] = made, last: int = last) -> None:
            made.append(None)
            if len(made) == last:
                raise _InjectedError

        snapshot = _Snapshot(inner, outer)
        try:
            _quietly(estimator, _noisy(problem, fail), inner, outer)
        except _InjectedError:
            snapshot.check(f"when evaluation {last} of the losses raised")
        else:
            raise ConformanceError(f"an exception at evaluation {last} of the losses was swallowed")
