"""Gradients of expectations over sampled choices: the score function and the unit factor.

A loss of a drawn choice does not depend on the choice's probability through any differentiable path. Multiplied by
`unit_factor` of the choice's log-probability its value stays the same and its derivative becomes the score function's,
so that every estimator of this package differentiates sampled inner losses: with one unrolled step of SGD the
hypergradient is that of DAAS Eq. 10 to 13.
"""

import torch
from torch import Tensor

from nas_hypergrad.errors import ProblemError

__all__ = ["leave_one_out", "score_function", "unit_factor"]


def unit_factor(log_probs: Tensor, *, leave_one_out: bool = False) -> Tensor:
    """``exp(log_p - stop(log_p))``: one, with the derivative ``d log_p``.

    Args:
        log_probs: log-probabilities ``(...,)``; with `leave_one_out` those of `n` independent draws along the last
            dimension.
        leave_one_out: subtract from each draw's loss, wherever the product is differentiated with respect to the
            probabilities, the mean of the other draws' losses: the variance falls, the expectation does not change
            for losses of the draws alone. The mean of the draws' products must be taken.

    Returns:
        Ones, of the shape of `log_probs`.

    Raises:
        ProblemError: `leave_one_out` with less than two draws.

    Example:
        >>> logits = torch.zeros(2, requires_grad=True)
        >>> loss = unit_factor(logits.log_softmax(0)[0]) * 3.0
        >>> loss.item(), torch.autograd.grad(loss, logits)[0].tolist()
        (3.0, [1.5, -1.5])
    """
    if leave_one_out:
        # sum_j s_j (dlog p_j - mean of the others) = sum_j (s_j - mean of the others) dlog p_j
        log_probs = _minus_others(log_probs)
    return (log_probs - log_probs.detach()).exp()


def score_function(values: Tensor, log_probs: Tensor, baseline: Tensor | float = 0.0) -> Tensor:
    """The surrogate ``mean (values - baseline) log_p``; its gradient is the score-function estimate of ``d E[values]``.

    Args:
        values: the losses of the draws ``(n,)``; treated as constants.
        log_probs: the draws' log-probabilities ``(n,)``.
        baseline: subtracted from the values: a number, a running mean, or `leave_one_out` of the values.

    Returns:
        A scalar to differentiate; its value means nothing.

    Raises:
        ProblemError: the shapes differ.
    """
    if values.shape != log_probs.shape:
        raise ProblemError(
            f"values have shape {tuple(values.shape)}, log_probs {tuple(log_probs.shape)}; expected the same."
        )
    baseline = torch.as_tensor(baseline, device=values.device).detach()
    if baseline.numel() != 1 and baseline.shape != values.shape:
        raise ProblemError(
            f"baseline has shape {tuple(baseline.shape)}; expected a number or the values' shape {tuple(values.shape)}."
        )
    return ((values.detach() - baseline) * log_probs).mean()


def leave_one_out(values: Tensor) -> Tensor:
    """The mean of the other draws' values, a baseline that is independent of each draw (Kool et al., 2019).

    Args:
        values: ``(..., n)`` with at least two draws along the last dimension.

    Raises:
        ProblemError: less than two draws.

    Example:
        >>> leave_one_out(torch.tensor([1.0, 2.0, 6.0]))
        tensor([4.0000, 3.5000, 1.5000])
    """
    return values - _minus_others(values)


def _minus_others(values: Tensor) -> Tensor:
    draws = values.shape[-1] if values.dim() else 1
    if draws < 2:
        raise ProblemError(
            f"a leave-one-out baseline needs at least two draws along the last dimension, given {draws}."
        )
    return values - (values.sum(-1, keepdim=True) - values) / (draws - 1)
