"""The policy gradient of DADA: an augmentation policy learned through one step of the weights and through its images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from nas_augment import LearnablePolicy
from nas_augment.latents import relax
from nas_hypergrad import Variables
from nas_search.errors import ConfigError
from nas_search.objective import Objective
from nas_search.optimizers import apply_step

if TYPE_CHECKING:
    from nas_search.batches import Batch
    from nas_search.state import SearchState

__all__ = ["RelaxedStep", "ahead", "check_learnable", "check_temperature", "floats", "relaxed_images"]


def relaxed_images(state: "SearchState", images: Tensor, temperature: float) -> Tensor:
    """Images under a draw of the policy, ready for the supernet and differentiable in all that the policy learns.

    The values are those of the draw; see `nas_augment.latents.relax`.
    """
    policy = state.policy
    assert isinstance(policy, LearnablePolicy)
    sample = policy.sample(len(images), generator=state.generator)
    relaxation = relax(policy, sample, temperature, generator=state.generator)
    return state.normalize(policy.apply(floats(images), sample, path="soft", relaxation=relaxation))


def floats(images: Tensor) -> Tensor:
    """Images in [0, 1], as the soft path needs them."""
    return images if images.is_floating_point() else images.float() / 255


def check_temperature(temperature: float) -> None:
    """Refuse a temperature of relaxed draws that is not positive.

    Raises:
        ConfigError: it is not.
    """
    if not temperature > 0:
        raise ConfigError(f"temperature is {temperature}; expected a positive number.")


def check_learnable(state: "SearchState", step: str) -> None:
    """Refuse a search without a supernet, or without a ``LearnablePolicy`` that has an optimiser of its own.

    Raises:
        ConfigError: one of them is missing.
    """
    if state.policy_optimizer is None or state.supernet is None or not isinstance(state.policy, LearnablePolicy):
        raise ConfigError(
            f"method {state.method.name!r} has a {step}, which needs a supernet, a LearnablePolicy and "
            "policy_optimizer=Adam(...)."
        )


@dataclass(frozen=True)
class RelaxedStep:
    """One optimiser step of the policy along the gradient through its relaxed draw and one step of the weights (DADA).

    Li et al., "DADA: Differentiable Automatic Data Augmentation", 2020. With ``w' = w - xi dL_train(w, x(d)) / dw`` and
    images ``x(d)`` that are differentiable in the policy's parameters `d`, the gradient of ``L_valid(w'(d))`` is

        ``- xi d/dd <h, dL_train(w, x(d)) / dw>``, with ``h = dL_valid(w') / dw'`` held constant,

    by automatic differentiation through the gradient of the weights. `xi` is the learning rate of the weights at this step.

    Args:
        temperature: of the relaxed draws.

    Differs from the paper:
        1. Choices and gates have the straight-through gradient of their relaxed draws, and not that of RELAX, which is
           `ControlVariateStep`; the estimate is biased for it.
        2. The derivative is exact where the paper has a finite difference.

    Raises:
        ConfigError: a temperature that is not positive.
    """

    temperature: float = 0.5

    uses: ClassVar[frozenset[str]] = frozenset({"policy", "validation", "second_derivatives"})

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report ``valid_loss`` and ``valid_accuracy`` after the step of the weights, and ``policy_gradient_norm``.

        Raises:
            ConfigError: there is no supernet, or no policy that learns with an optimiser of its own.
        """
        self.check(state)
        optimizer, settings, rate = state.require_policy_learning()
        objective = Objective(state, batch, state.method.sampler(state))
        images = relaxed_images(state, batch.train.images, self.temperature)
        inner = {name: value.detach() for name, value in state.require_supernet().named_parameters()}
        optimizer.zero_grad()
        ahead(objective, images, inner, rate)[0].backward()
        return {**objective.figures, "policy_gradient_norm": apply_step(optimizer, settings, state.progress)}

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: there is no supernet, or no policy that learns with an optimiser of its own.
        """
        check_learnable(state, "RelaxedStep")


def ahead(objective: Objective, images: Tensor, inner: Variables, rate: float) -> tuple[Tensor, dict[str, Tensor]]:
    """``- xi <h, dL_train / dw>`` with `h` constant, and `h`, the gradient of the validation loss after the step.

    The gradient of the first in the images is that of the validation loss after the step.

    Args:
        objective: of this step.
        images: ``(batch, channels, height, width)``, augmented and ready for the supernet.
        inner: the weights.
        rate: xi.

    Returns:
        A scalar, and a tensor for each of the weights that the loss depends on.
    """
    weights = {name: value.detach().requires_grad_() for name, value in inner.items()}
    loss = objective.losses_of(images)(weights).mean()
    found = torch.autograd.grad(loss, list(weights.values()), create_graph=True, allow_unused=True)
    gradients = {name: value for name, value in zip(weights, found, strict=True) if value is not None}
    moved = {name: (weights[name] - rate * value).detach().requires_grad_() for name, value in gradients.items()}
    slopes = torch.autograd.grad(
        objective.valid_loss({**weights, **moved}, {}),
        list(moved.values()),
        allow_unused=True,
        materialize_grads=True,
    )
    products = [(h * gradient).sum() for h, gradient in zip(slopes, gradients.values(), strict=True)]
    return -rate * torch.stack(products).sum(), dict(zip(moved, slopes, strict=True))
