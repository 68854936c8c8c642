"""What one step of a search is made of: a weight step, a step of the outer variables, black-box evaluations."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from nas_augment import AugmentationPolicy
from nas_hypergrad import BilevelProblem, ConvergenceWarning, Hypergradient, Implicit, Variables
from nas_hypergrad import NonFiniteError as NonFiniteVector
from nas_search import distributed
from nas_search.compatibility import used
from nas_search.errors import ConfigError, NonFiniteError
from nas_search.losses import Replay
from nas_search.objective import Objective, accuracy, cross_entropy
from nas_search.optimizers import GaussianPosterior, apply_step
from nas_search.roles import ChoiceWeights, Evaluator, HypergradientFactory, Update
from nas_search.run_state import check_positive
from nas_search.scoring import Candidate, propose, score

if TYPE_CHECKING:
    from nas_search.state import Batch, SearchState

__all__ = [
    "After",
    "EvaluateCandidate",
    "JointStep",
    "OnFreshBatches",
    "OuterStep",
    "PosteriorStep",
    "Until",
    "WeightStep",
]


# What `nas_search.compatibility` looks for, so that no part of a method is silently left unused.
_OUTER = frozenset({"hypergradient", "outer_loss", "regularizers", "outer", "validation"})


@dataclass(frozen=True)
class WeightStep:
    """One optimiser step of the supernet's weights on an augmented train batch, under the weights that the sampler draws.

    With several paths their gradients are accumulated one after the other on the same augmented batch (DAAS, Eq. 14;
    Wang et al., "ROME", 2020): memory is that of one path.

    Args:
        paths: how many draws of the sampler.
        average: divide the accumulated gradient by their number. Eq. 14 has the sum, which is a larger learning rate.
        customary: augment as is customary for the data, and not by the policy that is learned: a warm-up of the weights.
    """

    paths: int = 1
    average: bool = True
    customary: bool = False

    def __post_init__(self) -> None:
        check_positive(paths=self.paths)

    uses: ClassVar[frozenset[str]] = frozenset({"loss"})

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: the sampler cannot draw, or draws what the loss is not made for.
        """
        with state.unchanged():
            _check_loss(state, state.method.sampler(state))

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report the means of ``train_loss`` and ``train_accuracy`` over the sampled weights, and ``gradient_norm``."""
        optimizer, settings = state.weight_optimizer, state.method.weights
        state.require_supernet()
        assert optimizer is not None
        assert settings is not None
        choices = [state.method.sampler(state) for _ in range(self.paths)]
        images = _augmented(state, batch, state.customary_policy if self.customary else state.policy)
        optimizer.zero_grad()
        figures: dict[str, Tensor] = {}
        for choice in choices:
            loss, found = _training_loss(state, batch, images, choice)
            (loss / self.paths if self.average else loss).backward()
            for name, value in found.items():
                figures[name] = figures.get(name, 0) + value / self.paths
        # Looked at like the losses: a gradient that is not finite stops the run before its weights are saved.
        figures["gradient_norm"] = apply_step(optimizer, settings, state.progress)
        state.images += state.train.batch_size
        return figures


def _check_loss(state: "SearchState", choice: ChoiceWeights) -> None:
    """Refuse a loss of paths where a mixture is trained."""
    if isinstance(state.method.loss, Replay):
        state.method.loss.path_of(choice, state)


def _differentiable_choice(state: "SearchState") -> ChoiceWeights | None:
    """What a step that differentiates the relaxation would draw; a relaxation that has no derivative refuses."""
    relaxation = state.relaxation
    if relaxation is None:
        return None
    with state.unchanged(), torch.enable_grad():
        return relaxation(relaxation.noise(state.generator), state.progress)


def _augmented(state: "SearchState", batch: "Batch", policy: AugmentationPolicy) -> Tensor:
    """The train images under a draw of a policy, ready for the supernet."""
    with torch.no_grad():
        images = batch.train.images
        return state.normalize(policy.apply(images, distributed.sample_part(policy, len(images), state.generator)))


def _training_loss(
    state: "SearchState", batch: "Batch", images: Tensor, choice: ChoiceWeights
) -> tuple[Tensor, dict[str, Tensor]]:
    """The method's loss of augmented train images under a choice; with ``train_loss`` and ``train_accuracy``."""
    labels = batch.train.labels
    figures: dict[str, Tensor] = {}

    def evaluate(choice: ChoiceWeights) -> Tensor:
        logits = state.logits(images, choice)
        figures.setdefault("train_accuracy", accuracy(logits, labels))
        return cross_entropy(logits, labels)

    loss = state.method.loss(evaluate, choice, state)
    return loss, {"train_loss": loss.detach(), **figures}


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

    uses: ClassVar[frozenset[str]] = _OUTER

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
            grads, figures = _hypergradient(state, Objective(state, batch), inner, outer)
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
        _differentiable_choice(state)


