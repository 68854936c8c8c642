"""The bilevel problem of one step: what the hypergradient estimators are given."""

import copy
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from nas_augment import Augmented, PolicySample
from nas_hypergrad import BilevelProblem
from nas_hypergrad.problem import Variables
from nas_search.distributed import reduction, sample_part
from nas_search.roles import ChoiceWeights

if TYPE_CHECKING:
    from nas_search.batches import Batch
    from nas_search.state import SearchState

__all__ = ["Objective", "accuracy", "cross_entropy"]


class Objective:
    """The losses of one step as functions of the supernet's weights and of the outer variables.

    Everything random (the choice weights' noise, the augmentation, dropout) is drawn once: an estimator may evaluate a loss many
    times, and every time sees the same draw.

    Inner variables are named as the supernet's parameters; outer ones are ``relaxation.*`` and ``policy.*``. Where the
    policy learns, each drawn term of the inner loss is multiplied by ``exp(log_p - stop_gradient(log_p))``, which is 1:
    its derivative is the score function, so that an unrolled estimator yields DAAS, Eq. 13.

    Args:
        state: the search.
        batch: of this step.
        choice: what is evaluated; drawn from the relaxation, or by the sampler where there is none, when left out.

    Differs from DARTS:
        1. Validation images are not augmented, so that the outer loss is that of the images as they are.
        2. The training loss of a virtual step augments the train batch by a draw of its own, and the weight step after it by
           another one; there both see the same images.
    """

    def __init__(self, state: "SearchState", batch: "Batch", choice: ChoiceWeights | None = None) -> None:
        self._state, self._batch = state, batch
        relaxation = state.relaxation
        drawn = choice is None and relaxation is not None
        self._noise = relaxation.noise(state.generator) if drawn and relaxation is not None else None
        self._fixed_choice = None if drawn else choice or state.method.sampler(state)
        self._regularizers = state.regularizers()
        self.figures: dict[str, Tensor] = {}
        # What dropout in the supernet draws from, which every evaluation starts anew from here.
        self._random = torch.random.get_rng_state()

    @property
    def problem(self) -> BilevelProblem:
        """Both losses; of several ranks their means."""
        return BilevelProblem(self.inner_loss, self.outer_loss, reduce=reduction())

    @cached_property
    def _sample(self) -> PolicySample:
        return sample_part(self._state.policy, len(self._batch.train.labels), self._state.generator)

    def redrawn(self) -> "Objective":
        """The same with another draw of the augmentation."""
        other = copy.copy(self)
        other.__dict__.pop("_sample", None)
        return other

    def log_prob(self) -> Tensor:
        """The log-probability of the augmentation that was drawn, ``(batch,)``, under the policy as it is."""
        return self._state.policy.log_prob(self._sample)

    def inner_loss(self, inner: Variables, outer: Variables) -> Tensor:
        """The training loss: mean cross-entropy of the augmented train batch."""
        images, log_prob = self._augment(outer)
        terms = self._terms(inner, outer, images)
        if log_prob.requires_grad:
            terms = terms * (log_prob - log_prob.detach()).exp().to(terms)
        return terms.mean()

    def train_losses(self) -> Callable[[Variables], Tensor]:
        """Augment the train batch; the cross-entropy of each of its images ``(batch,)`` as a function of the weights."""
        return self.losses_of(self._images())

    def losses_of(self, images: Tensor) -> Callable[[Variables], Tensor]:
        """The cross-entropy ``(batch,)`` of train images that are augmented already, as a function of the weights."""
        return lambda inner: self._terms(inner, {}, images)

    def _terms(self, inner: Variables, outer: Variables, images: Tensor) -> Tensor:
        torch.random.set_rng_state(self._random)
        logits = self._state.logits(images, self._choose(outer), inner)
        return cross_entropy(logits, self._batch.train.labels, reduction="none")

    def valid_loss(self, inner: Variables, outer: Variables) -> Tensor:
        """The validation loss: mean cross-entropy of the validation batch."""
        images, labels = self._batch.valid
        images = self._state.normalize(images)
        torch.random.set_rng_state(self._random)
        logits = self._state.logits(images, self._choose(outer), inner)
        loss = cross_entropy(logits, labels)
        self.figures = {"valid_loss": loss.detach(), "valid_accuracy": accuracy(logits, labels)}
        return loss

    def outer_loss(self, inner: Variables, outer: Variables) -> Tensor:
        """What the method minimises over the outer variables, plus its regularisers."""
        method, progress = self._state.method, self._state.progress
        loss = method.outer_loss(self.valid_loss, self.inner_loss, progress)(inner, outer)
        for regularizer in self._regularizers:
            loss = loss + torch.as_tensor(regularizer(self._choose(outer).weights, progress, outer)).to(loss)
        return loss

    def _choose(self, outer: Variables) -> ChoiceWeights:
        if self._fixed_choice is not None:
            return self._fixed_choice
        relaxation, parameters = self._state.relaxation, _part(outer, "relaxation.")
        assert relaxation is not None
        # Without its variables there is nothing to differentiate, and a relaxation may do less.
        with torch.set_grad_enabled(bool(parameters) and torch.is_grad_enabled()):
            return functional_call(relaxation, parameters, (self._noise, self._state.progress))

    def _augment(self, outer: Variables) -> Augmented:
        """The train batch under this step's draw, and the draw's log-probability under the outer variables."""
        policy, sample, images = self._state.policy, self._sample, self._images()
        parameters = _part(outer, "policy.")
        if not parameters:
            return Augmented(images, policy.log_prob(sample))
        return Augmented(images, functional_call(_LogProb(policy), _prefixed(parameters, "policy."), (sample,)))

    def _images(self) -> Tensor:
        with torch.no_grad():
            return self._state.normalize(self._state.policy.apply(self._batch.train.images, self._sample))


class _LogProb(torch.nn.Module):
    """`log_prob` as a ``forward``, which is what ``functional_call`` can call."""

    def __init__(self, policy: torch.nn.Module) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, sample: PolicySample) -> Tensor:
        return self.policy.log_prob(sample)  # type: ignore[operator]


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """The share of the labels that have the largest logit, a scalar tensor."""
    return (logits.detach().argmax(dim=1) == labels).float().mean()


def cross_entropy(logits: Tensor, labels: Tensor, *, reduction: str = "mean", smoothing: float = 0.0) -> Tensor:
    """As torch's, and twice as fast where every token has a label: the logits of a token are side by side in memory.

    Args:
        logits: ``(batch, classes)``, or ``(batch, classes, time)``.
        labels: ``(batch,)``, or ``(batch, time)``.
        reduction: ``mean``, ``sum``, or ``none`` for as many as labels.
        smoothing: share of each target that is spread evenly over all classes.
    """
    loss = F.cross_entropy(
        logits.movedim(1, -1).flatten(0, -2), labels.flatten(), reduction=reduction, label_smoothing=smoothing
    )
    return loss.view_as(labels) if reduction == "none" else loss


def _part(variables: Variables, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in variables.items() if name.startswith(prefix)}


def _prefixed(variables: Variables, prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in variables.items()}
