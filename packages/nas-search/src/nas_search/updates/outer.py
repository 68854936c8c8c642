"""The outer step: a step of what is learned, along the hypergradient."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from nas_hypergrad import BilevelProblem, ConvergenceWarning, Hypergradient, Implicit, Variables
from nas_hypergrad import NonFiniteError as NonFiniteVector
from nas_search.errors import ConfigError, NonFiniteError
from nas_search.objective import Objective
from nas_search.optimizers import apply_step
from nas_search.roles import ChoiceWeights, HypergradientFactory
from nas_search.run_state import check_positive

if TYPE_CHECKING:
    from nas_search.batches import Batch
    from nas_search.state import SearchState

__all__ = ["USES", "OuterStep", "differentiable_choice", "hypergradient_at"]

# What `nas_search.compatibility` looks for, so that no part of a method is silently left unused.
USES = frozenset({"hypergradient", "outer_loss", "regularizers", "outer", "validation"})


@dataclass(frozen=True)
class OuterStep:
    """One optimiser step of the outer variables along the hypergradient that the method's estimator gives.

    With several samples along the mean over as many draws of the relaxation, taken one after the other (DAAS, Eq. 9):
    memory is that of one.

    Args:
        samples: how many.
    """

    samples: int = 1

    def __post_init__(self) -> None:
        check_positive(samples=self.samples)

    uses: ClassVar[frozenset[str]] = USES

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report ``valid_loss`` and ``valid_accuracy`` of the last evaluation of the outer loss.

        With implicit differentiation also ``unconverged``: 1 where the series grew or the solve stopped early, else 0; its
        mean is the share of such steps, in place of a warning for each of them.

        Raises:
            NonFiniteError: the hypergradient became NaN or infinite; the message says where.
        """
        outer = state.outer_parameters()
        _require_outer(state)
        assert state.outer_optimizer is not None
        inner = dict(state.require_supernet().named_parameters())
        state.outer_optimizer.zero_grad()
        for _ in range(self.samples):
            grads, figures = hypergradient_at(state, Objective(state, batch), inner, outer)
            for name, parameter in outer.items():
                share = grads[name] / self.samples
                parameter.grad = share if parameter.grad is None else parameter.grad + share
        # Estimators average over the ranks themselves, by `BilevelProblem.reduce`.
        apply_step(state.outer_optimizer, state.method.outer, state.progress, averaged=True)
        return figures

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: there is nothing to learn in the outer problem, or a relaxation without a derivative.
        """
        _require_outer(state)
        differentiable_choice(state)


def differentiable_choice(state: "SearchState") -> ChoiceWeights | None:
    """What a step that differentiates the relaxation would draw; a relaxation that has no derivative refuses."""
    relaxation = state.relaxation
    if relaxation is None:
        return None
    with state.unchanged(), torch.enable_grad():
        return relaxation(relaxation.noise(state.generator), state.progress)


def _require_outer(state: "SearchState") -> None:
    if state.outer_optimizer is None:
        raise ConfigError(f"method {state.method.name!r} has an OuterStep, but nothing to learn in the outer problem.")


def hypergradient_at(
    state: "SearchState", objective: Objective, inner: Variables, outer: Variables
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What the method's estimator says at these variables, and the figures of the step."""
    estimator = state.method.hypergradient
    hypergradient = estimator.at(state) if isinstance(estimator, HypergradientFactory) else estimator
    try:
        grads, converged = _estimate(hypergradient, objective.problem, inner, outer)
    except NonFiniteVector as error:
        at = f"epoch {state.epoch + 1}, step {state.step + 1} of the {state.name}"
        raise NonFiniteError(f"in {at}: {error} {state.remedy}") from error
    _check_shapes(grads, outer, state)
    if not isinstance(hypergradient, Implicit):
        return grads, dict(objective.figures)
    unconverged = objective.figures["valid_loss"].new_tensor(float(not converged))
    return grads, {**objective.figures, "unconverged": unconverged}


def _check_shapes(grads: object, outer: Variables, state: "SearchState") -> None:
    found = {name: _form(value) for name, value in grads.items()} if isinstance(grads, Mapping) else _form(grads)
    expected = {name: _form(value) for name, value in outer.items()}
    if found != expected:
        raise ConfigError(
            f"the hypergradient of method {state.method.name!r} gave {found!r:.200}; expected a dictionary with a tensor for each "
            f"outer variable, of its shape and type: {expected!r:.200}."
        )


def _form(value: object) -> object:
    return (tuple(value.shape), value.dtype) if isinstance(value, Tensor) else type(value).__name__


def _estimate(
    hypergradient: Hypergradient, problem: BilevelProblem, inner: Variables, outer: Variables
) -> tuple[dict[str, Tensor], bool]:
    """The hypergradient, and whether it came without a `ConvergenceWarning`; other warnings are passed on."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        grads = hypergradient(problem, inner, outer)
    others = [warning for warning in caught if not issubclass(warning.category, ConvergenceWarning)]
    for warning in others:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return grads, len(others) == len(caught)
