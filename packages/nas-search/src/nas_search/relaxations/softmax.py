"""The softmax relaxation of DARTS."""

import torch
from torch import Tensor, nn

from nas_search.roles import ChoiceWeights, Relaxation
from nas_spaces import Choices

__all__ = ["Softmax", "masked_logits"]


class Softmax(Relaxation):
    """``weights = softmax(logits)`` along the options of each row (Liu et al., "DARTS", ICLR 2019, Eq. 2).

    Args:
        choices: the decisions of the space; missing options have weight 0.
        scale: standard deviation of the initial logits.
    """

    def __init__(self, choices: Choices, scale: float = 1e-3) -> None:
        super().__init__()
        self.mask: Tensor
        self.register_buffer("mask", choices.mask, persistent=False)
        self.logits = nn.Parameter(scale * torch.randn(choices.shape))

    def noise(self, generator: torch.Generator) -> None:
        """Nothing is random."""
        return

    def forward(self, noise: Tensor | None, progress: float) -> ChoiceWeights:
        """See `Relaxation.forward`."""
        return ChoiceWeights(masked_logits(self.logits, self.mask).softmax(dim=1))

    def probabilities(self) -> Tensor:
        """The same weights, without gradient."""
        return masked_logits(self.logits.detach(), self.mask).softmax(dim=1)


def masked_logits(logits: Tensor, mask: Tensor) -> Tensor:
    """Logits ``(choices, options)`` with minus infinity where an option does not exist."""
    return logits.masked_fill(~mask, -torch.inf)
