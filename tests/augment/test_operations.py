"""The spaces as data: published ranges, units, and everything that is refused."""

import json

import pytest
import torch

from nas_augment import Operation, PolicyError, Space, preset
from nas_augment.operations import CODES
from nas_augment.presets import preset_names

FIFTEEN = [
    "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "AutoContrast", "Invert", "Equalize", "Solarize",
    "Posterize", "Contrast", "Color", "Brightness", "Sharpness", "Cutout",
]  # fmt: skip


def values(space: str, operation: str) -> list[float]:
    return preset(space).values[preset(space).index(operation)].tolist()


def test_fast_aa_is_the_fifteen_operations_in_their_order() -> None:
    assert [operation.name for operation in preset("fast_aa").operations] == FIFTEEN


@pytest.mark.parametrize(
    ("space", "operations", "levels"),
    [
        ("fast_aa", 15, 10), ("ops14_aa", 14, 10), ("ops14_ra", 14, 10), ("autoaugment", 14, 10), ("pba", 15, 11),
        ("randaugment", 14, 31), ("trivial_wide", 14, 31), ("grey", 11, 10),
    ],
)  # fmt: skip
def test_sizes_of_the_spaces(space: str, operations: int, levels: int) -> None:
    assert len(preset(space).operations) == operations
    assert preset(space).values.shape == (operations, levels)
    assert preset(space, 4).levels == 4


@pytest.mark.parametrize(
    ("space", "operation", "first", "last"),
    [
        ("fast_aa", "ShearX", -0.3, 0.3), ("fast_aa", "TranslateY", -0.45, 0.45), ("fast_aa", "Rotate", -30, 30),
        ("fast_aa", "Solarize", 0, 256), ("fast_aa", "Posterize", 4, 8), ("fast_aa", "Color", 0.1, 1.9),
        ("fast_aa", "Cutout", 0, 0.2), ("autoaugment", "TranslateX", 0, 150 / 331), ("autoaugment", "Posterize", 8, 4),
        ("autoaugment", "Solarize", 255, 0), ("trivial_wide", "Rotate", 0, 135), ("trivial_wide", "Posterize", 8, 2),
        ("trivial_wide", "TranslateX", 0, 32), ("pba", "TranslateX", 0, 10), ("pba", "Cutout", 0, 20),
    ],
)  # fmt: skip
def test_published_ranges(space: str, operation: str, first: float, last: float) -> None:
    assert values(space, operation)[0] == pytest.approx(first)
    assert values(space, operation)[-1] == pytest.approx(last)


@pytest.mark.parametrize("level", range(11))
def test_pba_follows_the_reference_formulas(level: int) -> None:
    assert values("pba", "Rotate")[level] == int(30 * level / 10)
    assert values("pba", "TranslateX")[level] == int(10 * level / 10)
    assert values("pba", "Posterize")[level] == 4 - int(4 * level / 10)
    assert values("pba", "Solarize")[level] == 256 - int(256 * level / 10)
    assert values("pba", "Cutout")[level] == int(20 * level / 10)
    assert values("pba", "Color")[level] == pytest.approx(0.1 + 1.8 * level / 10)


def test_spaces_agree_with_torchvision() -> None:
    v2 = pytest.importorskip("torchvision.transforms.v2")
    for space, transform in (
        ("autoaugment", v2.AutoAugment()),
        ("randaugment", v2.RandAugment()),
        ("trivial_wide", v2.TrivialAugmentWide()),
    ):
        published = transform._AUGMENTATION_SPACE
        own = {operation.name: operation for operation in preset(space).operations}
        assert set(own) == set(published), space
        for name, (magnitudes, signed) in published.items():
            found = magnitudes(preset(space).levels, 331, 331)
            assert own[name].signed == signed, (space, name)
            if found is None:
                assert not own[name].has_value
                continue
            expected = found.double() * (255 if name == "Solarize" else 1)
            factor = 331 if own[name].unit == "fraction" else 1
            mine = preset(space).values[preset(space).index(name)] * factor
            if space == "trivial_wide" and name.startswith("Translate"):
                expected = (expected + 1e-4).trunc()  # torchvision truncates when it applies, at one level 15.999999
            torch.testing.assert_close(mine, expected, rtol=1e-6, atol=1e-4)


def test_value_has_sign_and_offset() -> None:
    space = preset("autoaugment")
    op = torch.tensor([[space.index("Color"), space.index("Rotate")]])
    value = space.value(op, torch.full_like(op, 9), torch.tensor([[-1, -1]]))
    torch.testing.assert_close(value, torch.tensor([[0.1, -30.0]], dtype=torch.float64))


@pytest.mark.parametrize("name", preset_names())
def test_record_round_trip(name: str) -> None:
    space = preset(name)
    assert Space.from_record(json.loads(json.dumps(space.to_record()))) == space
    assert hash(space) == hash(preset(name))
    assert space.codes.tolist() == [CODES[operation.name] for operation in space.operations]


def record(**changes: object) -> dict[str, object]:
    return preset("fast_aa").to_record() | changes


def operation_record(**changes: object) -> dict[str, object]:
    first = preset("fast_aa").to_record()["operations"][0]
    return record(operations=[first | changes])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (3, "a space is an object"),
        (record(more=1), "a space is an object"),
        (record(name=3), "its name is a text"),
        (record(operations={}), "a list"),
        (record(operations=[]), "no operations"),
        (record(operations=[3]), "an operation is an object"),
        (record(levels=1), "2 or more"),
        (record(levels="10"), "2 or more"),
        (operation_record(more=1), "an operation is an object"),
        (operation_record(name="ShaerX"), "did you mean 'ShearX'"),
        (operation_record(name=["ShearX"]), "a text as name"),
        (operation_record(low="0"), "expected numbers"),
        (operation_record(low=True), "expected numbers"),
        (operation_record(low=float("nan")), "finite bounds"),
        (operation_record(signed=1), "true or false"),
        (operation_record(unit="mile"), "unit 'mile'"),
        (operation_record(unit="none"), "unit 'none'"),
        (operation_record(whole="down"), "whole 'down'"),
    ],
)
def test_what_is_not_a_space_is_refused(bad: object, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        Space.from_record(bad)


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(PolicyError, match="did you mean 'fast_aa'"):
        preset("fastaa")
    with pytest.raises(PolicyError, match="did you mean 'Rotate'"):
        preset("fast_aa").index("rotation")
    with pytest.raises(PolicyError, match="twice"):
        Space("double", (Operation("Invert"), Operation("Invert")))
