"""The density matching of Faster AutoAugment: augmented images shall look as if drawn from the data, and keep their class."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from nas_augment.critic import critic_loss, policy_loss
from nas_search.errors import ConfigError
from nas_search.objective import accuracy, cross_entropy
from nas_search.optimizers import apply_step
from nas_search.relaxed_policy import check_learnable, check_temperature, relaxed_images
from nas_search.run_state import check_positive
from nas_search.supernets import WholeChannels
from nas_spaces import Drawn, SearchSpace, Supernet

if TYPE_CHECKING:
    from nas_search.batches import Batch
    from nas_search.state import SearchState

__all__ = ["CriticWeightStep", "DensityStep", "WithCritic"]


class _Criticised(Supernet):
    def __init__(self, supernet: Supernet, in_channels: int, width: int) -> None:
        super().__init__()
        self.supernet = supernet
        self.critic = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, 1),
            nn.Flatten(0),
        )

    def forward(self, images: Tensor, weights: Tensor, drawn: Drawn | None = None) -> Tensor:
        logits: Tensor = self.supernet(images, weights, drawn)
        return logits


@dataclass(frozen=True)
class WithCritic:
    """The space's own supernet, and beside it a critic of images; meets `SupernetFactory`.

    The critic gives one number an image, from three convolutions without batch normalisation, which would mix the images.

    Args:
        width: channels of the critic.

    Raises:
        ConfigError: a width below 1.
    """

    width: int = 32

    def __post_init__(self) -> None:
        check_positive(width=self.width)

    def __call__(
        self, space: SearchSpace, *, classes: int, channels: int, cells: int | None, in_channels: int
    ) -> Supernet:
        """See `SupernetFactory`."""
        supernet = WholeChannels()(space, classes=classes, channels=channels, cells=cells, in_channels=in_channels)
        return _Criticised(supernet, in_channels, self.width)


def _critic(state: "SearchState", step: str) -> nn.Module:
    supernet = state.require_supernet()
    if not isinstance(supernet, _Criticised):
        raise ConfigError(f"method {state.method.name!r} has a {step}, which needs supernet=WithCritic().")
    return supernet.critic


@dataclass(frozen=True)
class DensityStep:
    """One optimiser step of the policy towards images that the critic takes for real ones and the network for their class.

    Hataya et al., "Faster AutoAugment: Learning Augmentation Strategies using Backpropagation", 2020: the policy minimises
    ``- mean D(x~) + epsilon L(f(x~), y)`` over relaxed draws `x~`, D the critic and f the network. The real images are the
    validation images, which the critic sees in `CriticWeightStep`.

    Args:
        temperature: of the relaxed draws.
        classification: epsilon.

    Raises:
        ConfigError: a temperature that is not positive, or a negative weight.
    """

    temperature: float = 0.05
    classification: float = 0.1

    uses: ClassVar[frozenset[str]] = frozenset({"policy"})

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        if not self.classification >= 0:
            raise ConfigError(f"classification is {self.classification}; expected 0 or more.")

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report ``critic_score``, the mean of the augmented images, ``augmented_loss``, and ``policy_gradient_norm``.

        Raises:
            ConfigError: there is no critic, or no policy that learns with an optimiser of its own.
        """
        self.check(state)
        optimizer, settings = state.policy_optimizer, state.method.policy_optimizer
        assert optimizer is not None
        assert settings is not None
        fake = relaxed_images(state, batch.train.images, self.temperature)
        against = policy_loss(_critic(state, "DensityStep"), fake)
        loss = cross_entropy(state.logits(fake, state.method.sampler(state)), batch.train.labels)
        parameters = [each for each in state.policy.parameters() if each.requires_grad]
        grads = torch.autograd.grad(against + self.classification * loss, parameters, allow_unused=True)
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter.grad = grad
        norm = apply_step(optimizer, settings, state.progress)
        return {"critic_score": -against.detach(), "augmented_loss": loss.detach(), "policy_gradient_norm": norm}

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: there is no critic, or no policy that learns with an optimiser of its own.
        """
        check_learnable(state, "DensityStep")
        _critic(state, "DensityStep")


@dataclass(frozen=True)
class CriticWeightStep:
    """One optimiser step of the network and the critic (Faster AutoAugment).

    Minimises the cross-entropy of the validation images, as they are, plus what the critic minimises: ``mean D(x~) -
    mean D(x) + penalty mean (||grad D|| - 1)^2``, with augmented train images `x~`, validation images `x`, and the gradient
    at points between the two (WGAN-GP).

    Args:
        penalty: of the gradient.

    Differs from the paper:
        1. The critic is a network of its own, and no second head of the classifier.
        2. One optimiser, that of the weights, moves both; the paper's is Adam for both.

    Raises:
        ConfigError: a penalty that is not positive.
    """

    penalty: float = 10.0

    uses: ClassVar[frozenset[str]] = frozenset({"validation", "loss"})

    def __post_init__(self) -> None:
        if not self.penalty > 0:
            raise ConfigError(f"penalty is {self.penalty}; expected a positive number.")

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report ``train_loss`` and ``train_accuracy`` of the classifier, ``critic_loss`` and ``gradient_norm``.

        Raises:
            ConfigError: there is no critic.
        """
        critic = _critic(state, "CriticWeightStep")
        optimizer, settings = state.weight_optimizer, state.method.weights
        assert optimizer is not None
        assert settings is not None
        with torch.no_grad():
            fake = state.normalize(state.policy(batch.train.images, generator=state.generator).images)
            real = state.normalize(batch.valid.images)
        count = min(len(real), len(fake))
        logits = state.logits(real, state.method.sampler(state))
        loss = cross_entropy(logits, batch.valid.labels)
        distance = critic_loss(critic, real[:count], fake[:count], generator=state.generator, penalty=self.penalty)
        optimizer.zero_grad()
        (loss + distance).backward()
        norm = apply_step(optimizer, settings, state.progress)
        state.images += len(batch.valid.labels)
        state.weight_batch = batch
        figures = {"train_loss": loss.detach(), "train_accuracy": accuracy(logits, batch.valid.labels)}
        return {**figures, "critic_loss": distance.detach(), "gradient_norm": norm}

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: there is no critic.
        """
        _critic(state, "CriticWeightStep")
