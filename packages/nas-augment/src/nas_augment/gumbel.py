"""Relaxed draws: Gumbel soft-max, relaxed Bernoulli, and RELAX, the unbiased estimator that is built on them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from nas_augment.errors import PolicyError

__all__ = ["RelaxedDraw", "gumbel_softmax", "relax_surrogate", "relaxed_bernoulli", "relaxed_categorical"]

_TINY = 1e-12


class RelaxedDraw(NamedTuple):
    """A discrete draw with its relaxations, for RELAX.

    Attributes:
        hard: the draw, 0 or 1; one-hot for a categorical. No gradient.
        relaxed: the latent that it was thresholded from, squashed; differentiable in the logits.
        conditional: a latent drawn again given `hard`, squashed; differentiable in the logits.
        log_prob: of `hard`, summed over classes for a categorical.
    """

    hard: Tensor
    relaxed: Tensor
    conditional: Tensor
    log_prob: Tensor


def gumbel_softmax(logits: Tensor, temperature: float, *, generator: torch.Generator, hard: bool = False) -> Tensor:
    """A relaxed one-hot draw from a soft-max over the last dimension (Jang et al., 2017; Maddison et al., 2017).

    Args:
        logits: ``(..., classes)``.
        temperature: positive; towards 0 the draw becomes one-hot.
        generator: of the noise, on any device.
        hard: one-hot forward, with the gradient of the relaxed draw. The class is exactly that of the categorical.

    Raises:
        PolicyError: the temperature is not positive.
    """
    _check_temperature(temperature)
    soft = ((logits + _gumbel(logits, generator)) / temperature).softmax(-1)
    if not hard:
        return soft
    one_hot = torch.zeros_like(soft).scatter(-1, soft.argmax(-1, keepdim=True), 1.0)
    # Grouped so that the forward value is the one-hot exactly.
    return one_hot + (soft - soft.detach())


def relaxed_bernoulli(
    logits: Tensor, temperature: float, *, generator: torch.Generator, conditional: bool = True
) -> RelaxedDraw:
    """A gate, its relaxation, and its relaxation given the gate (Tucker et al., 2017; DADA).

    With ``u`` uniform, ``z = logit + log u - log(1 - u)`` and the gate is ``z > 0``. Given the gate, `u` is uniform on
    the part of [0, 1] that leads to it; drawing it again there gives the conditional latent.

    Raises:
        PolicyError: the temperature is not positive.
    """
    _check_temperature(temperature)
    z = logits + _logit(_uniform(logits, generator))
    hard = (z > 0).to(logits.dtype).detach()
    again = z
    if conditional:
        v, off = _uniform(logits, generator), torch.sigmoid(-logits)
        u = torch.where(hard > 0, off + v * (1 - off), v * off).clamp(_TINY, 1 - 1e-7)
        again = logits + _logit(u)
    log_prob = torch.nn.functional.logsigmoid(torch.where(hard > 0, logits, -logits))
    return RelaxedDraw(hard, torch.sigmoid(z / temperature), torch.sigmoid(again / temperature), log_prob)


def relaxed_categorical(logits: Tensor, temperature: float, *, generator: torch.Generator) -> RelaxedDraw:
    """A one-hot draw, its relaxation, and its relaxation given the draw (Grathwohl et al., 2018, App. C).

    Raises:
        PolicyError: the temperature is not positive.
    """
    _check_temperature(temperature)
    log_p = logits.log_softmax(-1)
    z = log_p + _gumbel(logits, generator)
    chosen = z.argmax(-1, keepdim=True)
    hard = torch.zeros_like(z).scatter(-1, chosen, 1.0).detach()
    # Given that class b won, its Gumbel is free and the others are cut off below it.
    noise = -_uniform(logits, generator).log()
    top = noise.gather(-1, chosen)
    others = -torch.log(noise / log_p.exp().clamp(min=_TINY) + top)
    again = torch.where(hard > 0, -torch.log(top), others)
    log_prob = (hard * log_p).sum(-1)
    return RelaxedDraw(hard, (z / temperature).softmax(-1), (again / temperature).softmax(-1), log_prob)


def relax_surrogate(reward: Tensor, draw: RelaxedDraw, control: Callable[[Tensor], Tensor]) -> Tensor:
    """A scalar whose gradient is the RELAX estimate of the gradient of the expected reward (Grathwohl et al., 2018).

    ``(r - c(z~)) grad log p + grad c(z) - grad c(z~)``, unbiased for every control variate `c`; the better it predicts
    the reward, the smaller the variance.

    Args:
        reward: of each draw, ``(draws,)``; no gradient passes into it.
        draw: of a batch of draws, first dimension ``draws``.
        control: a guess of the reward from a relaxed draw, ``(draws, ...) -> (draws,)``; parameters of its own are
            trained by the caller, on the variance.

    Raises:
        PolicyError: the control variate does not give one number for each draw.
    """
    relaxed, conditional = control(draw.relaxed), control(draw.conditional)
    if relaxed.shape != reward.shape:
        raise PolicyError(f"the control variate gives {tuple(relaxed.shape)}; expected {tuple(reward.shape)}.")
    log_prob = draw.log_prob.reshape(len(reward), -1).sum(1)
    return ((reward.detach() - conditional.detach()) * log_prob + relaxed - conditional).mean()


def _check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise PolicyError(f"temperature is {temperature}; expected a positive number.")


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.rand(like.shape, generator=generator, device=generator.device, dtype=torch.float64)
    return drawn.clamp(_TINY, 1 - 1e-7).to(like)


def _gumbel(like: Tensor, generator: torch.Generator) -> Tensor:
    return -torch.log(-torch.log(_uniform(like, generator)))


def _logit(probability: Tensor) -> Tensor:
    return probability.log() - torch.log1p(-probability)
