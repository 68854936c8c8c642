"""Relaxed draws: Gumbel soft-max, relaxed Bernoulli, and RELAX, the unbiased estimator that is built on them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nas_augment.errors import PolicyError
from nas_augment.policy import check_generator

__all__ = [
    "RelaxedDraw",
    "gumbel_softmax",
    "relax_gradients",
    "relax_surrogate",
    "relaxed_bernoulli",
    "relaxed_categorical",
]

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
    soft = ((logits + _gumbel(logits, generator)) / temperature).softmax(-1).to(logits.dtype)
    if not hard:
        return soft
    one_hot = torch.zeros_like(soft).scatter(-1, soft.argmax(-1, keepdim=True), 1.0)
    # Grouped so that the forward value is the one-hot exactly.
    return one_hot + (soft - soft.detach())


def relaxed_bernoulli(
    logits: Tensor,
    temperature: float,
    *,
    generator: torch.Generator,
    conditional: bool = True,
    given: Tensor | None = None,
) -> RelaxedDraw:
    """A gate, its relaxation, and its relaxation given the gate (Tucker et al., 2017; DADA).

    With ``u`` uniform, ``z = logit + log u - log(1 - u)`` and the gate is ``z > 0``. Given the gate, `u` is uniform on
    the part of [0, 1] that leads to it; drawing it again there gives the conditional latent.

    Args:
        logits: of the gates, of any shape.
        temperature: of the relaxations, positive.
        generator: of the noise, on any device.
        conditional: whether to draw the latent given the gate; otherwise it is the first one.
        given: gates that were drawn elsewhere, 0 or 1, shaped as the logits; the latent is drawn given them.

    Raises:
        PolicyError: the temperature is not positive, or `given` are not gates of these logits.
    """
    _check_temperature(temperature)
    dtype, logits = logits.dtype, logits.to(_wide(logits))
    if given is None:
        z = logits + _logit(_uniform(logits, generator))
        hard = (z > 0).to(logits.dtype).detach()
    else:
        hard = _check_given(given, logits)
        # The noise that the draw came from: constant, as in a draw of our own.
        z = logits + (_bernoulli_given(logits, hard, generator) - logits).detach()
    again = _bernoulli_given(logits, hard, generator) if conditional else z
    log_prob = torch.nn.functional.logsigmoid(torch.where(hard > 0, logits, -logits))
    return _narrowed(hard, torch.sigmoid(z / temperature), torch.sigmoid(again / temperature), log_prob, dtype)


def relaxed_categorical(
    logits: Tensor, temperature: float, *, generator: torch.Generator, given: Tensor | None = None
) -> RelaxedDraw:
    """A one-hot draw, its relaxation, and its relaxation given the draw (Grathwohl et al., 2018, App. C).

    Args:
        logits: ``(..., classes)``.
        temperature: of the relaxations, positive.
        generator: of the noise, on any device.
        given: a one-hot draw made elsewhere, shaped as the logits; the latent is drawn given it.

    Raises:
        PolicyError: the temperature is not positive, or `given` is not a draw of these logits.
    """
    _check_temperature(temperature)
    dtype, logits = logits.dtype, logits.to(_wide(logits))
    log_p = logits.log_softmax(-1)
    if given is None:
        z = log_p + _gumbel(logits, generator)
        hard = torch.zeros_like(z).scatter(-1, z.argmax(-1, keepdim=True), 1.0).detach()
    else:
        hard = _check_given(given, logits)
        if not (hard.sum(-1) == 1).all():
            raise PolicyError("given is not one-hot: each row of a drawn class has a single one.")
        z = log_p + (_categorical_given(log_p, hard, generator) - log_p).detach()
    again = _categorical_given(log_p, hard, generator)
    log_prob = (hard * log_p).sum(-1)
    return _narrowed(hard, (z / temperature).softmax(-1), (again / temperature).softmax(-1), log_prob, dtype)


def _bernoulli_given(logits: Tensor, hard: Tensor, generator: torch.Generator) -> Tensor:
    v, off = _uniform(logits, generator), torch.sigmoid(-logits)
    return logits + _logit(torch.where(hard > 0, off + v * (1 - off), v * off).clamp(_TINY, 1 - 1e-7))


def _categorical_given(log_p: Tensor, hard: Tensor, generator: torch.Generator) -> Tensor:
    # Given that class b won, its Gumbel is free and the others are cut off below it.
    noise = -_uniform(log_p, generator).log()
    top = (noise * hard).sum(-1, keepdim=True)
    others = -torch.log(noise / log_p.exp().clamp(min=_TINY) + top)
    return torch.where(hard > 0, -torch.log(top), others)


def relax_surrogate(reward: Tensor, draw: RelaxedDraw, control: Callable[[Tensor], Tensor]) -> Tensor:
    """A scalar whose gradient is the RELAX estimate of the gradient of the expected reward (Grathwohl et al., 2018).

    ``(r - c(z~)) grad log p + grad c(z) - grad c(z~)``, unbiased for every control variate `c`; the better it predicts
    the reward, the smaller the variance.

    Args:
        reward: of each draw, ``(draws,)``; no gradient passes into it.
        draw: of a batch of draws, first dimension ``draws``.
        control: a guess of the reward from a relaxed draw, ``(draws, ...) -> (draws,)``; parameters of its own must be
            frozen: train them through `relax_gradients`.

    Raises:
        PolicyError: the control variate does not give one number for each draw.
    """
    relaxed, conditional, log_prob = _controlled(reward, draw, control)
    return ((reward.detach() - conditional.detach()) * log_prob + relaxed - conditional).mean()


def relax_gradients(
    reward: Tensor, draw: RelaxedDraw, control: Callable[[Tensor], Tensor], parameters: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """The gradient of `relax_surrogate`, differentiable in the parameters of the control variate.

    The estimate `g` is unbiased whatever they are, so that the gradient of the sum of its squares is an unbiased one
    of its variance: they are trained by ``sum(g.square().sum() for g in gradients).backward()``
    (Grathwohl et al., 2018, Sec. 3.1; DADA), and the parameters by ``parameter.grad = g.detach()``.

    Args:
        reward: of each draw, ``(draws,)``; no gradient passes into it.
        draw: of a batch of draws, first dimension ``draws``.
        control: a guess of the reward from a relaxed draw, ``(draws, ...) -> (draws,)``.
        parameters: what `draw` was drawn from, leaves or not.

    Returns:
        One estimate for each of `parameters`, shaped as it.

    Raises:
        PolicyError: the control variate does not give one number for each draw.
    """
    relaxed, conditional, log_prob = _controlled(reward, draw, control)
    # The weight of grad log p is a constant for the parameters, but not for the control variate's: a vector that is
    # multiplied from the left is just that.
    weight = (reward.detach() - conditional) / len(reward)
    score = torch.autograd.grad(log_prob, parameters, weight, create_graph=True, materialize_grads=True)
    path = torch.autograd.grad((relaxed - conditional).mean(), parameters, create_graph=True, materialize_grads=True)
    return tuple(one + other for one, other in zip(score, path, strict=True))


def _controlled(
    reward: Tensor, draw: RelaxedDraw, control: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    relaxed, conditional = control(draw.relaxed), control(draw.conditional)
    if relaxed.shape != reward.shape:
        raise PolicyError(f"the control variate gives {tuple(relaxed.shape)}; expected {tuple(reward.shape)}.")
    return relaxed, conditional, draw.log_prob[..., None].flatten(1).sum(1)


def _check_given(given: Tensor, logits: Tensor) -> Tensor:
    given = given.detach().to(logits)
    if given.shape != logits.shape or not ((given == 0) | (given == 1)).all():
        raise PolicyError(
            f"given is {tuple(given.shape)}; expected zeros and ones shaped as logits, {tuple(logits.shape)}."
        )
    return given


def _check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise PolicyError(f"temperature is {temperature}; expected a positive number.")


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    check_generator(generator)
    drawn = torch.rand(like.shape, generator=generator, device=generator.device, dtype=torch.float64)
    return drawn.clamp(_TINY, 1 - 1e-7).to(like.device, _wide(like))


def _wide(like: Tensor) -> torch.dtype:
    # In half precision 1 - 1e-7 is 1, and the noise of one draw in some hundreds infinite.
    return torch.promote_types(like.dtype, torch.float32)


def _narrowed(hard: Tensor, relaxed: Tensor, conditional: Tensor, log_prob: Tensor, dtype: torch.dtype) -> RelaxedDraw:
    return RelaxedDraw(hard.to(dtype), relaxed.to(dtype), conditional.to(dtype), log_prob.to(dtype))


def _gumbel(like: Tensor, generator: torch.Generator) -> Tensor:
    return -torch.log(-torch.log(_uniform(like, generator)))


def _logit(probability: Tensor) -> Tensor:
    return probability.log() - torch.log1p(-probability)
