"""Marginals against the enumeration of all draws, for every way of choosing and sharing."""

from typing import Any

import pytest
import torch

from nas_augment import LearnablePolicy, Operation, PolicySample, Space
from nas_augment.marginals import marginals

SMALL = Space(
    "small",
    (
        Operation("Rotate", 0, 30, "degrees", signed=True),
        Operation("Color", 0.1, 1.9, "factor"),
        Operation("Posterize", 4, 8, "bits"),
    ),
    levels=3,
)
KINDS: list[dict[str, Any]] = [
    {},
    {"share": "operation"},
    {"share": "pair"},
    {"choice": "joint"},
    {"choice": "unordered", "share": "pair"},
    {"count": 1},
    {"continuous_levels": True},
    {"continuous_levels": True, "choice": "unordered", "share": "pair"},
]


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_they_are_sums_over_all_draws(settings: dict[str, Any]) -> None:
    policy = LearnablePolicy(SMALL, **settings)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    draw = policy.enumerate()
    weight = policy.double().log_prob(PolicySample((), len(draw), draw)).exp().detach()
    found = marginals(policy)
    for slot in range(policy.count):
        for op in range(3):
            there = draw.op[:, slot] == op
            chosen = weight[there].sum()
            torch.testing.assert_close(found.chosen[slot, op], chosen)
            applied = weight[there & draw.applied[:, slot]].sum()
            torch.testing.assert_close(found.applied[slot, op], applied / chosen if chosen else chosen)
            for level in range(3):
                at = weight[there & draw.applied[:, slot] & (draw.level[:, slot] == level)].sum()
                torch.testing.assert_close(found.levels[slot, op, level], at / applied if applied else applied)
    if policy.count == 1:
        assert found.together is None
        return
    together = torch.zeros(3, 3, dtype=torch.float64)
    together.index_put_((draw.op[:, 0], draw.op[:, 1]), weight, accumulate=True)
    torch.testing.assert_close(found.together, together)


def test_what_is_not_learned_is_as_it_is_fixed() -> None:
    found = marginals(LearnablePolicy(SMALL, probability=0.25, learn_levels=False))
    torch.testing.assert_close(found.applied, torch.full((2, 3), 0.25).double())
    torch.testing.assert_close(found.levels, torch.full((2, 3, 3), 1 / 3).double())
