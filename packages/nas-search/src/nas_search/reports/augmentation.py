"""An augmentation policy in a line."""

import json
from collections.abc import Mapping
from math import prod
from typing import Any

from nas_augment import Policy
from nas_augment.stages import SubPolicies, UniformOperations

__all__ = ["augmentation"]


def augmentation(record: Mapping[str, Any], most: int = 5) -> str:
    """What a policy does to images: its stages, and of many sub-policies the operations that are applied most often.

    Args:
        record: the policy as in ``result.json``.
        most: how many operations.

    Example:
        >>> from nas_augment import catalog
        >>> augmentation(json.loads(catalog.policy("crop_and_flip").decide().to_json()))
        'Crop(padding=4), Flip(probability=0.5)'
    """
    stages = Policy.from_json(json.dumps(record)).stages
    return ", ".join(_line(stage, most) for stage in stages) or "none"


def _line(stage: object, most: int) -> str:
    if isinstance(stage, SubPolicies):
        return _often(stage, most)
    if isinstance(stage, UniformOperations):
        level = "any level" if stage.level is None else f"level {stage.level} of {stage.space.levels - 1}"
        chance = "" if stage.probability == 1 else f", each with probability {stage.probability:g}"
        return f"{stage.count} of the {len(stage.space.operations)} operations of {stage.space.name} at {level}{chance}"
    return str(stage)


def _often(stage: SubPolicies, most: int) -> str:
    """The share of the images that each operation is applied to, once or more often, the largest shares first."""
    shares: dict[str, float] = {}
    total = sum(entry.weight for entry in stage.entries)
    for entry in stage.entries:
        for name in {step.name for step in entry.steps} - {"Identity"}:
            never = prod(1 - step.probability for step in entry.steps if step.name == name)
            shares[name] = shares.get(name, 0.0) + entry.weight / total * (1 - never)
    first = sorted(shares, key=lambda name: -shares[name])[:most]
    rest = f" and {len(shares) - most} others" if len(shares) > most else ""
    return ", ".join(f"{name} {100 * shares[name]:.0f} %" for name in first) + rest
