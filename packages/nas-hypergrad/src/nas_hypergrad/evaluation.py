"""What estimators have in common: the outer gradient, means over ranks, and checks of what parts return."""

from collections.abc import Mapping

from torch import Tensor

from nas_hypergrad.differentiation import differentiate, keyed, own, parted, zero_filled
from nas_hypergrad.errors import NonFiniteError, ProblemError
from nas_hypergrad.point import Point
from nas_hypergrad.problem import BilevelProblem
from nas_hypergrad.vectors import Vector, is_finite

__all__ = ["averaged", "averaged_response", "check_alike", "check_response", "finite", "outer_gradient"]


def outer_gradient(problem: BilevelProblem, point: Point) -> tuple[Vector, Vector]:
    """``(d outer_loss / d w, d outer_loss / d a)`` at a point, averaged over ranks; zeros where not reached.

    Raises:
        ProblemError: the outer loss depends on no inner variable, so that there is no response to differentiate.
    """
    value = point.value(problem.outer_loss, "outer_loss")
    inner = point.moving
    grads = differentiate([value], keyed(inner, point.learned), role="outer_loss")
    response, direct = parted(grads, inner, point.outer)
    if all(grad is None for grad in response.values()):
        raise ProblemError(
            f"outer_loss depends on none of the inner variables {sorted(inner)}, so nothing flows through the inner "
            "problem: compute it from the dictionary it is given, or use FirstOrder."
        )
    return averaged(problem, zero_filled(response, inner)), averaged(problem, own(zero_filled(direct, point.outer)))


def averaged(problem: BilevelProblem, vector: Vector) -> Vector:
    """The vector's mean over ranks where the problem has a `reduce` hook.

    Raises:
        ProblemError: the hook returned other keys, shapes or dtypes.
    """
    if problem.reduce is None:
        return vector
    reduced = problem.reduce(vector)
    check_alike(reduced, vector, "problem.reduce")
    return reduced


def averaged_response(problem: BilevelProblem, response: Vector, outer: Vector) -> Vector:
    """The mean over ranks of the response's part of the hypergradient, for the outer variables in `outer`.

    Raises:
        ProblemError: nothing responds on this rank.
    """
    check_response(response, outer)
    if problem.reduce is None:
        return response
    # Sampled paths reach other variables on other ranks, and all ranks must send tensors of the same sizes.
    return averaged(problem, zero_filled({name: response.get(name) for name in outer}, outer))


def check_alike(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], role: str) -> None:
    """Raise ProblemError naming the difference unless both have the same keys, shapes and dtypes."""
    if given.keys() != expected.keys():
        missing, surplus = sorted(expected.keys() - given.keys()), sorted(given.keys() - expected.keys())
        raise ProblemError(
            f"{role} gave a dictionary whose keys differ: missing {missing}, not expected {surplus}. "
            f"Return one tensor for each of {sorted(expected)}."
        )
    for name, like in expected.items():
        value = given[name]
        if value.shape != like.shape or value.dtype != like.dtype:
            raise ProblemError(
                f"{role} gave {name!r} of shape {tuple(value.shape)} and {value.dtype}; expected shape "
                f"{tuple(like.shape)} and {like.dtype}, which broadcasting with another variable may have changed."
            )


def check_response(response: Vector, outer: Vector) -> None:
    """Raise ProblemError unless `response`, the outer variables that the inner ones respond to, has any."""
    if not response:
        raise ProblemError(
            f"the inner variables respond to none of the outer variables {sorted(outer)}: the gradient of inner_loss "
            "does not depend on them. Use FirstOrder, or let the inner loss (or the inner step) depend on them."
        )


def finite(vector: Vector, what: str) -> Vector:
    """The vector itself, checked.

    Raises:
        NonFiniteError: an entry is NaN or infinite.
    """
    if not is_finite(vector):
        names = [name for name, value in vector.items() if not bool(value.isfinite().all())]
        raise NonFiniteError(f"{what} is NaN or infinite for {names}: check the losses there, or lower the step size.")
    return vector
