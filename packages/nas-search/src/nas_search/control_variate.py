"""DADA's own estimator: RELAX, whose control variate is learned beside the policy (Li et al., 2020)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from nas_augment import LearnablePolicy, PolicySample, Relaxation
from nas_augment.gumbel import relax_gradients
from nas_augment.latents import latents, relax
from nas_augment.score_function import alignment
from nas_search.errors import ConfigError
from nas_search.objective import Objective
from nas_search.optimizers import apply_step
from nas_search.policies import LearnedOnTop
from nas_search.relaxed_policy import ahead, check_learnable, check_temperature, floats
from nas_search.run_state import check_positive

if TYPE_CHECKING:
    from nas_search.batches import Batch
    from nas_search.data import Data
    from nas_search.state import SearchState

__all__ = ["ControlVariateStep", "ControlledPolicy", "WithControlVariate"]


class ControlledPolicy(LearnablePolicy):
    """A learnable policy, and beside it a guess of the reward from the relaxed choice and gates of a draw.

    The guess is a network with one hidden layer. It starts as 0 everywhere, as which RELAX is the score function.

    Args:
        *arguments: of `LearnablePolicy`.
        hidden: units of the hidden layer.
        **settings: of `LearnablePolicy`.

    Attributes:
        control: ``(draws, numbers) -> (draws,)``, on what `PolicyLatents.joined` gives.
    """

    def __init__(self, *arguments: Any, hidden: int = 100, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        last = nn.Linear(hidden, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.control = nn.Sequential(nn.Linear(self._numbers(), hidden), nn.Tanh(), last, nn.Flatten(0))

    def _numbers(self) -> int:
        generator = torch.Generator().manual_seed(0)
        return latents(self, self.sample(1, generator=generator), 1.0, generator=generator).joined().hard.shape[1]

    def discrete(self) -> list[nn.Parameter]:
        """The logits of the choice and of the gates, where these are learned."""
        return [each for each in (self.choice_logits, self.probability_logits) if each is not None]

    def of_levels(self) -> list[nn.Parameter]:
        """The parameters of the levels, where these are learned."""
        return [each for each in (self.level_logits, self.position_logits) if each is not None]


@dataclass(frozen=True)
class WithControlVariate(LearnedOnTop):
    """As `LearnedOnTop`, with a control variate beside the policy.

    Args:
        hidden: units of its hidden layer; 100 in the released code.

    Raises:
        ConfigError: see `LearnedOnTop`; no hidden units.
    """

    hidden: int = 100

    def __post_init__(self) -> None:
        check_positive(hidden=self.hidden)
        super().__post_init__()

    def _make(self, data: "Data | None" = None) -> LearnablePolicy:
        plain = super()._make(data)
        settings = {"choice": plain.choice, "share": plain.share, "per": plain.per, "after": plain.after.stages}
        return ControlledPolicy(plain.space, plain.count, hidden=self.hidden, **settings)


@dataclass(frozen=True)
class ControlVariateStep:
    """One optimiser step of the policy along DADA's gradient by RELAX, and one of its control variate.

    Li et al., "DADA: Differentiable Automatic Data Augmentation", 2020; Grathwohl et al., "Backpropagation through the Void",
    2018. With ``w' = w - xi dL_train(w) / dw`` and ``h = dL_valid(w') / dw'``, a draw `b` of operations and gates has the
    reward ``r = - xi <h, dL_train(w, b) / dw>``, which is to become small. With the latents `z` that `b` was thresholded
    from, `z~` drawn again given `b`, and the control variate `c`, the gradient is

        ``(r - c(z~)) d log p(b) + d c(z) - d c(z~)``,

    whose mean is the derivative of the expected `r` for every `c`, in the logits of choice and gates. `c` is xi times the
    policy's network, so that this learns a number that does not shrink with xi; it goes down the gradient of the sum of
    squares of this estimate, which is that of its variance. Levels have the straight-through gradient of
    `RelaxedStep`, through the images.

    Where each image has a draw of its own, it is credited with its own loss, as in `PolicyStep`.

    Args:
        temperature: of the relaxations.

    Differs from the paper:
        1. The derivative is exact where the paper has a finite difference.
        2. A level is one of a number of levels, with the gradient of a relaxed draw of it, and not a continuous magnitude
           with the gradient 1.
        3. The last layer of the control variate starts at 0: at a random start it would be far larger than the rewards.

    Raises:
        ConfigError: a temperature that is not positive.
    """

    temperature: float = 0.5

    uses: ClassVar[frozenset[str]] = frozenset({"policy", "validation", "second_derivatives"})

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report ``valid_loss`` and ``valid_accuracy`` after the step of the weights, and ``policy_gradient_norm``.

        The norm is that of the policy's gradient and the control variate's together.

        Raises:
            ConfigError: there is no supernet, or no policy with a control variate and an optimiser of its own.
        """
        self.check(state)
        optimizer, settings, rate = state.require_policy_learning()
        policy = state.policy
        assert isinstance(policy, ControlledPolicy)
        objective = Objective(state, batch, state.method.sampler(state))
        sample = policy.sample(len(batch.train.labels), generator=state.generator)
        # One draw for the batch has one row of latents, and the reward of the whole batch.
        draws = sample if policy.per == "image" else sample[:1]
        level = relax(policy, draws, self.temperature, generator=state.generator).level
        assert level is not None
        relaxation = Relaxation(level.expand(len(sample), -1))
        images = state.normalize(policy.apply(floats(batch.train.images), sample, path="soft", relaxation=relaxation))
        inner = {name: value.detach() for name, value in state.require_supernet().named_parameters()}
        surrogate, direction = ahead(objective, images, inner, rate)
        reward = surrogate.detach()[None]
        if policy.per == "image":
            losses = objective.losses_of(images.detach())
            used = {name: inner[name] for name in direction}
            reward = -rate * alignment(lambda part: losses({**inner, **part}), used, direction)
        optimizer.zero_grad()
        self._learn(policy, draws, reward, rate, state.generator)
        if levels := policy.of_levels():
            for parameter, gradient in zip(levels, torch.autograd.grad(surrogate, levels), strict=True):
                parameter.grad = gradient
        return {**objective.figures, "policy_gradient_norm": apply_step(optimizer, settings, state.progress)}

    def _learn(
        self, policy: ControlledPolicy, draws: PolicySample, reward: Tensor, rate: float, generator: torch.Generator
    ) -> None:
        """Leave the gradients of choice, gates and control variate in their ``.grad``."""
        draw = latents(policy, draws, self.temperature, generator=generator).joined()
        gradients = relax_gradients(reward.to(draw.log_prob) / rate, draw, policy.control, policy.discrete())
        torch.stack([each.square().sum() for each in gradients]).sum().backward(
            inputs=list(policy.control.parameters())
        )
        for parameter, gradient in zip(policy.discrete(), gradients, strict=True):
            parameter.grad = rate * gradient.detach()

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: there is no supernet, or no policy with a control variate and an optimiser of its own.
        """
        check_learnable(state, "ControlVariateStep")
        if not isinstance(state.policy, ControlledPolicy):
            raise ConfigError(
                f"method {state.method.name!r} has a ControlVariateStep, which needs policy=WithControlVariate(...)."
            )
