"""The score function: gradients of an expectation over draws, from rewards and log-probabilities alone.

``grad E[r] = E[(r - b) grad log p]`` for any baseline `b` that does not depend on the draw it is subtracted for. No
pixel needs a gradient. Rewards are plain numbers, one for each draw; what they are made of is the caller's affair:
`alignment` makes those of DAAS.

With batch normalisation in training mode, the loss of an image depends on the draws of the others. Its own loss is then
the wrong reward of its draw (by two thirds of the gradient in an example of four images that is enumerated in the
tests); the loss of the whole batch is the right one, and frozen statistics make the own loss right again.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from nas_augment.errors import PolicyError

__all__ = ["Baseline", "alignment", "daas_surrogate", "leave_one_out", "score_surrogate", "unit_factor"]

Baseline = Literal["none", "leave_one_out"]

Parameters = Mapping[str, Tensor]


def leave_one_out(rewards: Tensor) -> Tensor:
    """The mean of the other rewards, along the first dimension.

    Args:
        rewards: ``(draws, ...)``, 2 draws or more. For per-image baselines, ``(draws, batch)``: the mean of the other
            draws for the same image.

    Raises:
        PolicyError: there is only one draw.

    Example:
        >>> leave_one_out(torch.tensor([1.0, 2.0, 6.0]))
        tensor([4.0000, 3.5000, 1.5000])
    """
    if rewards.ndim == 0 or len(rewards) < 2:
        raise PolicyError(f"rewards have shape {tuple(rewards.shape)}; leaving one out needs 2 draws or more.")
    return (rewards.sum(0) - rewards) / (len(rewards) - 1)


def score_surrogate(log_prob: Tensor, rewards: Tensor, baseline: Tensor | Baseline = "none") -> Tensor:
    """A scalar whose gradient is the score-function estimate of the gradient of the expected reward (Williams, 1992).

    Args:
        log_prob: of each draw, ``(draws, ...)``.
        rewards: of each draw, the same shape; no gradient passes into them.
        baseline: ``none``; ``leave_one_out``, the mean over the other draws; or a tensor that broadcasts with the
            rewards, such as the rewards of the clean batch, or of the same images not augmented.

    Raises:
        PolicyError: shapes differ, or the baseline is unknown.

    Example:
        >>> logits = torch.zeros(2, requires_grad=True)
        >>> score_surrogate(logits.log_softmax(0), torch.tensor([1.0, 3.0]), "leave_one_out").backward()
        >>> logits.grad
        tensor([-1.,  1.])
    """
    if log_prob.shape != rewards.shape:
        raise PolicyError(
            f"log_prob has shape {tuple(log_prob.shape)}, rewards {tuple(rewards.shape)}; expected the same."
        )
    rewards = rewards.detach()
    if isinstance(baseline, Tensor):
        if torch.broadcast_shapes(baseline.shape, rewards.shape) != rewards.shape:
            raise PolicyError(
                f"baseline has shape {tuple(baseline.shape)}; it must broadcast to {tuple(rewards.shape)}."
            )
        rewards = rewards - baseline.detach()
    elif baseline == "leave_one_out":
        rewards = rewards - leave_one_out(rewards)
    elif baseline != "none":
        raise PolicyError(f"unknown baseline {baseline!r}; expected none, leave_one_out or a tensor.")
    return (rewards * log_prob).mean()


def unit_factor(log_prob: Tensor) -> Tensor:
    """``p / stop_gradient(p)``: 1, with the gradient of the log-probability.

    Multiplied to each drawn term of a loss, it makes automatic differentiation give the score function, also through an
    unrolled step.

    Example:
        >>> unit_factor(torch.tensor([-3.0, -1.0]))
        tensor([1., 1.])
    """
    return torch.exp(log_prob - log_prob.detach())


def alignment(
    losses: Callable[[Parameters], Tensor],
    parameters: Parameters,
    direction: Parameters,
    method: Literal["jvp", "difference", "vjp"] = "jvp",
) -> Tensor:
    """The inner product of a direction with the gradient of each loss: `<h, grad l_i>` of DAAS (after Eq. 12).

    Args:
        losses: gives one loss for each draw or image, ``(n,)``, from the parameters.
        parameters: of the network, at which the gradients are taken.
        direction: named and shaped as the parameters: the gradient of the validation loss.
        method: ``jvp``, one forward-mode pass for all; ``difference``, two plain forward passes (for operations without
            forward mode; relative error about 1e-3 in float32); ``vjp``, one backward pass for each loss.

    Returns:
        ``(n,)`` without gradient.

    Raises:
        PolicyError: the names differ, or the method is unknown.

    Example:
        >>> weights, direction = {"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([1.0, 0.0])}
        >>> alignment(lambda p: p["w"].square() @ torch.tensor([[1.0, 0.0], [0.0, 1.0]]), weights, direction)
        tensor([2., 0.])
    """
    if set(parameters) != set(direction):
        raise PolicyError(f"direction lacks or adds {sorted(set(parameters) ^ set(direction))}.")
    primal = {name: value.detach() for name, value in parameters.items()}
    tangent = {name: direction[name].detach() for name in primal}
    if method == "jvp":
        with warnings.catch_warnings():
            # What torch loads for its first forward-mode pass still uses torch.jit, deprecated in torch 2.15.
            warnings.filterwarnings("ignore", r".*torch\.jit\.", FutureWarning)
            warnings.filterwarnings("ignore", r".*torch\.jit\.", DeprecationWarning)
            return torch.func.jvp(losses, (primal,), (tangent,))[1].detach()
    if method == "difference":
        norm = torch.sqrt(sum((value.square().sum() for value in tangent.values()), torch.tensor(0.0)))
        step = 1e-2 / norm.clamp(min=1e-12)
        with torch.no_grad():
            ends = [
                losses({name: value + sign * step * tangent[name] for name, value in primal.items()})
                for sign in (1, -1)
            ]
        return (ends[0] - ends[1]) / (2 * step)
    if method != "vjp":
        raise PolicyError(f"unknown method {method!r}; expected jvp, difference or vjp.")
    primal = {name: value.requires_grad_() for name, value in primal.items()}
    products = []
    for loss in losses(primal):
        gradients = torch.autograd.grad(loss, list(primal.values()), retain_graph=True, materialize_grads=True)
        products.append(sum((g * t).sum() for g, t in zip(gradients, tangent.values(), strict=True)))
    return torch.stack([torch.as_tensor(product) for product in products])


def daas_surrogate(
    log_prob: Tensor, alignments: Tensor, step_size: float, baseline: Tensor | Baseline = "leave_one_out"
) -> Tensor:
    """A scalar to be minimised whose gradient is DAAS' hypergradient of the policy (Eq. 13).

    ``- step_size * mean_j <h, g_j> grad log p(draw_j)``, with `h` the gradient of the validation loss after the step
    and `g_j` that of the training loss under draw j: draws whose gradient points along `h` become likelier.

    Args:
        log_prob: of each draw, ``(draws,)``, or ``(draws, batch)`` with one draw for every image.
        alignments: `<h, g_j>`, the same shape; see `alignment`.
        step_size: of the inner step, xi.
        baseline: see `score_surrogate`; ``none`` is the paper's.

    Differs from the paper: 1. the baseline, which cuts the variance and, as `h` hardly depends on a draw, adds next to
    no bias; 2. means rather than sums over draws, as in Eq. 10.
    """
    return -step_size * score_surrogate(log_prob, alignments, baseline)
