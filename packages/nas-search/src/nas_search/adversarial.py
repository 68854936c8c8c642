"""The online augmentation of DHA: a policy that raises the probability of what the network does badly."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import torch
from torch import Tensor

from nas_augment import AugmentationPolicy, dha
from nas_augment.adversarial import dha_loss
from nas_augment.fixed import Cutout
from nas_search.data import Data
from nas_search.distributed import sample_part
from nas_search.errors import ConfigError, did_you_mean
from nas_search.objective import cross_entropy
from nas_search.optimizers import apply_step

if TYPE_CHECKING:
    from nas_search.batches import Batch
    from nas_search.state import SearchState

__all__ = ["AdversarialStep", "UniformPairs", "Weighting"]

Weighting = Literal["score", "paper"]
"""How Eq. 2 is read, see `nas_augment.adversarial.dha_loss`."""


@dataclass(frozen=True)
class UniformPairs:
    """DHA's policy for some data; meets `DataPolicyFactory`: ordered pairs of 14 operations, at levels that are not learned.

    Args:
        customary: whether what is customary for the data, such as a crop and a flip, comes before them.
        cutout: side of the square that is cut out at the end, as a part of the image's shorter side; 0 for none. Half
            of it is the 16 pixels of CIFAR-10.

    Differs from the paper:
        1. It says nothing of crops and flips; the released code has none while it searches.
        2. It gives no ranges. Here they are those of Fast AutoAugment, as for the other policies; the released code has the same
           ones, but Posterize keeps 1 to 4 bits there (4 to 8 here), and its search draws magnitudes up to a tenth of the range.

    Raises:
        ConfigError: a part outside of [0, 1].
    """

    customary: bool = True
    cutout: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.cutout <= 1:
            raise ConfigError(f"cutout is {self.cutout}; expected a part of the image's side, from 0 to 1.")

    def on(self, data: Data) -> AugmentationPolicy:
        """See `DataPolicyFactory`."""
        length = round(self.cutout * min(data.train.images.shape[-2:]))
        before = data.policy.stages if self.customary else ()
        return dha(before=before, after=(Cutout(length),) if length else ())


@dataclass(frozen=True)
class AdversarialStep:
    """One step of the policy towards augmentations with a high training loss (DHA, Eq. 2).

    The probabilities of what was drawn weigh the losses; see `nas_augment.adversarial.dha_loss`. It costs a forward pass of
    the supernet on a train batch.

    Args:
        weighting: ``score`` minimises ``- E[L]`` under the policy; ``paper`` weighs by the probabilities as they are printed,
            which, for draws from the policy, minimises ``- 1/2 sum_k p_k^2 L_k``.

    Differs from the paper:
        1. The draws are those of this step alone; the weights are trained on others, from the policy after it. In
           Algorithm 1 both use one draw.
        2. Draws are exact samples of the categorical distribution, which Gumbel noise at any temperature also gives.
        3. The loss is the mean over the batch, not its sum.
        4. An image's loss is that in its batch: with batch normalisation it depends on the draws of the others too.

    Raises:
        ConfigError: an unknown weighting.
    """

    weighting: Weighting = "score"

    uses: ClassVar[frozenset[str]] = frozenset({"policy"})

    def __post_init__(self) -> None:
        if self.weighting not in get_args(Weighting):
            known = get_args(Weighting)
            raise ConfigError(
                f"weighting is {self.weighting!r}; expected {' or '.join(known)}; {did_you_mean(self.weighting, known)}"
            )

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report ``augmented_loss``, the mean loss of the augmented images.

        Raises:
            ConfigError: nothing of the policy is learned, or by no optimiser of its own.
        """
        self.check(state)
        optimizer, settings = state.policy_optimizer, state.method.policy_optimizer
        assert optimizer is not None
        assert settings is not None
        images, labels = batch.train
        sample = sample_part(state.policy, len(labels), state.generator)
        with torch.no_grad():
            augmented = state.normalize(state.policy.apply(images, sample))
            logits = state.logits(augmented, state.method.sampler(state))
            losses = cross_entropy(logits, labels, reduction="none")
        log_prob = state.policy.log_prob(sample)
        optimizer.zero_grad()
        dha_loss(log_prob, losses.to(log_prob), self.weighting).backward()
        apply_step(optimizer, settings, state.progress)
        return {"augmented_loss": losses.mean()}

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: nothing of the policy is learned, or by no optimiser of its own.
        """
        if state.policy_optimizer is None:
            raise ConfigError(
                f"method {state.method.name!r} has an AdversarialStep, which needs a policy that learns and an optimiser of its "
                "own: give it policy=UniformPairs() and policy_optimizer=SGD(...)."
            )
