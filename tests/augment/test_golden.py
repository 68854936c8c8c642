"""Every policy's file and the arithmetic of every preset, as they were: a change of either is noticed.

After a change that is meant, write the files anew with ``python tests/augment/test_golden.py``, and say in the changelog
what changed. The arithmetic is Pillow's, so its checksums should never change.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nas_augment import OperationDraw, Policy, Space, apply_operations, catalog, preset
from nas_augment.presets import preset_names
from nas_augment.stages import UniformOperations

GOLDEN = Path(__file__).parent / "golden"
POLICIES = [
    name for name, place in catalog.names().items() if place.startswith(("nas_augment.fixed", "nas_augment.pub"))
]


def images(batch: int, height: int = 17, width: int = 23) -> Tensor:
    """Images by a formula, so that no generator of random numbers is part of the checksum: smooth, few levels, grey."""
    n, c, y, x = torch.meshgrid(*map(torch.arange, (batch, 3, height, width)), indexing="ij")
    mixed = (97 * n + 61 * c + 37 * y * y + 53 * x + x * y * (n + 1)) % 256
    few, grey = mixed // 90 * 90, mixed[:, :1].expand(-1, 3, -1, -1)
    return torch.where(n % 3 == 1, few, torch.where(n % 3 == 2, grey, mixed)).to(torch.uint8)


def every_level(space: Space) -> OperationDraw:
    """Every operation at every level and with both signs, followed by the next operation."""
    operations, levels = len(space.operations), space.levels
    op, level, sign = torch.cartesian_prod(
        torch.arange(operations), torch.arange(levels), torch.tensor([-1, 1])
    ).unbind(1)
    ops = torch.stack((op, (op + 1) % operations), 1)
    signs = torch.where(space.signed()[ops], sign[:, None], 1).to(torch.int8)
    place = torch.arange(len(op))[:, None] * torch.tensor([0.37, 0.61, 0.13, 0.83]) % 1
    both = torch.ones_like(ops, dtype=torch.bool)
    return OperationDraw(space, ops, both, torch.stack((level, levels - 1 - level), 1), signs, place.view(-1, 2, 2))


def checksum(name: str, backend: Any) -> str:
    draw = every_level(preset(name))
    out = apply_operations(images(len(draw)), draw, backend=backend)
    return hashlib.sha256(bytes(out.flatten().tolist())).hexdigest()


def of_preset(name: str) -> dict[str, Any]:
    policy = json.loads(Policy((UniformOperations(preset(name), 2),)).to_json())
    return {"policy": policy, "checksum": {backend: checksum(name, backend) for backend in ("grouped", "dense")}}


def of_policy(name: str) -> dict[str, Any]:
    return {"policy": json.loads(catalog.policy(name).decide().to_json())}


def read(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_as_they_were(name: str) -> None:
    assert of_preset(name) == read(f"preset_{name}")


@pytest.mark.parametrize("name", POLICIES)
def test_policies_are_as_they_were(name: str) -> None:
    assert of_policy(name) == read(name)
    assert Policy.from_json(json.dumps(read(name)["policy"])) == catalog.policy(name).decide()


def test_there_is_no_other_file() -> None:
    expected = {*POLICIES, *(f"preset_{name}" for name in preset_names())}
    assert {path.stem for path in GOLDEN.iterdir()} == expected


def write() -> None:
    records = {f"preset_{name}": of_preset(name) for name in preset_names()}
    for name, record in (records | {name: of_policy(name) for name in POLICIES}).items():
        # A line for each operation or sub-policy.
        text = json.dumps(record).replace("}, {", "},\n{").replace("[{", "[\n{")
        (GOLDEN / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
