"""What a learnable policy ends as."""

from typing import TYPE_CHECKING

import torch

from nas_augment.decided import Policy
from nas_augment.errors import PolicyError, is_count
from nas_augment.stages import Step, SubPolicies, SubPolicy

if TYPE_CHECKING:
    from nas_augment.learnable import LearnablePolicy

__all__ = ["decide"]


def decide(policy: "LearnablePolicy", keep: int | None = None) -> Policy:
    """All tuples by their probability, each operation at its likeliest level (DAAS, Sec. 4.3).

    Levels that are not learned are drawn uniformly by what is decided, as they are here (DHA).

    Args:
        policy: with what it has learned.
        keep: only that many of the likeliest tuples; DADA keeps 25.
    """
    if keep is not None and not (is_count(keep) and keep > 0):
        raise PolicyError(f"keep is {keep!r}; expected a whole number, 1 or more, or None for all.")
    tuples, weights = policy.tuples, policy.tuple_probabilities()
    has_value = policy.space.has_value()[tuples]
    with torch.no_grad():
        row = policy.row(tuples)
        probabilities = policy.probabilities("cpu")[row]
        levels = policy.level_probabilities("cpu").argmax(-1)[row]
        levels = torch.where(has_value, levels, 0)
        free = has_value & (policy.level_logits is None and policy.position_logits is None)
    order = weights.argsort(descending=True, stable=True)[:keep].tolist()
    names = [operation.name for operation in policy.space.operations]
    entries = tuple(
        SubPolicy(
            tuple(
                Step(
                    names[int(tuples[at, k])],
                    float(probabilities[at, k]),
                    None if free[at, k] else int(levels[at, k]),
                )
                for k in range(policy.count)
            ),
            float(weights[at]),
        )
        for at in order
    )
    return Policy((*policy.before.stages, SubPolicies(policy.space, entries), *policy.after.stages))
