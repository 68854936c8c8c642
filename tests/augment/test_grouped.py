"""The parts that `grouped` works in: large images one by one, small ones sorted and a limited number at once."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nas_augment import grouped as module
from nas_augment.exact import dense, grouped
from nas_augment.operations import CODES

LARGE = (190, 181)


def arguments(repeat: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Every operation several times, each with other values: code, value and center."""
    code = torch.arange(len(CODES)).repeat(repeat)
    value = torch.linspace(-1.5, 1.5, len(code), dtype=torch.float64)
    for name, scale in (
        ("TranslateX", width),
        ("TranslateY", height),
        ("Rotate", 30.0),
        ("ShearX", 0.2),
        ("ShearY", 0.2),
    ):
        value = torch.where(code == CODES[name], value * scale, value)
    value = torch.where(code == CODES["Solarize"], value.abs() * 170, value)
    value = torch.where(code == CODES["Posterize"], (value.abs() * 5).floor(), value)
    value = torch.where(code == CODES["Cutout"], value.abs() * width / 4, value)
    return code, value, torch.rand(len(code), 2, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("channels", [1, 3])
def test_large_images_equal_the_other_backend(channels: int, contents: Callable[..., Tensor]) -> None:
    drawn = arguments(3, *LARGE)
    images = contents(len(drawn[0]), *LARGE, channels=channels)
    before = images.clone()
    assert torch.equal(grouped(images, *drawn), dense(images, *drawn))
    assert torch.equal(images, before)


@pytest.mark.parametrize(("height", "width"), [LARGE, (20, 26)])
def test_overwriting_gives_the_same(height: int, width: int, contents: Callable[..., Tensor]) -> None:
    drawn = arguments(1, height, width)
    images = contents(len(drawn[0]), height, width)
    expected = grouped(images, *drawn)
    for given in (images.clone(), images.to(memory_format=torch.channels_last)):
        assert torch.equal(grouped(given, *drawn, overwrite=True), expected)
    same = images[:1].repeat(len(images), 1, 1, 1)
    assert torch.equal(grouped(images[:1].expand_as(images), *drawn, overwrite=True), grouped(same, *drawn))


def test_parts_of_any_size_give_the_same(contents: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = arguments(7, 12, 10)
    images = contents(len(drawn[0]), 12, 10)
    expected = grouped(images, *drawn)
    for images_at_once in (1, 2, 3, 7):
        monkeypatch.setattr(module, "_PIXELS_AT_ONCE", images_at_once * 120)
        assert torch.equal(grouped(images, *drawn), expected), images_at_once


@pytest.mark.parametrize(("height", "width"), [LARGE, (8, 8)])
def test_the_result_is_an_ordinary_tensor_of_its_own(height: int, width: int, contents: Callable[..., Tensor]) -> None:
    images = contents(2, height, width)
    weight = torch.ones(3, requires_grad=True)
    for name in ("Identity", "Invert"):
        out = grouped(images, torch.full((2,), CODES[name]), torch.zeros(2).double(), torch.zeros(2, 2))
        assert out.data_ptr() != images.data_ptr()
        assert not out.is_inference()
        (out.float() * weight[:, None, None]).sum().backward()
    assert weight.grad is not None


def test_no_images() -> None:
    empty = torch.zeros(0, 3, 8, 8, dtype=torch.uint8)
    out = grouped(empty, torch.zeros(0).long(), torch.zeros(0).double(), torch.zeros(0, 2))
    assert out.shape == empty.shape
    assert out.dtype == torch.uint8
