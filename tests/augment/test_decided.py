"""A policy as a value: applying, and JSON there and back, bad JSON included."""

import json

import pytest
import torch

from nas_augment import Policy, PolicyError
from nas_augment.fixed import Crop, Cutout, FixedPolicy, Flip, cutout

POLICY = Policy((Crop(3), Flip(0.1), Cutout(7, 0.25)))


def test_json_round_trip_is_exact() -> None:
    assert Policy.from_json(POLICY.to_json()) == POLICY
    assert hash(Policy.from_json(POLICY.to_json())) == hash(POLICY)
    assert Policy.from_json(Policy().to_json()) == Policy()


def test_a_decided_policy_applies_as_the_policy_did() -> None:
    images = torch.rand(6, 3, 8, 8)
    drawn = FixedPolicy(POLICY.stages)(images, generator=torch.Generator().manual_seed(2)).images
    assert torch.equal(POLICY.apply(images, generator=torch.Generator().manual_seed(2)), drawn)
    assert cutout(7, 3, 0.1, 0.25).decide() == POLICY


def changed(**changes: object) -> str:
    return json.dumps(json.loads(POLICY.to_json()) | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "expected a JSON object"),
        ("3", "expected a JSON object"),
        (changed(format="other"), "expected a JSON object with"),
        (changed(version=2), "of version 2; this release reads version 1"),
        (changed(version="1"), "of version '1'"),
        (changed(version=True), "of version True"),
        (changed(extra=1), "unknown: \\['extra'\\]"),
        (changed(stages={"name": "flip"}), "stages \\(a list\\)"),
        (changed(stages=["flip"]), "unknown stage 'flip'"),
        (changed(stages=[{"name": "sheer"}]), "unknown stage"),
        (changed(stages=[{"name": []}]), "unknown stage"),
        (changed(stages=[{"name": "flip", "angle": 3}]), "stage 'flip'"),
        (changed(stages=[{"name": "flip", "probability": "high"}]), "stage 'flip'"),
        (changed(stages=[{"name": "flip", "probability": True}]), "stage 'flip'"),
        (changed(stages=[{"name": "flip", "probability": float("nan")}]), "probability of a flip is nan"),
        (changed(stages=[{"name": "flip", "probability": -0.5}]), "probability of a flip is -0.5"),
        (changed(stages=[{"name": "crop", "padding": 1.5}]), "padding of a crop is 1.5"),
        (changed(stages=[{"name": "cutout", "length": 1e400}]), "length of cutout is inf"),
    ],
)
def test_what_is_not_a_policy_is_refused(text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        Policy.from_json(text)
