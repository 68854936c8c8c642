"""What one step of a search is made of: a weight step, a step of the outer variables, a black-box evaluation."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_hypergrad import BilevelProblem, ConvergenceWarning, Hypergradient, Implicit, Variables
from nas_hypergrad import NonFiniteError as NonFiniteVector
from nas_search.errors import ConfigError, NonFiniteError
from nas_search.objective import Objective, accuracy
from nas_search.optimizers import apply_step
from nas_search.roles import ChoiceWeights, Evaluator, HypergradientFactory, Update

if TYPE_CHECKING:
    from nas_search.state import Batch, SearchState

__all__ = ["EvaluateCandidate", "OnFreshBatches", "OuterStep", "WeightStep"]


@dataclass(frozen=True)
class WeightStep:
    """One optimiser step of the supernet's weights on an augmented train batch, under the weights that the sampler draws."""

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report ``train_loss``, ``train_accuracy`` under the sampled weights, and ``gradient_norm``."""
        supernet, optimizer, settings = state.require_supernet(), state.weight_optimizer, state.method.weights
        assert optimizer is not None
        assert settings is not None
        choice = state.method.sampler(state)
        labels = batch.train.labels
        with torch.no_grad():
            images = state.normalize(state.policy(batch.train.images, generator=state.generator).images)
        figures: dict[str, Tensor] = {}

        def evaluate(choice: ChoiceWeights) -> Tensor:
            logits = supernet(images, *choice)
            figures.setdefault("train_accuracy", accuracy(logits, labels))
            return F.cross_entropy(logits, labels)

        loss = state.method.loss(evaluate, choice, state)
        optimizer.zero_grad()
        loss.backward()
        # Looked at like the losses: a gradient that is not finite stops the run before its weights are saved.
        figures["gradient_norm"] = apply_step(optimizer, settings, state.progress)
        state.images += len(labels)
        return {"train_loss": loss.detach(), **figures}


@dataclass(frozen=True)
class OuterStep:
    """One optimiser step of the outer variables along the hypergradient that the method's estimator gives."""

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report ``valid_loss`` and ``valid_accuracy`` of the last evaluation of the outer loss.

        With implicit differentiation also ``unconverged``: 1 where the series grew or the solve stopped early, else 0; its
        mean is the share of such steps, in place of a warning for each of them.

        Raises:
            NonFiniteError: the hypergradient became NaN or infinite; the message says where.
        """
        outer = state.outer_parameters()
        if state.outer_optimizer is None:
            raise ConfigError(
                f"method {state.method.name!r} has an OuterStep, but nothing to learn in the outer problem."
            )
        objective = Objective(state, batch)
        inner = dict(state.require_supernet().named_parameters())
        estimator = state.method.hypergradient
        hypergradient = estimator.at(state) if isinstance(estimator, HypergradientFactory) else estimator
        try:
            grads, converged = _estimate(hypergradient, objective.problem, inner, outer)
        except NonFiniteVector as error:
            at = f"epoch {state.epoch + 1}, step {state.step + 1} of the {state.name}"
            raise NonFiniteError(f"in {at}: {error} {state.remedy}") from error
        for name, parameter in outer.items():
            parameter.grad = grads[name]
        apply_step(state.outer_optimizer, state.method.outer, state.progress)
        if not isinstance(hypergradient, Implicit):
            return objective.figures
        unconverged = objective.figures["valid_loss"].new_tensor(float(not converged))
        return {**objective.figures, "unconverged": unconverged}


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


@dataclass(frozen=True)
class OnFreshBatches:
    """Updates one after the other, each on a train batch of its own; the validation batch is the same for all.

    Args:
        updates: what is done.
    """

    updates: tuple[Update, ...]

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report the mean of each figure over the updates that report it."""
        figures: dict[str, list[Tensor]] = {}
        for update, part in zip(self.updates, batch.split(len(self.updates)), strict=True):
            for name, value in update(state, part).items():
                figures.setdefault(name, []).append(value)
        return {name: torch.stack(values).mean() for name, values in figures.items()}


@dataclass(frozen=True)
class EvaluateCandidate:
    """Score one sampled architecture and note it in the archive: the whole step of a black-box method.

    Args:
        evaluator: what scores it.
    """

    evaluator: Evaluator

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report the score as ``valid_accuracy``."""
        architecture = state.space.discretize(state.method.sampler(state).weights)
        score = self.evaluator(architecture, state)
        state.archive.append((str(architecture), score))
        return {"valid_accuracy": torch.tensor(score)}
