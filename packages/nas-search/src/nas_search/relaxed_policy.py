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
    from nas_search.state import Batch, SearchState

__all__ = ["RelaxedStep", "check_learnable", "relaxed_images"]


def relaxed_images(state: "SearchState", images: Tensor, temperature: float) -> Tensor:
    """Images under a draw of the policy, ready for the supernet and differentiable in all that the policy learns.

    The values are those of the draw; see `nas_augment.latents.relax`.
    """
    policy = state.policy
    assert isinstance(policy, LearnablePolicy)
    sample = policy.sample(len(images), generator=state.generator)
    relaxation = relax(policy, sample, temperature, generator=state.generator)
    floats = images if images.is_floating_point() else images.float() / 255
    return state.normalize(policy.apply(floats, sample, path="soft", relaxation=relaxation))


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
        1. Choices and gates have the straight-through gradient of their relaxed draws, and not that of RELAX, which takes
           a control variate that is learned beside the policy; the estimate is biased for it.
        2. The derivative is exact where the paper has a finite difference.

    Raises:
        ConfigError: a temperature that is not positive.
    """

    temperature: float = 0.5

    uses: ClassVar[frozenset[str]] = frozenset({"policy", "validation"})

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ConfigError(f"temperature is {self.temperature}; expected a positive number.")

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
        _surrogate(objective, images, inner, rate).backward()
        return {**objective.figures, "policy_gradient_norm": apply_step(optimizer, settings, state.progress)}

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: there is no supernet, or no policy that learns with an optimiser of its own.
        """
        check_learnable(state, "RelaxedStep")


def _surrogate(objective: Objective, images: Tensor, inner: Variables, rate: float) -> Tensor:
    """``- xi <h, dL_train / dw>`` with `h` constant: its gradient in the images is that of the loss after the step."""
    weights = {name: value.detach().requires_grad_() for name, value in inner.items()}
    loss = objective.losses_of(images)(weights).mean()
    found = torch.autograd.grad(loss, list(weights.values()), create_graph=True, allow_unused=True)
    gradients = {name: value for name, value in zip(weights, found, strict=True) if value is not None}
    moved = {name: (weights[name] - rate * value).detach().requires_grad_() for name, value in gradients.items()}
    ahead = torch.autograd.grad(
        objective.valid_loss({**weights, **moved}, {}),
        list(moved.values()),
        allow_unused=True,
        materialize_grads=True,
    )
    products = [(h * gradient).sum() for h, gradient in zip(ahead, gradients.values(), strict=True)]
    return -rate * torch.stack(products).sum()
