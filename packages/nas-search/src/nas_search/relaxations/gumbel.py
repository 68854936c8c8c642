"""The hard Gumbel-softmax relaxation of GDAS."""

import torch
from torch import Tensor, nn

from nas_search.errors import ConfigError
from nas_search.relaxations.softmax import masked_logits
from nas_search.roles import ChoiceWeights, Relaxation, Schedule
from nas_search.schedules import Linear
from nas_spaces import Choices

__all__ = ["HardGumbel", "check_temperature", "standard_gumbel"]


class HardGumbel(Relaxation):
    """One drawn option per row, with the gradient of the relaxed draw (Dong and Yang, "GDAS", CVPR 2019, Eq. 3 to 6).

    ``soft = softmax((log softmax(logits) + gumbel) / temperature)``; the weights are the one-hot argmax of `soft`, with
    the gradient of `soft` (straight-through). In a row of which a space picks several options, the weights are 1 at as
    many of the largest: draws without replacement (Kool, van Hoof and Welling, ICML 2019), with the same gradient.

    Args:
        choices: the decisions of the space.
        temperature: over the run; 10 to 0.1 in the paper's code for NAS-Bench-201.
        scale: standard deviation of the initial logits.
        all_options: where a derivative is taken, evaluate the options that were not drawn as well, with weight zero: the
            derivative of the loss with respect to every weight, in place of those of the drawn ones. It costs the time and the
            memory of the whole supernet, and finds other cells, not always better ones (see ``benchmarks/joint.md``).

    Differs from the paper:
        1. Without `all_options` only drawn options are evaluated, so the others receive gradient through the softmax alone; the
           released code adds their zero weights to the sum, which gives each of them the same constant gradient. What is
           drawn is then compared with nothing but itself: a drawn ``none`` has the derivative 0, and is never pushed down.
    """

    def __init__(
        self,
        choices: Choices,
        temperature: Schedule = Linear(10.0, 0.1),
        scale: float = 1e-3,
        *,
        all_options: bool = False,
    ) -> None:
        super().__init__()
        check_temperature(temperature)
        self.temperature, self.all_options = temperature, all_options
        self.mask: Tensor
        self.register_buffer("mask", choices.mask, persistent=False)
        self.picks = choices.picks
        self.logits = nn.Parameter(scale * torch.randn(choices.shape))

    def noise(self, generator: torch.Generator) -> Tensor:
        """Standard Gumbel noise, ``(choices, options)``."""
        return standard_gumbel(self.logits, generator)

    def forward(self, noise: Tensor | None, progress: float) -> ChoiceWeights:
        """See `Relaxation.forward`; without noise the most probable options are taken."""
        scores = masked_logits(self.logits, self.mask).log_softmax(dim=1)
        if noise is not None:
            scores = scores + noise
        soft = (scores / self.temperature(progress)).softmax(dim=1)
        # The order of the scores, not of `soft`, which may tie in float32 at a low temperature.
        order = scores.detach().argsort(dim=1, descending=True, stable=True).tolist()
        drawn = tuple(tuple(sorted(options[:picks])) for options, picks in zip(order, self.picks, strict=True))
        hard = torch.zeros_like(soft)
        for row, options in enumerate(drawn):
            hard[row, list(options)] = 1.0
        weights = hard + soft - soft.detach()
        return ChoiceWeights(weights, None if self.all_options and weights.requires_grad else drawn)

    def probabilities(self) -> Tensor:
        """``softmax(logits)``: how often each option is drawn, or drawn first where several are; without gradient."""
        return masked_logits(self.logits.detach(), self.mask).softmax(dim=1)


def standard_gumbel(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise of the shape of `like`: ``-log(e)`` with `e` standard exponential."""
    return -torch.empty_like(like).exponential_(generator=generator).log()


def check_temperature(temperature: Schedule) -> None:
    """Refuse a temperature that is not positive at both ends of the run.

    Raises:
        ConfigError: naming both.
    """
    if min(temperature(0.0), temperature(1.0)) <= 0:
        raise ConfigError(
            f"the temperature goes from {temperature(0.0)} to {temperature(1.0)}; expected positive numbers."
        )
