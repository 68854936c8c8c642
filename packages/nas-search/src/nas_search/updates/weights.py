"""The weight step: a step of the weights on train images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from nas_augment import AugmentationPolicy
from nas_search import distributed
from nas_search.errors import ConfigError
from nas_search.losses import Replay
from nas_search.objective import accuracy, cross_entropy
from nas_search.optimizers import apply_step
from nas_search.roles import ChoiceWeights
from nas_search.run_state import check_positive

if TYPE_CHECKING:
    from nas_search.batches import Batch
    from nas_search.state import SearchState

__all__ = ["WeightStep", "augmented", "check_loss", "training_loss"]


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
            check_loss(state, state.method.sampler(state))

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report the means of ``train_loss`` and ``train_accuracy`` over the sampled weights, and ``gradient_norm``."""
        optimizer, settings = state.weight_optimizer, state.method.weights
        state.require_supernet()
        assert optimizer is not None
        assert settings is not None
        choices = [state.method.sampler(state) for _ in range(self.paths)]
        images = augmented(state, batch, state.customary_policy if self.customary else state.policy)
        optimizer.zero_grad()
        figures: dict[str, Tensor] = {}
        for choice in choices:
            loss, found = training_loss(state, batch, images, choice)
            (loss / self.paths if self.average else loss).backward()
            for name, value in found.items():
                figures[name] = figures.get(name, 0) + value / self.paths
        # Looked at like the losses: a gradient that is not finite stops the run before its weights are saved.
        figures["gradient_norm"] = apply_step(optimizer, settings, state.progress)
        state.images += state.train.batch_size
        state.weight_batch = batch
        return figures


def check_loss(state: "SearchState", choice: ChoiceWeights) -> None:
    """Refuse a loss of paths where a mixture is trained."""
    if isinstance(state.method.loss, Replay):
        state.method.loss.path_of(choice, state)


def augmented(state: "SearchState", batch: "Batch", policy: AugmentationPolicy) -> Tensor:
    """The train images under a draw of a policy, ready for the supernet."""
    with torch.no_grad():
        images = batch.train.images
        return state.normalize(policy.apply(images, distributed.sample_part(policy, len(images), state.generator)))


def training_loss(
    state: "SearchState", batch: "Batch", images: Tensor, choice: ChoiceWeights
) -> tuple[Tensor, dict[str, Tensor]]:
    """The method's loss of augmented train images under a choice; with ``train_loss`` and ``train_accuracy``.

    Raises:
        ConfigError: it is no scalar.
    """
    labels = batch.train.labels
    figures: dict[str, Tensor] = {}

    def evaluate(choice: ChoiceWeights) -> Tensor:
        logits = state.logits(images, choice)
        figures.setdefault("train_accuracy", accuracy(logits, labels))
        return cross_entropy(logits, labels)

    loss = state.method.loss(evaluate, choice, state)
    if loss.numel() != 1:
        raise ConfigError(
            f"loss {type(state.method.loss).__name__} of method {state.method.name!r} has the shape {tuple(loss.shape)}; expected "
            "a scalar: take its mean()."
        )
    return loss, {"train_loss": loss.detach(), **figures}
