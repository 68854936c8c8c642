"""What a learnable policy draws, from uniform numbers."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nas_augment.sample import OperationDraw

if TYPE_CHECKING:
    from nas_augment.learnable import LearnablePolicy

__all__ = ["decode"]


def decode(policy: "LearnablePolicy", uniform: Tensor) -> OperationDraw:
    """What uniform numbers ``(draws, count, 6)`` stand for, by inverting the cumulated probabilities.

    Everything is computed where the numbers are. Of the parameters only the logits are copied there: a GPU may round a
    soft-max otherwise, and a draw is to depend on the seed alone.
    """
    device = uniform.device
    which, gate, levels, sign = (uniform[..., at] for at in range(4))
    choice = policy.choice_logits.to(device).double().softmax(-1)
    if policy.choice == "slots":
        op = _invert(which, choice.expand(len(uniform), -1, -1))
    else:
        op = policy.tuples.to(device)[_invert(which[:, 0], choice.expand(len(uniform), -1))]
    row = policy.row(op)
    applied = gate < policy.probabilities(device)[row]
    level = _invert(levels, policy.level_probabilities(device)[row])
    level = torch.where(policy.counts_level(op, applied), level, 0)
    signed = policy.space.signed().to(device)[op]
    signs = torch.where(signed & (sign < 0.5), -1, 1).to(torch.int8)
    return OperationDraw(policy.space, op, applied, level, signs, uniform[..., 4:])


def _invert(uniform: Tensor, probabilities: Tensor) -> Tensor:
    """The index at which cumulated `probabilities` ``(..., n)`` pass `uniform` ``(...)``."""
    cumulated = probabilities.cumsum(-1)[..., :-1]
    return (uniform[..., None] >= cumulated).sum(-1)
