"""What one step of a search is made of: a weight step, a step of the outer variables, a black-box evaluation."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from nas_hypergrad import BilevelProblem, ConvergenceWarning, Hypergradient, Implicit, Variables
from nas_hypergrad import NonFiniteError as NonFiniteVector
from nas_search.compatibility import used
from nas_search.errors import ConfigError, NonFiniteError
from nas_search.objective import Objective, accuracy, cross_entropy
from nas_search.optimizers import GaussianPosterior, apply_step
from nas_search.roles import ChoiceWeights, Evaluator, HypergradientFactory, Update
from nas_search.run_state import check_positive

if TYPE_CHECKING:
    from nas_search.state import Batch, SearchState

__all__ = ["After", "EvaluateCandidate", "JointStep", "OnFreshBatches", "OuterStep", "PosteriorStep", "WeightStep"]


# What `nas_search.compatibility` looks for, so that no part of a method is silently left unused.
_OUTER = frozenset({"hypergradient", "outer_loss", "regularizers", "outer", "validation"})


@dataclass(frozen=True)
class WeightStep:
    """One optimiser step of the supernet's weights on an augmented train batch, under the weights that the sampler draws."""

    uses: ClassVar[frozenset[str]] = frozenset({"loss"})

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report ``train_loss``, ``train_accuracy`` under the sampled weights, and ``gradient_norm``."""
        optimizer, settings = state.weight_optimizer, state.method.weights
        state.require_supernet()
        assert optimizer is not None
        assert settings is not None
        loss, figures = _training_loss(state, batch, state.method.sampler(state))
        optimizer.zero_grad()
        loss.backward()
        # Looked at like the losses: a gradient that is not finite stops the run before its weights are saved.
        figures["gradient_norm"] = apply_step(optimizer, settings, state.progress)
        return figures


def _training_loss(state: "SearchState", batch: "Batch", choice: ChoiceWeights) -> tuple[Tensor, dict[str, Tensor]]:
    """The method's loss of an augmented train batch under a choice; with ``train_loss`` and ``train_accuracy``."""
    supernet, labels = state.require_supernet(), batch.train.labels
    with torch.no_grad():
        images = state.normalize(state.policy(batch.train.images, generator=state.generator).images)
    figures: dict[str, Tensor] = {}

    def evaluate(choice: ChoiceWeights) -> Tensor:
        logits = supernet(images, *choice)
        figures.setdefault("train_accuracy", accuracy(logits, labels))
        return cross_entropy(logits, labels)

    loss = state.method.loss(evaluate, choice, state)
    state.images += len(labels)
    return loss, {"train_loss": loss.detach(), **figures}


@dataclass(frozen=True)
class OuterStep:
    """One optimiser step of the outer variables along the hypergradient that the method's estimator gives."""

    uses: ClassVar[frozenset[str]] = _OUTER

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
        grads, figures = _hypergradient(state, objective, inner, outer)
        for name, parameter in outer.items():
            parameter.grad = grads[name]
        apply_step(state.outer_optimizer, state.method.outer, state.progress)
        return figures


