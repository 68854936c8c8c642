"""A policy in a line."""

import json

import pytest

from nas_augment import Policy, preset
from nas_augment.fixed import Crop
from nas_augment.stages import Step, SubPolicies, SubPolicy, UniformOperations
from nas_search.reports.augmentation import augmentation


def line(*stages: object) -> str:
    return augmentation(json.loads(Policy(stages).to_json()), most=2)  # type: ignore[arg-type]


def test_shares_of_the_images_stand_in_place_of_hundreds_of_pairs() -> None:
    both = SubPolicy((Step("Rotate", 0.5, 0), Step("Rotate", 0.5, 9)), 3.0)
    once = SubPolicy((Step("Invert", 1.0), Step("ShearX", 0.2, 1)), 1.0)
    entries = SubPolicies(preset("fast_aa"), (both, once))
    # Rotate: 3/4 of the images, of which a quarter is left alone twice; Invert 1/4; ShearX 1/4 x 0.2.
    assert line(entries, Crop(1)) == "Rotate 56 %, Invert 25 % and 1 others, Crop(padding=1)"


@pytest.mark.parametrize(("stages", "expected"), [((), "none"), ((Crop(2),), "Crop(padding=2)")])
def test_other_policies_are_their_stages(stages: tuple[Crop, ...], expected: str) -> None:
    assert line(*stages) == expected


def test_what_does_nothing_is_not_named() -> None:
    entry = SubPolicy((Step("Identity", 1.0), Step("Rotate", 1.0, 0)))
    assert line(SubPolicies(preset("grey"), (entry,))) == "Rotate 100 %"


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (UniformOperations(preset("randaugment"), 1, 9), "1 of the 14 operations of randaugment at level 9 of 30"),
        (
            UniformOperations(preset("randaugment"), 2, None, 0.5),
            "2 of the 14 operations of randaugment at any level, each with probability 0.5",
        ),
    ],
)
def test_uniform_operations_are_counted_and_not_listed(stage: UniformOperations, expected: str) -> None:
    assert line(stage) == expected
