"""How often everything is drawn, and that draws know nothing of each other: chi-square at p = 1e-4 on fixed seeds."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from nas_augment import LearnablePolicy, OperationDraw, preset
from nas_augment.gumbel import gumbel_softmax
from nas_augment.marginals import marginals
from nas_augment.stages import Step, SubPolicies, SubPolicy, UniformOperations

SEEDS = [0, 1, 2]
SPACE = preset("fast_aa")
COUNT = 30000


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def critical(freedom: int) -> float:
    """What chi-square exceeds with probability 1e-4, or less often (Wilson and Hilferty, 1931)."""
    share = 2 / (9 * freedom)
    return freedom * (1 - share + 3.719 * share**0.5) ** 3


def fits(drawn: Tensor, probability: Tensor) -> bool:
    """Whether indices ``(n,)`` are as frequent as the probabilities say; none at all say nothing."""
    if not len(drawn):
        return True
    possible = probability > 0
    expected = probability[possible].double() * len(drawn)
    assert expected.min() > 5
    observed = torch.bincount(drawn, minlength=len(probability))
    if observed[~possible].any():
        return False
    statistic = ((observed[possible] - expected).square() / expected).sum()
    return float(statistic) < critical(max(len(expected) - 1, 1))


def independent(first: Tensor, second: Tensor) -> bool:
    """Whether two sequences of indices ``(n,)`` are independent, by their table of contingency."""
    if not len(first):
        return True
    rows, columns = int(first.max()) + 1, int(second.max()) + 1
    table = torch.bincount(first * columns + second, minlength=rows * columns).view(rows, columns).double()
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    if min(table.shape) == 1:
        return True
    expected = table.sum(1, keepdim=True) * table.sum(0) / table.sum()
    statistic = ((table - expected).square() / expected).sum()
    return float(statistic) < critical((table.shape[0] - 1) * (table.shape[1] - 1))


def tenths(center: Tensor) -> Tensor:
    return (center * 10).long()


def learned(**settings: Any) -> LearnablePolicy:
    """A policy that prefers some of everything, never by more than a factor of about seven."""
    policy = LearnablePolicy(SPACE, **settings)
    with torch.no_grad():
        for number, parameter in enumerate(policy.parameters()):
            parameter.copy_(torch.rand(parameter.shape, generator=generator(number)) * 2 - 1)
    return policy


def draws(policy: LearnablePolicy, seed: int, count: int = COUNT) -> OperationDraw:
    drawn = policy.sample(count, generator=generator(seed)).operations
    assert drawn is not None
    return drawn


def failures(policy: LearnablePolicy, drawn: OperationDraw) -> Iterator[str]:
    """What of a sample is not as the policy says; names of laws."""
    found, size = marginals(policy), len(SPACE.operations)
    assert found.together is not None
    if not fits(drawn.op[:, 0] * size + drawn.op[:, 1], found.together.flatten()):
        yield "pairs"
    has_value = torch.tensor([operation.has_value for operation in SPACE.operations])
    for slot in range(2):
        op, applied = drawn.op[:, slot], drawn.applied[:, slot]
        for each in range(size):
            there = op == each
            chance = found.applied[slot, each]
            if not fits(applied[there].long(), torch.stack((1 - chance, chance))):
                yield f"gate of {SPACE.operations[each].name}"
            level = drawn.level[there & applied, slot]
            if has_value[each] and not fits(level, found.levels[slot, each]):
                yield f"level of {SPACE.operations[each].name}"
        signed = SPACE.signed()[op]
        half = torch.full((2,), 0.5)
        if not fits((drawn.sign[signed, slot] > 0).long(), half) or (drawn.sign[~signed, slot] != 1).any():
            yield "signs"
        if not fits((tenths(drawn.center[:, slot]) * torch.tensor([10, 1])).sum(1), torch.full((100,), 0.01)):
            yield "places"
    for name, digits in (
        ("operation", drawn.op),
        ("gate", drawn.applied.long()),
        ("level", drawn.level),
        ("sign", (drawn.sign > 0).long()),
        ("place", tenths(drawn.center[..., 0])),
    ):
        if not independent(digits[:-1, 0], digits[1:, 0]):
            yield f"{name} of the next image"
    for name, digits in (("sign", (drawn.sign > 0).long()), ("place", tenths(drawn.center[..., 0]))):
        signed = SPACE.signed()[drawn.op].all(1) if name == "sign" else torch.ones(len(drawn), dtype=torch.bool)
        if not independent(digits[signed, 0], digits[signed, 1]):
            yield f"{name} of the two slots"
    if policy.choice == "slots" and policy.share != "pair":
        for name, digits in (("operation", drawn.op), ("gate", drawn.applied.long()), ("level", drawn.level)):
            if not independent(digits[:, 0], digits[:, 1]):
                yield f"{name} of the two slots"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("settings", [{}, {"share": "operation"}, {"choice": "joint"}], ids=str)
def test_everything_is_drawn_as_often_as_it_is_likely(settings: dict[str, Any], seed: int) -> None:
    policy = learned(**settings)
    assert list(failures(policy, draws(policy, seed))) == []


def test_uniform_pairs_at_the_start() -> None:
    for seed in SEEDS:
        op = draws(LearnablePolicy(SPACE), seed).op
        assert fits(op[:, 0] * 15 + op[:, 1], torch.full((225,), 1 / 225))


def test_one_draw_for_the_whole_batch_would_be_noticed() -> None:
    batch = learned(per="batch")
    found = set(failures(learned(), draws(batch, 0)))
    assert {"pairs", "places"} <= found


def test_draws_that_hang_together_would_be_noticed() -> None:
    policy = learned()
    drawn = draws(policy, 0)
    twice = drawn.map(lambda tensor: tensor.repeat_interleave(2, 0)[: len(tensor)])
    assert "operation of the next image" in set(failures(policy, twice))
    same = drawn.map(lambda tensor: tensor[:, :1].expand_as(tensor))
    assert {"operation of the two slots", "place of the two slots"} <= set(failures(policy, same))


@pytest.mark.parametrize("seed", SEEDS)
def test_uniform_stages(seed: int) -> None:
    stage = UniformOperations(SPACE, 2, probability=0.3)
    drawn = stage.decode(torch.rand(COUNT, stage.numbers, generator=generator(seed)))
    assert fits(drawn.op[:, 0] * 15 + drawn.op[:, 1], torch.full((225,), 1 / 225))
    assert fits(drawn.applied[:, 0].long() * 2 + drawn.applied[:, 1], torch.tensor([0.49, 0.21, 0.21, 0.09]))
    valued = drawn.applied[:, 0] & (drawn.op[:, 0] == SPACE.index("Rotate"))
    assert fits(drawn.level[valued, 0], torch.full((10,), 0.1))
    assert independent(drawn.op[:-1, 0], drawn.op[1:, 0])
    assert independent(drawn.op[:, 0], drawn.applied[:, 0].long())


@pytest.mark.parametrize("seed", SEEDS)
def test_sub_policies(seed: int) -> None:
    weights = torch.tensor([1.0, 2.0, 0.5, 4.0])
    entries = tuple(SubPolicy((Step("Rotate", 0.1 + 0.2 * n, n),), float(w)) for n, w in enumerate(weights))
    stage = SubPolicies(SPACE, entries)
    sure = SubPolicies(SPACE, tuple(SubPolicy((Step("Rotate", 1.0, n),), e.weight) for n, e in enumerate(entries)))
    numbers = torch.rand(COUNT, stage.numbers, generator=generator(seed))
    chosen, drawn = sure.decode(numbers).level[:, 0], stage.decode(numbers)
    assert fits(chosen, weights / weights.sum())
    for n in range(4):
        chance = torch.tensor(0.1 + 0.2 * n)
        assert fits(drawn.applied[chosen == n, 0].long(), torch.stack((1 - chance, chance)))
    assert independent(chosen[:-1], chosen[1:])
    assert independent(chosen, (drawn.sign[:, 0] > 0).long())


@pytest.mark.parametrize("seed", SEEDS)
def test_gumbel_max_is_categorical(seed: int) -> None:
    logits = torch.randn(2, 15, generator=generator(9)) / 2
    drawn = gumbel_softmax(logits.expand(COUNT, 2, 15), 1.0, generator=generator(seed), hard=True).argmax(-1)
    for slot in range(2):
        assert fits(drawn[:, slot], logits[slot].softmax(0))
    assert independent(drawn[:, 0], drawn[:, 1])
    assert independent(drawn[:-1, 0], drawn[1:, 0])


def test_the_critical_values_are_those_of_the_tables() -> None:
    for freedom, value in ((1, 15.14), (9, 33.72), (100, 161.32), (224, 310.66)):
        assert 0.995 * value < critical(freedom) < 1.08 * value
