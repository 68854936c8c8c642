"""Bad input meets a clear error in every policy and every way of applying one; more of each kind is in the modules' tests."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from nas_augment import (
    AnnotationsError,
    AugmentationPolicy,
    AugmentError,
    ImagesError,
    LearnablePolicy,
    Operation,
    OperationDraw,
    Policy,
    PolicyError,
    PolicySample,
    Space,
    apply_operations,
    fixed,
    preset,
    published,
)
from nas_augment.fixed import FixedPolicy, Flip
from nas_augment.stages import Step, SubPolicies, SubPolicy, UniformOperations

IMAGES = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
POLICIES: dict[str, Callable[[], AugmentationPolicy]] = {
    "learnable": lambda: LearnablePolicy(preset("fast_aa"), before=(Flip(),)),
    "fixed": fixed.cutout,
    "empty": fixed.identity,
    "published": published.randaugment,
}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


WRONG: dict[str, tuple[Any, str]] = {
    "not a tensor": ([[0]], "images are of type list; expected a tensor"),
    "dtype": (IMAGES.int(), "images are torch.int32; expected uint8, or floating point"),
    "bool": (IMAGES.bool(), "images are torch.bool"),
    "range": (IMAGES.float() + 255, "range from 255.0 to 255.0; expected floats in"),
    "negative": (IMAGES.float() - 1, "range from -1.0 to -1.0"),
    "not a number": (torch.full(IMAGES.shape, torch.nan), "look for NaN"),
    "one is not a number": (torch.zeros(3, 3, 8, 8).index_fill(3, torch.tensor([7]), torch.nan), "look for NaN"),
    "channels": (IMAGES[:, :2], "2 channels; expected 1"),
    "no batch": (IMAGES[0], r"shape \(3, 8, 8\); expected \(batch"),
    "no pixels": (IMAGES[..., :0], "at least one pixel"),
}


@pytest.mark.parametrize("batch", [-1, 2.0, None])
@pytest.mark.parametrize("name", POLICIES)
def test_what_is_no_number_of_images(name: str, batch: Any) -> None:
    with pytest.raises(PolicyError, match=f"batch is {batch}; expected the number of images to draw for"):
        POLICIES[name]().sample(batch, generator=generator())


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", POLICIES)
def test_what_is_not_images(name: str, wrong: str) -> None:
    images, message = WRONG[wrong]
    policy = POLICIES[name]()
    sample = policy.sample(3, generator=generator())
    for call in (
        lambda: policy(images, generator=generator()),
        lambda: policy.apply(images, sample),
        lambda: policy.apply_annotated(images, sample, masks=None),
        lambda: policy.decide().apply(images, generator=generator()),
        lambda: policy.decide().apply(images, generator=generator(), masks=IMAGES),
    ):
        with pytest.raises(ImagesError, match=message):
            call()


@pytest.mark.parametrize("name", POLICIES)
def test_another_number_of_images(name: str) -> None:
    policy = POLICIES[name]()
    sample = policy.sample(2, generator=generator())
    with pytest.raises(ImagesError, match="3 images, but the sample was drawn for 2"):
        policy.apply(IMAGES, sample)


@pytest.mark.parametrize("name", POLICIES)
def test_a_sample_of_another_policy(name: str) -> None:
    policy = POLICIES[name]()
    other = LearnablePolicy(preset("pba"), before=(Flip(), Flip(), Flip())).sample(3, generator=generator())
    for call in (policy.apply, policy.apply_annotated):
        with pytest.raises(PolicyError, match="another policy|this policy draws"):
            call(IMAGES, other)
    with pytest.raises(PolicyError, match="another policy|this policy draws"):
        policy.motions(other, 8, 8)


@pytest.mark.parametrize("policy", [fixed.identity(), FixedPolicy([Flip(1.0)])], ids=["empty", "flip"])
def test_fixed_stages_do_not_leave_out_the_operations_of_a_sample(policy: FixedPolicy) -> None:
    sample = LearnablePolicy(preset("fast_aa"), before=policy.stages).sample(3, generator=generator())
    with pytest.raises(PolicyError, match="another policy"):
        policy.apply(IMAGES, sample)
    with pytest.raises(PolicyError, match="another policy"):
        policy.motions(sample, 8, 8)


class Still:
    """A stage of somebody else."""

    numbers = 1

    def apply(self, images: Tensor, draw: Tensor) -> Tensor:
        return images


def test_a_stage_that_has_no_place_in_a_file() -> None:
    with pytest.raises(PolicyError, match="type Still has no place in a file; expected Crop, Flip, Cutout, Sub"):
        Policy((Flip(), Still())).to_json()


@pytest.mark.parametrize(
    ("text", "message"), [(None, "not from NoneType"), ({"stages": []}, "not from dict"), ("[" * 100000, "not JSON")]
)
def test_what_is_not_the_text_of_a_file(text: Any, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        Policy.from_json(text)


def test_a_sample_with_too_many_stages() -> None:
    policy = LearnablePolicy(preset("fast_aa"))
    sample = policy.sample(3, generator=generator())
    with pytest.raises(PolicyError, match="another policy"):
        policy.apply(IMAGES, PolicySample((torch.zeros(3, 1),), 3, sample.operations))


def draw(op: int = 0, level: int = 0) -> OperationDraw:
    one = torch.zeros(3, 1, dtype=torch.int64)
    return OperationDraw(
        preset("fast_aa"), one + op, one == 0, one + level, torch.ones(3, 1, dtype=torch.int8), torch.zeros(3, 1, 2)
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Operation("Rotat", 0, 30, "degrees"), "unknown operation 'Rotat'; did you mean 'Rotate'"),
        (lambda: Operation("Rotate", 0, 1, "slope"), "Rotate has unit 'slope'; expected 'degrees'"),
        (lambda: Operation("TranslateX", 0, 1, "degrees"), "unit 'degrees'; expected 'fraction' or 'pixels'"),
        (lambda: Operation("Invert", 0, 1, "factor"), "Invert has unit 'factor'; expected 'none'"),
        (lambda: Operation("Color", 0, 1), "Color has unit 'none'; expected 'factor' or 'offset'"),
        (lambda: Operation("Posterize", 0, 9, "bits"), "Posterize keeps 0 to 9 bits; expected bounds from 0 to 8"),
        (lambda: Operation("Rotate", 0, 1, "degrees", whole=cast("Any", "down")), "whole 'down'; expected one of no"),
        (lambda: preset("fast_aa").index("Blur"), "space 'fast_aa' has no operation 'Blur'; did you mean"),
        (lambda: apply_operations(IMAGES, draw(op=15)), "op of a draw goes to 15; space 'fast_aa' has 15"),
        (lambda: apply_operations(IMAGES, draw(op=-1)), "op of a draw goes to -1"),
        (
            lambda: apply_operations(IMAGES, replace(draw(), op=torch.tensor([[0], [-1], [3]]))),
            "op of a draw goes to -1",
        ),
        (lambda: apply_operations(IMAGES, draw(level=10)), "level of a draw goes to 10"),
        (lambda: LearnablePolicy(cast("Any", "fast_aa")), r"space is 'fast_aa'; expected a Space, such as .*preset"),
        (lambda: UniformOperations(cast("Any", "pba")), "space is 'pba'; expected a Space"),
        (lambda: SubPolicies(cast("Any", None), ()), "space is None; expected a Space"),
        (
            lambda: SubPolicy(cast("Any", Step("Invert", 1.0))),
            r"steps of a sub-policy are Step\(name='Invert'.*expected a tuple of Step; write one alone as \(one,\)",
        ),
        (lambda: Space("s", cast("Any", None)), "operations of space 's' are None; expected a tuple of Operation"),
        (lambda: Space("s", cast("Any", ["Invert"])), r"operations of space 's' are \['Invert'\]; expected a tuple of"),
        (
            lambda: SubPolicies(preset("pba"), cast("Any", (1,))),
            r"entries of sub-policies are \(1,\); expected a tuple",
        ),
        (lambda: fixed.Crop(cast("Any", 2.0)), r"padding of a crop is 2\.0; expected a whole number of pixels"),
        (lambda: fixed.Crop(cast("Any", True)), "padding of a crop is True; expected a whole number of pixels"),
        (lambda: fixed.Cutout(cast("Any", "8")), "length of cutout is '8'; expected a whole number of pixels"),
        (
            lambda: FixedPolicy(cast("Any", fixed.Crop(4))),
            r"stages are Crop\(padding=4\); expected a sequence of stages",
        ),
        (lambda: FixedPolicy(cast("Any", [fixed.Crop])), "a stage is <class .*expected an object with numbers"),
        (lambda: FixedPolicy(cast("Any", ["crop"])), "a stage is 'crop'; expected an object with numbers and a method"),
        (lambda: LearnablePolicy(preset("fast_aa"), after=cast("Any", Flip())), r"stages are Flip\(probability=0\.5\)"),
        (lambda: Policy(cast("Any", [Flip()])), r"stages are \[Flip\(probability=0\.5\)\]; expected a tuple of stages"),
        (lambda: Policy(cast("Any", (3,))), "a stage is 3; expected an object with numbers"),
        (lambda: LearnablePolicy(preset("fast_aa"), probability=-0.1), r"probability is -0\.1; expected 0 to 1"),
        (lambda: Step("Rotate", -0.1), r"probability of Rotate is -0\.1"),
        (lambda: Step("Rotate", float("nan")), "probability of Rotate is nan"),
        (lambda: Flip(-0.1), r"probability of a flip is -0\.1"),
        (lambda: Flip(cast("Any", "0.5")), "probability of a flip is '0.5'; expected 0 to 1"),
        (lambda: fixed.Cutout(4, cast("Any", None)), "fill of cutout is None; expected 0 to 1"),
        (
            lambda: LearnablePolicy(preset("fast_aa"), probability=cast("Any", "x")),
            "probability is 'x'; expected 0 to 1",
        ),
        (lambda: LearnablePolicy(preset("fast_aa")).sample(3, generator=cast("Any", 0)), "generator is 0; expected a"),
        (lambda: FixedPolicy((Flip(),))(IMAGES, generator=cast("Any", None)), "generator is None; expected a"),
        (lambda: UniformOperations(preset("fast_aa"), probability=-0.1), r"probability is -0\.1"),
        (lambda: fixed.Crop(-1), "padding of a crop is -1"),
        (lambda: published.randaugment(level=-1), "level is -1"),
    ],
)
def test_settings_that_mean_nothing(make: Callable[[], object], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        make()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "policy of version 2; this release reads version 1"),
        ({"version": None}, "policy of version None"),
        ({"format": "policy"}, 'expected a JSON object with "format"'),
        ({"seed": 1}, r"unknown: \['seed'\]"),
        ({"stages": [{"name": "flip", "probability": 0.5, "axis": 1}]}, "stage 'flip'.*axis"),
        ({"stages": [{"name": "flip", "probability": -1}]}, "probability of a flip is -1"),
        ({"stages": [{"name": "eval", "code": "1"}]}, "unknown stage"),
        ({"stages": 3}, "stages"),
    ],
)
def test_files_of_something_else(changes: dict[str, Any], message: str) -> None:
    record = json.loads(fixed.cutout().decide().to_json()) | changes
    with pytest.raises(PolicyError, match=message):
        Policy.from_json(json.dumps(record))


@pytest.mark.parametrize("name", POLICIES)
def test_boxes_and_key_points_outside_the_frame(name: str) -> None:
    policy = POLICIES[name]()
    boxes = torch.tensor([[[0.0, 0.0, 8.5, 4.0]]] * 3)
    given: list[dict[str, Any]] = [{"boxes": boxes}, {"boxes": list(boxes)}, {"keypoints": boxes[..., 2:]}]
    for annotations in given:
        for call in (policy, policy.decide().apply):
            with pytest.raises(AnnotationsError, match=r"0 of image 0 is \[.*8\.5.*frame of 8 x 8"):
                call(IMAGES, generator=generator(), **annotations)


@pytest.mark.parametrize("name", POLICIES)
def test_arguments_that_nobody_knows(name: str) -> None:
    policy = POLICIES[name]()
    sample = policy.sample(3, generator=generator())
    wrong: dict[str, Any] = {"mask": IMAGES}
    for call in (
        lambda: policy(IMAGES, generator=generator(), **wrong),
        lambda: policy(IMAGES, generator=generator(), masks=IMAGES, **wrong),
        lambda: policy.apply(IMAGES, sample, **wrong),
        lambda: policy.decide().apply(IMAGES, generator=generator(), **wrong),
    ):
        with pytest.raises(TypeError, match=r"unknown arguments: mask; expected path.*the images: masks, boxes"):
            call()


def test_every_error_is_one_of_ours_and_a_value_error() -> None:
    for kind in (AnnotationsError, ImagesError, PolicyError):
        assert issubclass(kind, AugmentError)
        assert issubclass(kind, ValueError)


def test_nothing_that_was_refused_was_changed() -> None:
    images: Tensor = torch.rand(3, 3, 8, 8, generator=generator())
    before = images.clone()
    policy = FixedPolicy([Flip(1.0)])
    with pytest.raises(AnnotationsError):
        policy(images, generator=generator(), boxes=torch.full((3, 1, 4), 99.0))
    assert torch.equal(images, before)
