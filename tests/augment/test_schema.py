"""The schema that is shipped accepts what is written, and refuses what the reader refuses."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from nas_augment import AugmentationPolicy, LearnablePolicy, Policy, PolicyError, catalog, preset
from nas_augment.decided import _kinds
from nas_augment.operations import CODES
from nas_augment.presets import preset_names
from nas_augment.schema import policy_schema
from nas_augment.stages import Step, SubPolicies, SubPolicy, UniformOperations

SCHEMA = policy_schema()
SAID = {"$schema", "$defs", "title", "description", "default"}  # constrain nothing
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "null": (type(None),), "integer": (int,),
    "number": (int, float),
}  # fmt: skip


def satisfies(value: Any, schema: dict[str, Any]) -> bool:
    """JSON schema, as far as ours goes; a keyword that is not known here is an error."""
    return all(_holds(keyword, rule, value, schema) for keyword, rule in schema.items() if keyword not in SAID)


def _holds(keyword: str, rule: Any, value: Any, schema: dict[str, Any]) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if keyword == "$ref":
        return satisfies(value, SCHEMA["$defs"][rule.removeprefix("#/$defs/")])
    if keyword == "type":
        return any(_is(value, name) for name in (rule if isinstance(rule, list) else [rule]))
    if keyword == "const":
        return type(value) is type(rule) and value == rule
    if keyword == "enum":
        return isinstance(value, str) and value in rule
    if keyword == "oneOf":
        return sum(satisfies(value, each) for each in rule) == 1
    if keyword == "minimum":
        return not number or value >= rule
    if keyword == "maximum":
        return not number or value <= rule
    if keyword == "minItems":
        return not isinstance(value, list) or len(value) >= rule
    if keyword == "maxItems":
        return not isinstance(value, list) or len(value) <= rule
    if keyword == "items":
        return not isinstance(value, list) or all(satisfies(each, rule) for each in value)
    if keyword == "prefixItems":
        return not isinstance(value, list) or all(satisfies(*pair) for pair in zip(value, rule, strict=False))
    if keyword == "required":
        return not isinstance(value, dict) or set(rule) <= set(value)
    if keyword == "properties":
        return not isinstance(value, dict) or all(satisfies(value[key], rule[key]) for key in set(rule) & set(value))
    assert keyword == "additionalProperties", keyword
    assert rule is False
    return not isinstance(value, dict) or set(value) <= set(schema["properties"])


def _is(value: Any, name: str) -> bool:
    return isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def reads(record: Any) -> bool:
    try:
        Policy.from_json(json.dumps(record))
    except PolicyError:
        return False
    return True


POLICIES = {
    **{name: Policy((UniformOperations(preset(name), 2),)) for name in preset_names()},
    **{name: catalog.policy(name).decide() for name in catalog.names()},
}


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_satisfies_it_and_is_read_back_exactly(name: str) -> None:
    text = POLICIES[name].to_json()
    assert satisfies(json.loads(text), SCHEMA)
    assert Policy.from_json(text) == POLICIES[name]
    assert Policy.from_json(text).to_json() == text


def test_numbers_of_every_size_are_read_back_exactly() -> None:
    space, third = preset("fast_aa", 1001), 1 / 3
    steps = (Step("Rotate", third, 1000), Step("Color", 5e-324), Step("Invert", 1 - 2**-53))
    policy = Policy((SubPolicies(space, (SubPolicy(steps, 1e300), SubPolicy((), 0.1 + 0.2))),))
    assert Policy.from_json(policy.to_json()) == policy


def test_it_names_all_stages_and_operations() -> None:
    assert {each["$ref"].removeprefix("#/$defs/") for each in SCHEMA["properties"]["stages"]["items"]["oneOf"]} == set(
        _kinds()
    )
    with_value, without = (SCHEMA["$defs"][name]["properties"] for name in ("operation", "operation_without_value"))
    assert {*with_value["name"]["enum"], *without["name"]["enum"]} == set(CODES)
    assert SCHEMA["$defs"]["step"]["prefixItems"][0]["enum"] == list(CODES)


def mutations(record: Any) -> Iterator[Any]:
    """`record` with one thing in it replaced, taken out, or added."""
    replaced: tuple[Any, ...] = ("x", None, -1, True, 2.5, [], {})
    yield from replaced
    if isinstance(record, dict):
        yield {**record, "more": 1}
        for key, value in record.items():
            yield {other: each for other, each in record.items() if other != key}
            for changed in mutations(value):
                yield {**record, key: changed}
    if isinstance(record, list):
        yield [*record, 1]
        yield record[:-1]
        for at, value in enumerate(record[:2]):
            for changed in mutations(value):
                yield [*record[:at], changed, *record[at + 1 :]]


SHORT = Policy(
    (
        *catalog.policy("cutout").decide().stages,
        SubPolicies(preset("ops14_ra", 4), (SubPolicy((Step("Rotate", 0.5, 3), Step("Equalize", 1.0)), 2.0),)),
        UniformOperations(preset("pba", 3), 2),
    )
)


def test_it_and_the_reader_refuse_the_same() -> None:
    record = json.loads(SHORT.to_json())
    stages = record["stages"]
    everything = [
        *mutations({**record, "stages": []}),
        *({**record, "stages": [changed]} for stage in stages for changed in mutations(stage)),
    ]
    differing = [each for each in everything if satisfies(each, SCHEMA) != reads(each)]
    assert differing == []
    refused = sum(not reads(each) for each in everything)
    assert len(everything) > 500
    assert 0.7 * len(everything) < refused < len(everything)


def test_the_reader_refuses_what_a_schema_cannot_say() -> None:
    record = json.loads(SHORT.to_json())
    too_high, twice = copy.deepcopy(record), copy.deepcopy(record)
    too_high["stages"][3]["entries"][0]["steps"][0][2] = 4
    twice["stages"][4]["space"]["operations"] *= 2
    for bad, message in ((too_high, "level of Rotate is 4"), (twice, "has an operation twice")):
        assert satisfies(bad, SCHEMA)
        with pytest.raises(PolicyError, match=message):
            Policy.from_json(json.dumps(bad))


@pytest.mark.parametrize("choice", ["slots", "joint", "unordered"])
def test_what_a_search_decides_satisfies_it(choice: Any) -> None:
    policy: AugmentationPolicy = LearnablePolicy(preset("ops14_aa", 5), choice=choice, share="pair")
    text = policy.decide().to_json()
    assert satisfies(json.loads(text), SCHEMA)
    assert Policy.from_json(text).to_json() == text