def _require_outer(state: "SearchState") -> None:
    if state.outer_optimizer is None:
        raise ConfigError(f"method {state.method.name!r} has an OuterStep, but nothing to learn in the outer problem.")


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
        optimizer = _posterior(state)
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

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: the outer optimiser holds no distribution, or a relaxation has no derivative.
        """
        _posterior(state)
        _differentiable_choice(state)


def _posterior(state: "SearchState") -> GaussianPosterior:
    optimizer = state.outer_optimizer
    if not isinstance(optimizer, GaussianPosterior):
        raise ConfigError(
            f"method {state.method.name!r} has a PosteriorStep, which needs a relaxation or a policy that learns, and "
            "outer=VariationalAdam(...)."
        )
    return optimizer


@dataclass(frozen=True)
class JointStep:
    """One step of the weights and one of the architecture along the gradient of one loss, that of a train batch.

    The single-level search of SNAS and one-stage ISTA-NAS: one forward and one backward pass give both gradients.

    Args:
        customary: augment as is customary for the data, and not by the policy that is learned.
    """

    customary: bool = False
    uses: ClassVar[frozenset[str]] = frozenset({"loss", "regularizers", "outer"})

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report ``train_loss``, ``train_accuracy``, and ``gradient_norm`` of the weights.

        Raises:
            ConfigError: the method has no relaxation or no supernet, or a policy that learns, which this step does not.
        """
        self._require_relaxation(state)
        relaxation, outer = state.relaxation, state.outer_parameters()
        assert relaxation is not None
        optimizers = (state.weight_optimizer, state.method.weights), (state.outer_optimizer, state.method.outer)
        choice = relaxation(relaxation.noise(state.generator), state.progress)
        policy = state.customary_policy if self.customary else state.policy
        loss, figures = _training_loss(state, batch, _augmented(state, batch, policy), choice)
        for regularizer in state.regularizers():
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
        state.images += state.train.batch_size
        return {**figures, "gradient_norm": norms[0]}

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: the method has no relaxation or no supernet, a relaxation without a derivative, a loss that is not
                made for what it draws, or a policy that learns, which this step does not.
        """
        self._require_relaxation(state)
        choice = _differentiable_choice(state)
        assert choice is not None
        _check_loss(state, choice)

    def _require_relaxation(self, state: "SearchState") -> None:
        if state.relaxation is None or any(name.startswith("policy.") for name in state.outer_parameters()):
            raise ConfigError(
                f"method {state.method.name!r} has a JointStep, which learns the parameters of a relaxation and nothing "
                "else; it has no relaxation, or a policy that learns: give it an OuterStep and a WeightStep."
            )
        state.require_supernet()


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
class Until:
    """An update that is left out from some point of the run on.

    Args:
        end: the progress up to which it runs, in [0, 1]; `After` with the same number begins where this ends.
        update: what is done until then.

    Raises:
        ConfigError: an end outside of [0, 1].
    """

    end: float
    update: Update

    def __post_init__(self) -> None:
        if not 0 <= self.end <= 1:
            raise ConfigError(f"an update ends at {self.end}; expected a part of the run, from 0 to 1.")

    @property
    def uses(self) -> frozenset[str] | None:
        """What the update uses."""
        return used((self.update,))

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report what the update does; nothing after it has ended."""
        return self.update(state, batch) if state.progress < self.end else {}


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
    """Score sampled architectures and note them in the archive: the whole step of a black-box method.

    Args:
        evaluator: what scores them.
        count: how many are proposed together, see `nas_search.scoring`.

    Raises:
        ConfigError: none of them.
    """

    evaluator: Evaluator
    count: int = 1

    uses: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        check_positive(parallel=self.count)

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report the mean of the scores as ``valid_accuracy``, and the largest so far as ``best_accuracy``."""
        first = len(state.archive)
        candidates = [
            Candidate(architecture, self.evaluator, first + place)
            for place, architecture in enumerate(propose(state, self.count))
        ]
        scores = score(state, candidates)
        state.archive += [(str(each.architecture), found) for each, found in zip(candidates, scores, strict=True)]
        best = max(score for _, score in state.archive)
        return {"valid_accuracy": torch.tensor(scores).mean(), "best_accuracy": torch.tensor(best)}
