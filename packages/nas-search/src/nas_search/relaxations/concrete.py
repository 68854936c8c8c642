"""The concrete relaxation of SNAS."""

import torch
from torch import Tensor, nn

from nas_search.relaxations.gumbel import check_temperature, standard_gumbel
from nas_search.relaxations.softmax import masked_logits
from nas_search.roles import ChoiceWeights, Relaxation, Schedule
from nas_search.schedules import Linear
from nas_spaces import Choices

__all__ = ["Concrete"]


class Concrete(Relaxation):
    """``weights = softmax((logits + gumbel) / temperature)``: a draw on the simplex, and all options are evaluated.

    The concrete distribution of Maddison, Mnih and Teh, ICLR 2017, as SNAS uses it (Xie et al., ICLR 2019). The option
    of largest weight follows ``softmax(logits)`` at every temperature; towards 0 the draws become one-hot.

    Args:
        choices: the decisions of the space.
        temperature: over the run; 1 to 0.03 in the released code of SNAS.
        scale: standard deviation of the initial logits.
    """

    def __init__(self, choices: Choices, temperature: Schedule = Linear(1.0, 0.03), scale: float = 1e-3) -> None:
        super().__init__()
        check_temperature(temperature)
        self.temperature = temperature
        self.mask: Tensor
        self.register_buffer("mask", choices.mask, persistent=False)
        self.logits = nn.Parameter(scale * torch.randn(choices.shape))

    def noise(self, generator: torch.Generator) -> Tensor:
        """Standard Gumbel noise, ``(choices, options)``."""
        return standard_gumbel(self.logits, generator)

    def forward(self, noise: Tensor | None, progress: float) -> ChoiceWeights:
        """See `Relaxation.forward`; without noise ``softmax(logits / temperature)``."""
        scores = masked_logits(self.logits, self.mask)
        if noise is not None:
            scores = scores + noise
        return ChoiceWeights((scores / self.temperature(progress)).softmax(dim=1))

    def probabilities(self) -> Tensor:
        """``softmax(logits)``: how often each option has the largest weight; without gradient."""
        return masked_logits(self.logits.detach(), self.mask).softmax(dim=1)
