"""Applying what was drawn: floats, values in pixels, and what is refused."""

import pytest
import torch

from nas_augment import ImagesError, OperationDraw, PolicyError, apply_operations, preset
from nas_augment.applying import program
from nas_augment.operations import CODES


def draw(name: str, level: int, *, space: str = "fast_aa", applied: bool = True, batch: int = 2) -> OperationDraw:
    op = torch.full((batch, 1), preset(space).index(name))
    return OperationDraw(
        preset(space), op, torch.full_like(op, applied).bool(), torch.full_like(op, level),
        torch.ones_like(op, dtype=torch.int8), torch.full((batch, 1, 2), 0.5),
    )  # fmt: skip


def test_fractions_become_pixels_of_the_right_side() -> None:
    assert program(draw("TranslateX", 9), 20, 40)[1].tolist() == [[18.0]] * 2
    assert program(draw("TranslateY", 9), 20, 40)[1].tolist() == [[9.0]] * 2
    assert program(draw("Cutout", 9), 20, 40)[1].tolist() == [[8.0]] * 2
    assert program(draw("TranslateX", 10, space="pba"), 20, 40)[1].tolist() == [[10.0]] * 2


def test_what_is_not_applied_is_the_identity() -> None:
    code, value = program(draw("Rotate", 9, applied=False), 8, 8)
    assert code.tolist() == [[CODES["Identity"]]] * 2
    assert value.tolist() == [[0.0]] * 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_are_rounded_to_256_levels(dtype: torch.dtype) -> None:
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    levels = (images.float() * 255).round().to(torch.uint8)
    out = apply_operations(images, draw("Posterize", 0))
    assert out.dtype == dtype
    assert torch.equal(out, (apply_operations(levels, draw("Posterize", 0)).float() / 255).to(dtype))


def test_no_gradient_passes() -> None:
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    assert not apply_operations(images, draw("Color", 0)).requires_grad


def test_wrong_input_is_refused() -> None:
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(PolicyError, match="unknown backend 'triton'"):
        apply_operations(images, draw("Color", 0), backend="triton")  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match="level of a draw goes to 10"):
        apply_operations(images, draw("Color", 10))
    with pytest.raises(ImagesError, match="3 images, but the draw is for 2"):
        apply_operations(torch.zeros(3, 3, 8, 8), draw("Color", 0))
    with pytest.raises(ImagesError, match="look for NaN"):
        apply_operations(torch.full((2, 3, 8, 8), torch.nan), draw("Color", 0))
