"""The loss of the drawn path and of others that must not be forgotten."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nas_search.errors import ConfigError
from nas_search.losses.constraints import Constraints
from nas_search.roles import ChoiceWeights
from nas_spaces import Drawn

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["Replay"]


@dataclass(frozen=True)
class Replay:
    """``(1 - beta) L(a_t) + beta / M sum_i L(a_i)``: NSAS, thesis Eq. 3.6; E2NAS, Eq. 4.12 with beta = epsilon.

    All terms see the same batch. The weight decay of Eq. 3.6 is the optimiser's. It costs M + 1 steps of a single
    path, and as many times its memory. Where there is nothing to replay yet, the loss is that of the current path.

    Args:
        constraints: chooses the paths that are replayed.
        beta: the weight of the replayed paths, in [0, 1].
        gradients: False leaves out the gradient of the replayed terms, which is what the released DARTS-space code of
            NSAS does in effect: the learning rate is multiplied with ``1 - beta``, and nothing else.

    Differs from the papers:
        1. Eq. 4.12 prints epsilon in front of both of its terms, which weighs a step by 1 + epsilon; as in the
           released code each has half of it.
    """

    constraints: Constraints
    beta: float = 0.5
    gradients: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.beta <= 1:
            raise ConfigError(f"beta is {self.beta}; expected a weight from 0 to 1.")

    def __call__(
        self, evaluate: Callable[[ChoiceWeights], Tensor], choice: ChoiceWeights, state: "SearchState"
    ) -> Tensor:
        """See `SupernetLoss`.

        Raises:
            ConfigError: the weight step trains a mixture, so that there is no path to be forgotten.
        """
        path = self.path_of(choice, state)
        loss = evaluate(choice)
        paths = self.constraints(state, path)
        state.memory["previous_path"] = [list(options) for options in path]
        if not paths:
            return loss
        with torch.set_grad_enabled(self.gradients and torch.is_grad_enabled()):
            replayed = [evaluate(ChoiceWeights(state.space.choices.one_hot(path), path)) for path in paths]
        return (1 - self.beta) * loss + self.beta * torch.stack(replayed).mean()

    def path_of(self, choice: ChoiceWeights, state: "SearchState") -> Drawn:
        """The path of what a step trains.

        Raises:
            ConfigError: it is a mixture.
        """
        if choice.drawn is None:
            raise ConfigError(
                f"method {state.method.name!r} trains mixtures of all operations; Replay is for methods that train one "
                "path a step, such as random_nas and gdas."
            )
        return choice.drawn