def _hypergradient(
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
    if not isinstance(hypergradient, Implicit):
        return grads, dict(objective.figures)
    unconverged = objective.figures["valid_loss"].new_tensor(float(not converged))
    return grads, {**objective.figures, "unconverged": unconverged}


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
class PosteriorStep:
    """One step of a Gaussian over the outer variables, along the hypergradients at draws from it (BaLeNAS).

    The method's outer optimiser is `VariationalAdam`, which holds the distribution; the outer variables are its means, and
    every other part of the search sees these.

    Args:
        samples: M, the number of draws.
    """

    samples: int = 1

    uses: ClassVar[frozenset[str]] = _OUTER

    def __post_init__(self) -> None:
        check_positive(samples=self.samples)

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report ``valid_loss`` and ``valid_accuracy`` at the last draw, and ``deviation``, the mean standard deviation.

        Raises:
            ConfigError: the outer optimiser holds no distribution.
            NonFiniteError: a hypergradient became NaN or infinite; the message says where.
        """
        optimizer = state.outer_optimizer
        if not isinstance(optimizer, GaussianPosterior):
            raise ConfigError(
                f"method {state.method.name!r} has a PosteriorStep, which needs a relaxation or a policy that learns, and "
                "outer=VariationalAdam(...)."
            )
        names = list(state.outer_parameters())
        objective = Objective(state, batch)
        inner = dict(state.require_supernet().named_parameters())
        gradients = []
        for _ in range(self.samples):
            drawn = dict(zip(names, optimizer.sample(state.generator), strict=True))
            found, figures = _hypergradient(state, objective, inner, drawn)
            gradients.append([found[name] for name in names])
        optimizer.update(gradients, state.method.outer.learning_rate(state.progress))
        deviation = torch.cat([value.flatten() for value in optimizer.deviations()]).mean()
        return {**figures, "deviation": deviation}


@dataclass(frozen=True)
class JointStep:
    """One step of the weights and one of the architecture along the gradient of one loss, that of a train batch.

    The single-level search of SNAS and one-stage ISTA-NAS: one forward and one backward pass give both gradients.
    """

    uses: ClassVar[frozenset[str]] = frozenset({"loss", "regularizers", "outer"})

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report ``train_loss``, ``train_accuracy``, and ``gradient_norm`` of the weights.

        Raises:
            ConfigError: the method has no relaxation or no supernet, or a policy that learns, which this step does not.
        """
        relaxation, outer = state.relaxation, state.outer_parameters()
        if relaxation is None or any(name.startswith("policy.") for name in outer):
            raise ConfigError(
                f"method {state.method.name!r} has a JointStep, which learns the parameters of a relaxation and nothing "
                "else; it has no relaxation, or a policy that learns: give it an OuterStep and a WeightStep."
            )
        state.require_supernet()
        optimizers = (state.weight_optimizer, state.method.weights), (state.outer_optimizer, state.method.outer)
        choice = relaxation(relaxation.noise(state.generator), state.progress)
        loss, figures = _training_loss(state, batch, choice)
        for regularizer in state.method.regularizers:
            loss = loss + regularizer(choice.weights, state.progress, outer).to(loss)
        for optimizer, _ in optimizers:
            assert optimizer is not None
            optimizer.zero_grad()
        loss.backward()
        norms = []
        for optimizer, settings in optimizers:
            assert optimizer is not None
            assert settings is not None
            norms.append(apply_step(optimizer, settings, state.progress))
        return {**figures, "gradient_norm": norms[0]}


@dataclass(frozen=True)
class After:
    """An update that is left out at the beginning of the run.

    Args:
        start: the progress from which on it runs, in [0, 1].
        update: what is done then.

    Raises:
        ConfigError: a start outside of [0, 1].
    """

    start: float
    update: Update

    def __post_init__(self) -> None:
        if not 0 <= self.start <= 1:
            raise ConfigError(f"an update starts at {self.start}; expected a part of the run, from 0 to 1.")

    @property
    def uses(self) -> frozenset[str] | None:
        """What the update uses."""
        return used((self.update,))

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report what the update does; nothing before it starts."""
        return self.update(state, batch) if state.progress >= self.start else {}


@dataclass(frozen=True)
class OnFreshBatches:
    """Updates one after the other, each on a train batch of its own; the validation batch is the same for all.

    Args:
        updates: what is done.
    """

    updates: tuple[Update, ...]

    @property
    def uses(self) -> frozenset[str] | None:
        """What the updates use."""
        return used(self.updates)

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

    uses: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report the score as ``valid_accuracy``."""
        architecture = state.space.discretize(state.method.sampler(state).weights)
        score = self.evaluator(architecture, state)
        state.archive.append((str(architecture), score))
        return {"valid_accuracy": torch.tensor(score)}
