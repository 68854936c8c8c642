"""What estimators have in common: the outer gradient, means over ranks, and checks of what parts return."""

from collections.abc import Mapping

from torch import Tensor

from nas_hypergrad.differentiation import differentiate, keyed, parted, zero_filled
from nas_hypergrad.errors import NonFiniteError, ProblemError
from nas_hypergrad.point import Point
from nas_hypergrad.problem import BilevelProblem
from nas_hypergrad.vectors import Vector, is_finite

__all__ = ["averaged", "check_keys", "check_response", "finite", "outer_gradient"]


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
    return averaged(problem, zero_filled(response, inner)), averaged(problem, zero_filled(direct, point.outer))


def averaged(problem: BilevelProblem, vector: Vector) -> Vector:
    """The vector's mean over ranks where the problem has a `reduce` hook.

    Raises:
        ProblemError: the hook returned other keys.
    """
    if problem.reduce is None:
        return vector
    reduced = problem.reduce(vector)
    check_keys(reduced, vector, "problem.reduce")
    return reduced


def check_keys(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], role: str) -> None:
    """Raise ProblemError naming the difference unless both have the same keys."""
    if given.keys() != expected.keys():
        missing, surplus = sorted(expected.keys() - given.keys()), sorted(given.keys() - expected.keys())
        raise ProblemError(
            f"{role} gave a dictionary whose keys differ: missing {missing}, not expected {surplus}. "
            f"Return one tensor for each of {sorted(expected)}."
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
