"""Gates that are open or shut with a learned probability, and what drives them open."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nas_hypergrad import Variables
from nas_search.errors import ConfigError
from nas_search.roles import Schedule
from nas_search.schedules import Constant

__all__ = ["HardConcrete", "OpenGates"]


@dataclass(frozen=True)
class HardConcrete:
    """The hard concrete distribution on [0, 1], with mass on both ends (Louizos, Welling and Kingma, ICLR 2018).

    ``gate = min(1, max(0, low + (high - low) sigmoid((logistic + logits) / temperature)))`` with standard logistic noise.
    The defaults are those of that paper; BaLeNAS gives none.

    Args:
        low: lower end of the stretched interval, below 0.
        high: upper end, above 1.
        temperature: of the relaxed coin.

    Raises:
        ConfigError: an interval without mass on both ends, or a temperature that is not positive.
    """

    low: float = -0.1
    high: float = 1.1
    temperature: float = 2 / 3

    def __post_init__(self) -> None:
        if not (self.low < 0 and self.high > 1 and self.temperature > 0):
            raise ConfigError(f"{self} needs low < 0, high > 1 and a positive temperature.")

    def noise(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Standard logistic noise of the shape of `like`."""
        return torch.rand(like.shape, generator=generator, dtype=like.dtype).logit(eps=torch.finfo(like.dtype).eps)

    def gate(self, logits: Tensor, noise: Tensor | None) -> Tensor:
        """The gates, in [0, 1]; without noise Louizos' rule for a trained network, the stretched ``sigmoid(logits)``."""
        coin = torch.sigmoid(logits if noise is None else (logits + noise) / self.temperature)
        return (self.low + (self.high - self.low) * coin).clamp(0, 1)

    def open_probability(self, logits: Tensor) -> Tensor:
        """The probability that a gate is above 0: ``sigmoid(logits - temperature log(-low / high))``."""
        return torch.sigmoid(logits - self.temperature * math.log(-self.low / self.high))


@dataclass(frozen=True)
class OpenGates:
    """``- coefficient * sum of the probabilities that the depth gates are open`` (thesis, Eq. 5.20 and 5.21).

    Meets `Regularizer`; it reads the outer variable ``relaxation.gates`` of `GatedSoftmax`.

    Args:
        coefficient: eta over the run; 0.05 in the paper.
        distribution: of the gates, the same as that of the relaxation.
    """

    coefficient: Schedule = Constant(0.05)
    distribution: HardConcrete = HardConcrete()

    def __call__(self, weights: Tensor, progress: float, outer: Variables) -> Tensor:
        """See `Regularizer`.

        Raises:
            ConfigError: the relaxation has no gates.
        """
        if "relaxation.gates" not in outer:
            raise ConfigError(f"{self} needs gates to open; give the method the relaxation GatedSoftmax.")
        return -self.coefficient(progress) * self.distribution.open_probability(outer["relaxation.gates"]).sum()
