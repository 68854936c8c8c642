"""Learning a distribution over paths by its score function, from rewards that are not differentiated (REINFORCE)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from nas_search.distributed import mean as over_ranks
from nas_search.errors import ConfigError
from nas_search.objective import accuracy, cross_entropy
from nas_search.optimizers import apply_step
from nas_search.relaxations import Autoregressive
from nas_search.roles import ChoiceWeights
from nas_search.run_state import check_positive
from nas_search.samplers import architecture_of

if TYPE_CHECKING:
    from nas_search.batches import Batch
    from nas_search.state import SearchState

__all__ = ["ScoreFunctionStep", "negative_loss", "score_function_terms"]


def score_function_terms(log_probs: Tensor, rewards: Tensor, baseline: float, entropy: float = 0.0) -> Tensor:
    """Terms whose mean over draws has minus the gradient of ``E[reward] + entropy H(p)`` in expectation, ``(draws,)``.

    ``- (reward - baseline - entropy log p) log p``, the bracket without gradient (Williams, "Simple statistical
    gradient-following algorithms", 1992). The baseline changes the variance alone if it does not depend on the draws. The
    entropy's gradient is ``E[-log p grad log p]``, so that it is a reward of ``-log p``.

    Args:
        log_probs: of the draws, with gradient, ``(draws,)``.
        rewards: of the draws, ``(draws,)``.
        baseline: b.
        entropy: weight of the entropy.
    """
    advantages = rewards.to(log_probs) - baseline - entropy * log_probs.detach()
    return -advantages.detach() * log_probs


def negative_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Minus the mean cross-entropy, a reward beside `nas_search.objective.accuracy`; a scalar."""
    return -cross_entropy(logits, labels)


@dataclass(frozen=True)
class ScoreFunctionStep:
    """One optimiser step of an `Autoregressive` relaxation along the score-function gradient of its paths' reward (ENAS).

    A reward is that of the architecture that a path stands for (see `architecture_of`), with shared weights, on the
    validation batch of the step. The baseline is a moving average of the rewards of the steps before; in the first step
    it is the mean of that step's own. It is remembered as ``reward_baseline``.

    Args:
        samples: paths drawn in a step.
        reward: logits and labels to a scalar, larger being better.
        baseline_decay: of the moving average, in [0, 1).
        entropy: weight of the distribution's entropy.

    Raises:
        ConfigError: a number of samples below 1, a decay outside [0, 1), or a negative weight of the entropy.
    """

    samples: int = 5
    reward: Callable[[Tensor, Tensor], Tensor] = accuracy
    baseline_decay: float = 0.99
    entropy: float = 1e-4

    uses: ClassVar[frozenset[str]] = frozenset({"outer", "validation"})

    def __post_init__(self) -> None:
        check_positive(controller_samples=self.samples)
        if not (0 <= self.baseline_decay < 1 and self.entropy >= 0):
            raise ConfigError(
                f"baseline_decay is {self.baseline_decay} and entropy {self.entropy}; expected a factor of 0 or more, below 1, "
                "and a weight of 0 or more."
            )

    def __call__(self, state: "SearchState", batch: "Batch") -> Mapping[str, Tensor]:
        """Report ``valid_accuracy``, the mean over the paths, and ``reward`` and ``path_entropy``, the mean of ``-log p``.

        Raises:
            ConfigError: the relaxation is not `Autoregressive`, or there is no supernet.
        """
        self.check(state)
        relaxation, optimizer = state.relaxation, state.outer_optimizer
        assert isinstance(relaxation, Autoregressive)
        assert optimizer is not None
        with torch.no_grad():
            drawn = [relaxation(relaxation.noise(state.generator), state.progress) for _ in range(self.samples)]
            scores = [self._score(state, batch, architecture_of(state, path)) for path in drawn]
        rewards = over_ranks(torch.stack([reward for reward, _ in scores]))
        mean = float(rewards.mean())
        baseline = state.memory.get("reward_baseline", mean)
        log_probs = relaxation.log_prob([path.drawn for path in drawn if path.drawn is not None])
        optimizer.zero_grad()
        score_function_terms(log_probs, rewards, baseline, self.entropy).mean().backward()
        apply_step(optimizer, state.method.outer, state.progress)
        state.memory["reward_baseline"] = self.baseline_decay * baseline + (1 - self.baseline_decay) * mean
        return {
            "valid_accuracy": torch.stack([correct for _, correct in scores]).mean(),
            "reward": rewards.mean(),
            "path_entropy": -log_probs.detach().mean(),
        }

    def check(self, state: "SearchState") -> None:
        """See `Checked`.

        Raises:
            ConfigError: the relaxation is not `Autoregressive`, or there is no supernet.
        """
        if not isinstance(state.relaxation, Autoregressive):
            raise ConfigError(
                f"method {state.method.name!r} has a ScoreFunctionStep, which learns the relaxation Autoregressive; its "
                f"relaxation is {type(state.relaxation).__name__}."
            )
        state.require_supernet()

    def _score(self, state: "SearchState", batch: "Batch", choice: ChoiceWeights) -> tuple[Tensor, Tensor]:
        """The reward and the accuracy of an architecture on the validation batch, without dropout."""
        supernet, (images, labels) = state.require_supernet(), batch.valid
        training = supernet.training
        supernet.eval()
        try:
            logits = state.logits(state.normalize(images), choice)
        finally:
            supernet.train(training)
        return self.reward(logits, labels), accuracy(logits, labels)
