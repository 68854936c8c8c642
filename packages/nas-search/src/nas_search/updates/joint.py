"""A step of the weights and of what is learned along one gradient."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from nas_search.errors import ConfigError
from nas_search.optimizers import apply_step
from nas_search.updates.outer import differentiable_choice
from nas_search.updates.weights import augmented, check_loss, training_loss

if TYPE_CHECKING:
    from nas_search.batches import Batch
    from nas_search.state import SearchState

__all__ = ["JointStep"]


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
        loss, figures = training_loss(state, batch, augmented(state, batch, policy), choice)
        for regularizer in state.regularizers():
            loss = loss + torch.as_tensor(regularizer(choice.weights, state.progress, outer)).to(loss)
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
        state.weight_batch = batch
        return {**figures, "gradient_norm": norms[0]}

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: the method has no relaxation or no supernet, a relaxation without a derivative, a loss that is not
                made for what it draws, or a policy that learns, which this step does not.
        """
        self._require_relaxation(state)
        choice = differentiable_choice(state)
        assert choice is not None
        check_loss(state, choice)

    def _require_relaxation(self, state: "SearchState") -> None:
        if state.relaxation is None or any(name.startswith("policy.") for name in state.outer_parameters()):
            raise ConfigError(
                f"method {state.method.name!r} has a JointStep, which learns the parameters of a relaxation and nothing "
                "else; it has no relaxation, or a policy that learns: give it an OuterStep and a WeightStep."
            )
        state.require_supernet()
