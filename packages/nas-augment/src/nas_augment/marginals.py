"""What a learnable policy has learned, slot by slot: how often each operation is chosen, applied, and how strongly."""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from nas_augment.learnable import LearnablePolicy

__all__ = ["Marginals", "marginals"]


class Marginals(NamedTuple):
    """Probabilities of each slot, whatever the other slots have.

    Attributes:
        chosen: of choosing an operation in a slot, ``(count, operations)``; a row sums to 1.
        applied: of applying it, given that it is chosen there, ``(count, operations)``; 0 where it never is.
        levels: of each level, given that it is applied there, ``(count, operations, levels)``.
        together: of the operations of the first two slots, ``(operations, operations)``; None for one slot.
    """

    chosen: Tensor
    applied: Tensor
    levels: Tensor
    together: Tensor | None


def marginals(policy: "LearnablePolicy") -> Marginals:
    """The probabilities of a policy, in float64 and without gradient, however they are shared.

    Example:
        >>> from nas_augment import LearnablePolicy, preset
        >>> marginals(LearnablePolicy(preset("fast_aa"))).chosen.sum(1)
        tensor([1., 1.], dtype=torch.float64)
    """
    space, tuples, weight = policy.space, policy.tuples, policy.tuple_probabilities()
    operations, levels = len(space.operations), space.levels
    with torch.no_grad():
        row = policy.row(tuples)
        probability, level = policy.probabilities("cpu")[row], policy.level_probabilities("cpu")[row]
    chosen, applied = (torch.zeros(policy.count, operations, dtype=torch.float64) for _ in range(2))
    strength = torch.zeros(policy.count, operations, levels, dtype=torch.float64)
    for slot, op in enumerate(tuples.unbind(1)):
        both = weight * probability[:, slot]
        chosen[slot].index_add_(0, op, weight)
        applied[slot].index_add_(0, op, both)
        strength[slot].index_add_(0, op, both[:, None] * level[:, slot])
    strength = strength / strength.sum(-1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    together = None
    if policy.count > 1:
        together = torch.zeros(operations**2, dtype=torch.float64)
        together = together.index_add_(0, tuples[:, 0] * operations + tuples[:, 1], weight).view(operations, operations)
    return Marginals(chosen, applied / chosen.clamp(min=torch.finfo(torch.float64).tiny), strength, together)
