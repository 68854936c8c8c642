"""The adversarial policy loss of DHA: the policy looks for what the network does badly."""

from typing import Literal

from torch import Tensor

from nas_augment.errors import PolicyError
from nas_augment.score_function import unit_factor

__all__ = ["dha_loss"]


def dha_loss(log_prob: Tensor, losses: Tensor, weight: Literal["score", "paper"] = "score") -> Tensor:
    """A scalar to be minimised so that the policy maximises the network's loss (Zhou et al., 2021, Eq. 2).

    Args:
        log_prob: of each draw, ``(draws,)``.
        losses: of the network under each draw, the same shape; no gradient passes into them.
        weight: ``score`` weighs each loss by `p / stop_gradient(p)`: with draws from p, its gradient is that of
            ``- sum_k p_k L_k``, the expected loss. ``paper`` weighs by `p` itself, as printed: with draws from
            p, its gradient is that of ``- 1/2 sum_k p_k^2 L_k``.

    Raises:
        PolicyError: shapes differ, or the weight is unknown.

    Example:
        >>> import torch
        >>> dha_loss(torch.tensor([0.5, 0.5]).log(), torch.tensor([1.0, 3.0]), "paper")
        tensor(-1.)
    """
    if log_prob.shape != losses.shape:
        raise PolicyError(
            f"log_prob has shape {tuple(log_prob.shape)}, losses {tuple(losses.shape)}; expected the same."
        )
    if weight not in ("score", "paper"):
        raise PolicyError(f"unknown weight {weight!r}; expected score or paper.")
    factor = unit_factor(log_prob) if weight == "score" else log_prob.exp()
    return -(factor * losses.detach()).mean()
