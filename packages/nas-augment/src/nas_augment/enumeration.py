"""Every draw of a learnable policy, for small spaces."""

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

import torch

from nas_augment.sample import OperationDraw

if TYPE_CHECKING:
    from nas_augment.learnable import LearnablePolicy

__all__ = ["every_draw"]


def every_draw(policy: "LearnablePolicy") -> OperationDraw:
    """Every draw that `log_prob` tells apart, once; for small spaces.

    Returns:
        A draw of as many images; the probabilities of `log_prob` over it sum to 1.
    """
    rows = list(_all_draws(policy))
    table = torch.tensor(rows).view(len(rows), policy.count, 3)
    op, applied, level = table[..., 0], table[..., 1].bool(), table[..., 2]
    return OperationDraw(
        policy.space, op, applied, level, torch.ones_like(op, dtype=torch.int8), torch.full((*op.shape, 2), 0.5)
    )


def _all_draws(policy: "LearnablePolicy") -> Iterator[list[tuple[int, int, int]]]:
    gates = (0, 1) if policy.probability_logits is not None else (1,)
    # Levels that are not learned are left at the first; a continuous one is always the same.
    fixed = policy.level_probabilities().argmax(-1).tolist()
    for names in policy.tuples.tolist():
        choices = []
        for op, row in zip(names, policy.row(torch.tensor(names)).tolist(), strict=True):
            void = not (policy.count_void_levels or policy.space.operations[op].has_value)
            levels = [0] if void else [fixed[row]] if policy.level_logits is None else range(policy.space.levels)
            choices.append([(op, y, m) for y in gates for m in (levels if y else [0])])
        yield from (list(draw) for draw in product(*choices))
