"""The bilevel problem: what is given to every estimator."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from nas_hypergrad.errors import ProblemError

__all__ = ["BilevelProblem", "Hypergradient", "Loss", "Variables", "blend"]

Variables: TypeAlias = Mapping[str, Tensor]
Loss: TypeAlias = Callable[[Variables, Variables], Tensor]


@dataclass(frozen=True)
class BilevelProblem:
    """Minimise ``outer_loss(w*(a), a)`` over `a`, where ``w*(a)`` minimises ``inner_loss(w, a)`` over `w`.

    Both losses are called as ``loss(inner, outer)`` with dictionaries of tensors, and return a scalar. They must be
    functions of their arguments alone: an estimator calls them several times and at several points. Draws from the
    global random state are allowed (dropout): every evaluation of one call starts from the state at entry, so that
    all see the same draw, and the state is put back at the end.

    Args:
        inner_loss: the training loss; its Hessian is the one that implicit estimators invert.
        outer_loss: the validation loss.
        mixed_loss: the training loss on another minibatch, for the mixed product ``d2 inner_loss / (da dw) v`` of
            implicit estimators alone; `inner_loss` when left out.
        step_losses: the training losses of the successive inner steps of unrolled and forward-mode estimators, one a
            step; `inner_loss` at every step when left out.
        generators: random generators that the losses draw from; treated like the global random state.
        reduce: averages a dictionary of tensors over the ranks of a distributed run (`average_across_ranks`). It is
            applied to every gradient and product of the losses, so that each rank obtains the hypergradient of the
            losses' mean over the ranks.
    """

    inner_loss: Loss
    outer_loss: Loss
    mixed_loss: Loss | None = None
    step_losses: Sequence[Loss] = ()
    generators: Sequence[torch.Generator] = ()
    reduce: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None


class Hypergradient(Protocol):
    """What every estimator is: a pure function from a problem and a point to the gradient of the outer loss.

    It writes no ``.grad`` and leaves the variables and the random state bit-identical, also after an exception. Threads
    may call estimators side by side where no loss draws: the global random state belongs to the process, and each call
    puts it back to where it was at its own entry.
    """

    def __call__(self, problem: BilevelProblem, inner: Variables, outer: Variables) -> dict[str, Tensor]:
        """The estimate of ``d outer_loss(w*(a), a) / d a`` at ``w = inner``, ``a = outer``; one tensor per outer key.

        An ``nn.Parameter`` that requires no grad is a constant and gets zeros; plain tensors are variables whatever
        their flag says. Variables that the losses do not reach get zeros.
        """
        ...


def blend(*terms: tuple[Loss, float | Tensor]) -> Loss:
    """A weighted sum of losses as one loss: the mixed-level gradient as an outer loss.

    ``blend((outer_loss, 1.0), (inner_loss, chi))`` gives AllegroNAS Eq. 4, ``grad_a (L_val + chi L_train)(w*(a), a)``,
    with any estimator.

    Raises:
        ProblemError: no term is given, or, when called, a loss is not a scalar.

    Example:
        >>> loss = blend((lambda w, a: w["w"].sum(), 1.0), (lambda w, a: a["a"].sum(), 0.1))
        >>> round(loss({"w": torch.ones(2)}, {"a": torch.ones(2)}).item(), 4)
        2.2
    """
    if not terms:
        raise ProblemError("blend was given no term; expected at least one (loss, weight).")

    def blended(inner: Variables, outer: Variables) -> Tensor:
        values = [weight * loss(inner, outer) for loss, weight in terms]
        others = [type(value).__name__ for value in values if not isinstance(value, Tensor)]
        if others:
            raise ProblemError(
                f"losses to blend returned {', '.join(others)}; expected scalar tensors, without .item()."
            )
        shapes = [tuple(value.shape) for value in values if value.numel() != 1]
        if shapes:
            raise ProblemError(f"losses to blend have the shapes {shapes}; expected scalars: take their mean().")
        return torch.stack([value.reshape(()) for value in values]).sum()

    return blended
