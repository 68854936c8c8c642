"""What one step of a search is made of: a weight step, a step of the outer variables, a black-box evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nas_search.errors import ConfigError
from nas_search.objective import Objective, accuracy, cross_entropy
from nas_search.optimizers import apply_step
from nas_search.roles import ChoiceWeights, Evaluator

if TYPE_CHECKING:
    from nas_search.state import Batch, SearchState

__all__ = ["EvaluateCandidate", "OuterStep", "WeightStep"]


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
            return cross_entropy(logits, labels)

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
        """Report ``valid_loss`` and ``valid_accuracy`` of the last evaluation of the outer loss."""
        outer = state.outer_parameters()
        if state.outer_optimizer is None:
            raise ConfigError(
                f"method {state.method.name!r} has an OuterStep, but nothing to learn in the outer problem."
            )
        objective = Objective(state, batch)
        inner = dict(state.require_supernet().named_parameters())
        grads = state.method.hypergradient(objective.problem, inner, outer)
        for name, parameter in outer.items():
            parameter.grad = grads[name]
        apply_step(state.outer_optimizer, state.method.outer, state.progress)
        return objective.figures


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
