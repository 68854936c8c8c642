"""The Dirichlet relaxation of DrNAS."""

from typing import Any

import numpy as np
import torch
from scipy.special import gammaincinv
from torch import Tensor, nn

from nas_search.relaxations.softmax import masked_logits
from nas_search.roles import ChoiceWeights, Relaxation
from nas_spaces import Choices

__all__ = ["Dirichlet", "log_gamma_quantile"]

_TAIL = -50.0
"""Below this logarithm the first term of the series of `P` is all of it, in float64."""

_LEAST = -60.0
"""The smallest logarithm of a concentration: draws are one-hot long before, and derivatives must stay finite."""


class Dirichlet(Relaxation):
    """``weights ~ Dirichlet(concentration)`` with ``concentration = elu(logits) + 1`` in each row.

    Chen, Wang, Cheng, Tang and Hsieh, "DrNAS: Dirichlet Neural Architecture Search", ICLR 2021. A draw is a row of
    independent gamma variables divided by their sum. Each is the quantile of a uniform number, so that equal noise gives
    weights which are a smooth function of the logits; their derivative is the pathwise one.

    Args:
        choices: the decisions of the space.
        scale: standard deviation of the initial logits; at 0 all concentrations are 1 and draws are uniform.

    Differs from the paper:
        1. The expected weights, ``concentration / sum``, are what an architecture is derived from; the released code
           takes ``softmax(logits)``. Within a row the order is the same.
    """

    def __init__(self, choices: Choices, scale: float = 1e-3) -> None:
        super().__init__()
        self.mask: Tensor
        self.register_buffer("mask", choices.mask, persistent=False)
        self.logits = nn.Parameter(scale * torch.randn(choices.shape))

    def noise(self, generator: torch.Generator) -> Tensor:
        """Uniform numbers in (0, 1), ``(choices, options)`` float64."""
        # Odd multiples of 2^-53: never 0 or 1, whose quantiles are 0 and infinite.
        return (2 * torch.randint(2**52, self.logits.shape, generator=generator) + 1).double() * 2.0**-53

    def forward(self, noise: Tensor | None, progress: float) -> ChoiceWeights:
        """See `Relaxation.forward`; without noise the expected weights."""
        concentration = _concentration(self.logits.double())
        parts = concentration.log() if noise is None else log_gamma_quantile(concentration, noise)
        return ChoiceWeights(masked_logits(parts, self.mask).softmax(dim=1).to(self.logits.dtype))

    def probabilities(self) -> Tensor:
        """The expected weights, without gradient."""
        return masked_logits(_concentration(self.logits.detach()).log(), self.mask).softmax(dim=1)


def _concentration(logits: Tensor) -> Tensor:
    """``elu(logits) + 1``, without the cancellation that makes it 0 where it is small."""
    below = logits.clamp_min(_LEAST).where(logits <= 0, 0.0)
    return torch.where(logits > 0, logits + 1, below.exp())


class _LogGammaQuantile(torch.autograd.Function):
    """Forward by SciPy; backward by the implicit derivative that PyTorch has for its own gamma draws.

    For small x, ``P(a, x) = x^a / gamma(a + 1)`` to the last digit, and ``log x = (log u + log gamma(a + 1)) / a`` where
    x itself is smaller than any number.
    """

    @staticmethod
    def forward(concentration: Tensor, noise: Tensor) -> Tensor:
        shape, level = (np.asarray(value.detach().cpu().double()) for value in (concentration, noise))
        quantile = torch.from_numpy(np.asarray(gammaincinv(shape, level))).to(concentration)
        tail = (noise.log() + torch.lgamma(concentration + 1)) / concentration
        return torch.where(tail < _TAIL, tail, quantile.log())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None]:
        concentration, quantile = ctx.saved_tensors
        value = quantile.clamp_min(_TAIL).exp()
        tail = (torch.digamma(concentration + 1) - quantile) / concentration
        slope = torch.where(quantile < _TAIL, tail, torch._standard_gamma_grad(concentration, value) / value)
        return grad[0] * slope, None


def log_gamma_quantile(concentration: Tensor, noise: Tensor) -> Tensor:
    """Logarithms of gamma variables: ``log x`` with ``P(concentration, x) = noise``.

    `P` is the regularised incomplete gamma function, of unit rate. The derivative is that of the implicit function,
    ``dx/da = -(dP/da) / (dP/dx)`` (Figurnov, Mohamed and Mnih, NeurIPS 2018).

    Args:
        concentration: `a`, positive, of any shape, float64.
        noise: in (0, 1), of the same shape and dtype; without gradient.

    Returns:
        The logarithms, of the same shape.
    """
    return _LogGammaQuantile.apply(concentration, noise)
