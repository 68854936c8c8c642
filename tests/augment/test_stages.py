"""Stages of operations: what they draw, JSON, and what is refused."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from nas_augment import LearnablePolicy, Operation, Policy, PolicyError, Space, preset
from nas_augment.fixed import Crop, Cutout, FixedPolicy
from nas_augment.stages import Step, SubPolicies, SubPolicy, UniformOperations
from nas_augment.testing import check_policy

SPACE = preset("fast_aa")
TWO = SubPolicies(
    SPACE,
    (
        SubPolicy((Step("Rotate", 0.25, 9), Step("Invert", 1.0)), 3.0),
        SubPolicy((Step("Color", 0.5, 2),), 1.0),
        SubPolicy((Step("Cutout", 1.0, 9),), 0.0),
    ),
)


@pytest.mark.parametrize(
    "stage", [TWO, UniformOperations(SPACE, 3), UniformOperations(SPACE, 2, 4, 0.3), UniformOperations(SPACE, 0)]
)
def test_stages_conform(stage: SubPolicies | UniformOperations) -> None:
    check_policy(FixedPolicy([stage]))


def test_sub_policies_are_drawn_by_weight_and_their_operations_by_probability() -> None:
    numbers = torch.rand(20000, TWO.numbers, generator=torch.Generator().manual_seed(0))
    drawn = TWO.decode(numbers)
    first = drawn.op[:, 0] == SPACE.index("Rotate")
    assert first.float().mean() == pytest.approx(0.75, abs=0.015)
    assert not (drawn.op == SPACE.index("Cutout")).any()
    assert drawn.applied[first, 0].float().mean() == pytest.approx(0.25, abs=0.015)
    assert drawn.applied[first, 1].all()
    assert not drawn.applied[~first, 1].any()
    assert (drawn.sign[first, 0] == 1).float().mean() == pytest.approx(0.5, abs=0.02)
    assert (drawn.sign[first, 1] == 1).all()
    assert set(drawn.level[first & drawn.applied[:, 0], 0].tolist()) == {9}


def test_the_largest_uniform_number_leads_to_the_last_entry() -> None:
    numbers = torch.full((1, TWO.numbers), 1.0 - 2**-24)
    assert TWO.decode(numbers).op[0, 0] == SPACE.index("Color")


def test_uniform_operations_cover_everything_equally() -> None:
    stage = UniformOperations(SPACE, 2)
    drawn = stage.decode(torch.rand(30000, stage.numbers, generator=torch.Generator().manual_seed(0)))
    count = torch.bincount(drawn.op[:, 0] * 15 + drawn.op[:, 1], minlength=225).double()
    assert float(((count - count.mean()) ** 2 / count.mean()).sum()) < 310  # 224 degrees of freedom, p = 1e-4
    has_value = drawn.op[:, 0] == SPACE.index("Rotate")
    level = torch.bincount(drawn.level[has_value, 0], minlength=10).double()
    assert float(((level - level.mean()) ** 2 / level.mean()).sum()) < 34
    assert (drawn.level[drawn.op == SPACE.index("Invert")] == 0).all()


def test_json_round_trip_is_exact() -> None:
    policy = Policy((TWO, UniformOperations(SPACE, 2, 4, 0.1), UniformOperations(SPACE)))
    assert Policy.from_json(policy.to_json()) == policy


def changed(stage: int, **changes: object) -> str:
    record = json.loads(Policy((TWO, UniformOperations(SPACE))).to_json())
    record["stages"][stage] |= changes
    return json.dumps(record)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed(0, more=1), "sub_policies"),
        (changed(0, space=None), "a space is an object"),
        (changed(0, entries={}), "are a list"),
        (changed(0, entries=[]), "at least one of positive weight"),
        (changed(0, entries=[3]), "a sub-policy is an object"),
        (changed(0, entries=[{"weight": 1, "steps": [], "more": 1}]), "a sub-policy is an object"),
        (changed(0, entries=[{"weight": 1, "steps": [["Rotate", 0.5]]}]), "a step is a list"),
        (changed(0, entries=[{"weight": 0, "steps": [["Rotate", 0.5, 1]]}]), "positive weight"),
        (changed(0, entries=[{"weight": -1, "steps": [["Rotate", 0.5, 1]]}]), "weight of a sub-policy is -1"),
        (changed(0, entries=[{"weight": "1", "steps": [["Rotate", 0.5, 1]]}]), "weight of a sub-policy is '1'"),
        (changed(0, entries=[{"weight": 1, "steps": [["Rotat", 0.5, 1]]}]), "did you mean 'Rotate'"),
        (changed(0, entries=[{"weight": 1, "steps": [["Rotate", -0.5, 1]]}]), r"probability of Rotate is -0\.5"),
        (changed(0, entries=[{"weight": 1, "steps": [["Rotate", 0.5, 10]]}]), "level of Rotate is 10"),
        (changed(0, entries=[{"weight": 1, "steps": [["Rotate", 0.5, 1.5]]}]), r"level of Rotate is 1\.5"),
        (changed(1, count=-1), "count of operations is -1"),
        (changed(1, level=31), "level is 31"),
        (changed(1, probability=2), "probability is 2"),
        (changed(1, probability="1"), "probability is '1'"),
    ],
)
def test_what_is_not_a_stage_is_refused(text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        Policy.from_json(text)


def built(many: Callable[[Any], Any]) -> SubPolicies:
    """Of sequences of some kind."""
    space = Space("two", many([Operation("Invert"), Operation("Rotate", 0, 30, "degrees")]))
    return SubPolicies(space, many([SubPolicy(many([Step("Invert", 0.5), Step("Rotate", 1.0, 3)]))]))


def test_lists_make_the_values_that_tuples_make() -> None:
    listed, expected = built(list), built(tuple)
    assert listed == expected
    assert hash(listed) == hash(expected)
    policy = Policy((listed,))
    assert Policy.from_json(policy.to_json()) == policy
    state = LearnablePolicy(listed.space).state_dict()
    assert not LearnablePolicy(expected.space).load_state_dict(state).missing_keys


@pytest.mark.parametrize(
    "make",
    [
        lambda number: Crop(number),
        lambda number: Cutout(number),
        lambda number: UniformOperations(preset("fast_aa", number), number, number - 1),
        lambda number: SubPolicies(preset("fast_aa"), (SubPolicy((Step("Rotate", number - 2, number),), number),)),
        lambda number: SubPolicies(Space("turn", (Operation("Rotate", number, 30, "degrees"),)), (SubPolicy(()),)),
    ],
)
def test_whole_numbers_of_numpy_are_whole_numbers(make: Callable[[Any], Any]) -> None:
    numpy = pytest.importorskip("numpy")
    policy, expected = Policy((make(numpy.int64(3)),)), Policy((make(3),))
    assert policy == expected
    assert repr(policy) == repr(expected)
    assert policy.to_json() == expected.to_json()


def test_shares_of_numpy_are_shares() -> None:
    numpy = pytest.importorskip("numpy")
    half = numpy.float32(0.5)
    policy = Policy(
        (UniformOperations(SPACE, 1, None, half), SubPolicies(SPACE, (SubPolicy((Step("Invert", half),), half),)))
    )
    assert Policy.from_json(policy.to_json()) == policy
