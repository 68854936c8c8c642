"""The soft arithmetic: its values against the exact path, its derivatives against differences and written formulas."""

import math
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from nas_augment import ImagesError, Operation, OperationDraw, PolicyError, Relaxation, Soft, Space, apply_operations
from nas_augment.applying import program
from nas_augment.exact import cutout_box
from nas_augment.operations import CODES, GEOMETRIC
from nas_augment.presets import preset
from nas_augment.soft import stage, straight_through

Contents = Callable[..., Tensor]

NAMES = {code: name for name, code in CODES.items()}
CONTINUOUS = {
    "ShearX": 0.137, "ShearY": -0.211, "TranslateX": 1.37, "TranslateY": -2.41, "Rotate": 17.3,
    "Contrast": 0.63, "Color": 1.31, "Brightness": 1.17, "Sharpness": 0.47,
}  # fmt: skip

# The largest difference from the exact path, in levels of 256, for images of whole levels; README has the same table.
# Pillow truncates (below 1). It rounds the grey of a pixel and the smoothed pixel (1/2 times |1 - factor|, which is
# below 1 in all spaces), and for Contrast the mean of rounded greys (1/2 twice).
TOLERANCE = {
    "Identity": 0.0, "AutoContrast": 1.0, "Invert": 0.0, "Equalize": 0.0, "Solarize": 0.0, "Posterize": 0.0,
    "Contrast": 2.0, "Color": 1.5, "Brightness": 1.0, "Sharpness": 1.5, "Cutout": 0.0,
    **dict.fromkeys(GEOMETRIC, 0.0),
}  # fmt: skip


def every_level(space: Space, repeat: int = 6) -> OperationDraw:
    operations = len(space.operations)
    op = torch.arange(operations).repeat_interleave(space.levels * 2 * repeat)
    level = torch.arange(space.levels).repeat_interleave(2 * repeat).repeat(operations)
    sign = torch.tensor([1, -1]).repeat_interleave(repeat).repeat(operations * space.levels)
    sign = torch.where(space.signed()[op], sign, 1).to(torch.int8)
    center = torch.rand(len(op), 1, 2, generator=torch.Generator().manual_seed(1))
    return OperationDraw(space, op[:, None], torch.ones(len(op), 1).bool(), level[:, None], sign[:, None], center)


def run(name: str, images: Tensor, value: Tensor, options: Soft | None = None, center: float = 0.5) -> Tensor:
    code = torch.full((len(images),), CODES[name])
    place = torch.full((len(images), 2), center, dtype=torch.float64)
    return stage(images, code, value.expand(len(images)), place, options or Soft())


def noise(*shape: int, seed: int = 0, low: float = 0.0, high: float = 1.0) -> Tensor:
    drawn = torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return low + (high - low) * drawn


@pytest.mark.parametrize("space", ["fast_aa", "trivial_wide", "pba", "autoaugment"])
@pytest.mark.parametrize(("height", "width", "channels"), [(32, 32, 3), (21, 27, 3), (20, 26, 1), (1, 9, 3), (3, 3, 3)])
def test_values_are_those_of_the_exact_path(
    space: str, height: int, width: int, channels: int, contents: Contents
) -> None:
    draw = every_level(preset(space), repeat=3 if space == "fast_aa" else 1)
    images = contents(len(draw), height, width, channels)
    exact = apply_operations(images, draw).double()
    soft = apply_operations(images.double() / 255, draw, path=Soft(interpolation="nearest"))
    worst = (255 * soft - exact).abs().flatten(1).amax(1)
    for code in program(draw, height, width)[0].unique().tolist():
        name = NAMES[code]
        found = float(worst[draw.space.codes[draw.op[:, 0]] == code].max())
        assert found <= TOLERANCE[name] + 1e-9, (name, found)


@pytest.mark.parametrize(("dtype", "more"), [(torch.float32, 1e-4), (torch.float16, 0.15), (torch.bfloat16, 1.25)])
def test_lower_precisions_add_their_rounding(dtype: torch.dtype, more: float, contents: Contents) -> None:
    """Arithmetic is in float32; what is added is the rounding of the images that come in and go out."""
    draw = every_level(preset("fast_aa"))
    images = (contents(len(draw), 16, 16).double() / 255).to(dtype)
    exact = apply_operations((images.float() * 255).round().to(torch.uint8), draw)
    soft = apply_operations(images, draw, path=Soft(interpolation="nearest"))
    assert soft.dtype == dtype
    assert 0 <= soft.min() <= soft.max() <= 1
    worst = (255 * soft.double() - exact).abs().flatten(1).amax(1)
    allowed = torch.tensor([TOLERANCE[operation.name] for operation in draw.space.operations])[draw.op[:, 0]]
    assert (worst - allowed).max() <= more


def source(name: str, x: float, y: float, value: float, height: int, width: int) -> tuple[float, float]:
    """Where Pillow finds the pixel whose middle is (x, y), counted from the corner of the image."""
    if name == "Rotate":
        c, s = math.cos(math.radians(value)), math.sin(math.radians(value))
        x, y = x - width / 2, y - height / 2
        return c * x - s * y + width / 2, s * x + c * y + height / 2
    return {
        "ShearX": (x + value * y, y), "ShearY": (x, y + value * x), "TranslateX": (x + value, y),
        "TranslateY": (x, y + value),
    }[name]  # fmt: skip


@pytest.mark.parametrize("name", sorted(GEOMETRIC))
def test_bilinear_is_the_mean_of_the_four_pixels_that_nearest_takes_one_of(name: str) -> None:
    images, value = noise(1, 1, 6, 8, low=0.1), CONTINUOUS[name]
    nearest, bilinear = (
        run(name, images, torch.tensor(value, dtype=torch.float64), Soft(interpolation=how))[0, 0].tolist()
        for how in ("nearest", "bilinear")
    )
    for row in range(6):
        for column in range(8):
            x, y = (each - 0.5 for each in source(name, column + 0.5, row + 0.5, value, 6, 8))
            left, top = math.floor(x), math.floor(y)
            around, mean = [], 0.0
            for at_x, at_y in ((left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)):
                inside = 0 <= at_x < 8 and 0 <= at_y < 6
                around.append(float(images[0, 0, at_y, at_x]) if inside else 0.0)
                mean += (1 - abs(x - at_x)) * (1 - abs(y - at_y)) * around[-1]
            assert bilinear[row][column] == pytest.approx(mean)
            assert nearest[row][column] in around


def test_bilinear_turns_by_a_quarter_exactly() -> None:
    images = noise(2, 3, 6, 6)
    turned = run("Rotate", images, torch.tensor(90.0, dtype=torch.float64))
    torch.testing.assert_close(turned, images.rot90(1, (2, 3)))


def test_kornia_has_another_geometry() -> None:
    """What the module says of kornia's functions, measured: the same up to sign, and half a slope."""
    from kornia.geometry import transform

    images, value = noise(1, 3, 9, 9), torch.tensor([0.3], dtype=torch.float64)
    torch.testing.assert_close(run("Rotate", images, 40 * value), transform.rotate(images, 40 * value))
    shift = torch.tensor([[-1.3, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(run("TranslateX", images, -shift[0, 0]), transform.translate(images, shift))
    factor = torch.tensor([[-0.3, 0.0]], dtype=torch.float64)
    sheared = transform.shear(images, factor, align_corners=True)
    assert (run("ShearX", images, value) - sheared).abs().max() > 0.1
    ramp = torch.arange(9, dtype=torch.float64).expand(1, 1, 9, 9) / 10
    difference = run("ShearX", ramp, value) - transform.shear(ramp, factor, align_corners=True)
    torch.testing.assert_close(difference[0, 0, :2, 1:6], torch.full((2, 5), 0.3 / 2 / 10, dtype=torch.float64))


@pytest.mark.parametrize("name", CONTINUOUS)
def test_derivatives_are_true(name: str) -> None:
    """By the value and by the pixels, first and second, in float64."""
    images = noise(2, 3, 4, 5, low=0.3, high=0.7).requires_grad_()
    value = torch.tensor([CONTINUOUS[name], CONTINUOUS[name] * 0.83], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x, v: run(name, x, v), (images, value))
    assert gradgradcheck(lambda x, v: run(name, x, v), (images, value))


@pytest.mark.parametrize("name", CONTINUOUS)
def test_derivatives_by_levels_and_gates_are_true(name: str) -> None:
    space = preset("fast_aa")
    draw = OperationDraw(
        space, torch.full((2, 1), space.index(name)), torch.ones(2, 1).bool(), torch.zeros(2, 1).long(),
        torch.tensor([[1], [-1 if name in GEOMETRIC else 1]], dtype=torch.int8), torch.full((2, 1, 2), 0.5),
    )  # fmt: skip
    images = noise(2, 3, 5, 6, low=0.3, high=0.7)
    level = torch.tensor([[0.63], [0.42]], dtype=torch.float64, requires_grad=True)
    gate = torch.tensor([[0.3], [0.8]], dtype=torch.float64, requires_grad=True)

    def apply(level: Tensor, gate: Tensor) -> Tensor:
        return apply_operations(images, draw, path="soft", relaxation=Relaxation(level, gate))

    assert gradcheck(apply, (level, gate))


def by_value(name: str, images: Tensor, value: float, options: Soft | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """The images, the derivative of each pixel by the value, and that of the sum by each pixel."""
    images, v = images.clone().requires_grad_(), torch.tensor(value, dtype=torch.float64, requires_grad=True)
    out = run(name, images, v, options)
    (pixels,) = torch.autograd.grad(out.sum(), images, retain_graph=True)
    each = [torch.autograd.grad(pixel, v, retain_graph=True, allow_unused=True)[0] for pixel in out.flatten()]
    derivative = torch.stack([torch.zeros(()).double() if one is None else one for one in each]).view(out.shape)
    return out.detach(), derivative, pixels


RAMP = (torch.arange(256, dtype=torch.float64) / 255).view(1, 1, 16, 16)


def test_solarize_is_hard_with_the_derivative_of_a_blurred_step() -> None:
    threshold, width = 100.5, 12.0
    out, derivative, pixels = by_value("Solarize", RAMP, threshold, Soft(solarize_width=width))
    assert torch.equal(out, torch.where(threshold > RAMP * 255, RAMP, 1 - RAMP))
    assert torch.equal(pixels, torch.where(threshold > RAMP * 255, 1.0, -1.0).double())
    s = torch.sigmoid((threshold - 255 * RAMP) / width)
    torch.testing.assert_close(derivative, (2 * RAMP - 1) * s * (1 - s) / width)
    # Its sum is the change of the hard sum when the threshold passes a level: 2 t - 1.
    assert float(derivative.sum()) == pytest.approx(2 * threshold / 255 - 1, rel=0.02)


@pytest.mark.parametrize("bits", [2, 4, 7, 8])
def test_posterize_is_hard_with_a_residual_that_halves_with_every_bit(bits: int) -> None:
    out, derivative, pixels = by_value("Posterize", RAMP, bits)
    kept = (torch.arange(256) & (256 - 2 ** (8 - bits))).double().view(RAMP.shape) / 255
    assert torch.equal(out, kept)
    assert (pixels == 1).all()
    torch.testing.assert_close(derivative, math.log(2) * (RAMP - kept + 1 / 510))
    # Its mean is the derivative of the mean image, which is constant - 2^(8 - b) / 2.
    assert float(derivative.mean()) == pytest.approx(math.log(2) * 2 ** (8 - bits) / 2 / 255)


def test_equalize_is_hard_with_the_slope_of_its_table(contents: Contents) -> None:
    levels = contents(3, 40, 40)[2:3]
    images = (levels.double() / 255).requires_grad_()
    out = run("Equalize", images, torch.tensor(0.0))
    draw = every_level(Space("one", (Operation("Equalize"),), 2), repeat=1).map(lambda tensor: tensor[:1])
    assert torch.equal(out, apply_operations(levels, draw).double() / 255)
    (slope,) = torch.autograd.grad(out.sum(), images)
    level = levels[0, 0].long()
    count = torch.bincount(level.flatten(), minlength=256).double()
    count[int(level.max())] = 0
    step = int(count.sum()) // 255
    table = torch.cat((torch.zeros(1), count.cumsum(0))).double() / step  # entry k: pixels below k
    expected = torch.stack([(table[k + 1] - table[max(k - 1, 0)]) / 2 for k in level.flatten().tolist()])
    torch.testing.assert_close(slope[0, 0].flatten(), expected)
    few = (contents(3, 9, 9)[2:3].double() / 255).requires_grad_()  # too few pixels: the table is the identity
    (slope,) = torch.autograd.grad(run("Equalize", few, torch.tensor(0.0)).sum(), few)
    assert (slope == 1).all()


def test_autocontrast_has_the_slope_of_its_line() -> None:
    images = noise(2, 3, 8, 8, low=0.2, high=0.6)
    images = (images * 255).round() / 255
    images[0, 1] = 0.4
    images.requires_grad_()
    out = run("AutoContrast", images, torch.tensor(0.0))
    low, high = images.detach().amin((2, 3), keepdim=True), images.detach().amax((2, 3), keepdim=True)
    slope = torch.where(high > low, 1 / (high - low), 1.0).expand_as(images)
    torch.testing.assert_close(out, torch.where(high > low, (images - low) / (high - low), images))
    torch.testing.assert_close(torch.autograd.grad(out.sum(), images)[0], slope)


@pytest.mark.parametrize("name", ["Equalize", "AutoContrast"])
def test_tables_can_pass_the_gradient_as_it_is(name: str, contents: Contents) -> None:
    images = (contents(6, 40, 40).double() / 255).requires_grad_()
    identity, slope = (run(name, images, torch.tensor(0.0), Soft(table_gradient=how)) for how in ("identity", "slope"))
    assert torch.equal(identity, slope)
    assert (torch.autograd.grad(identity.sum(), images)[0] == 1).all()


def test_a_nearly_constant_channel_is_not_stretched() -> None:
    images = 0.5 + 1e-5 * noise(1, 3, 8, 8)
    assert torch.equal(run("AutoContrast", images, torch.tensor(0.0)), images)


def test_cutout_is_hard_with_the_derivative_of_a_blurred_box() -> None:
    images = noise(1, 3, 24, 30)
    out, derivative, pixels = by_value("Cutout", images[:, :1], 9.3)
    left, right, top, bottom = (int(each) for each in cutout_box(torch.tensor([9.3]), torch.full((1, 2), 0.5), 24, 30))
    inside = torch.zeros(1, 1, 24, 30).bool()
    inside[..., top : bottom + 1, left : right + 1] = True
    assert torch.equal(out, torch.where(inside, 123 / 255, images[:, :1]))
    assert torch.equal(pixels, (~inside).double())
    # The covered area grows by two sides.
    grown = derivative / (123 / 255 - images[:, :1])
    assert float(grown.sum()) == pytest.approx(2 * (9.3 + 1), rel=0.02)
    assert float(grown[..., 12, 15]) < 0.1 * float(grown.max())


@pytest.mark.parametrize("name", sorted(GEOMETRIC))
def test_nearest_has_the_values_of_exact_and_the_derivative_of_bilinear(name: str) -> None:
    images = (noise(1, 3, 7, 9) * 255).round() / 255
    _, bilinear, _ = by_value(name, images, CONTINUOUS[name])
    out, nearest, pixels = by_value(name, images, CONTINUOUS[name], Soft(interpolation="nearest"))
    assert torch.equal(bilinear, nearest)
    assert bilinear.abs().max() > 0
    assert set(out.unique().tolist()) <= set(images.unique().tolist()) | {0.0}
    assert torch.equal(pixels, pixels.round())  # each pixel as often as it was taken
    assert int(pixels.sum()) == int((run(name, torch.ones_like(images), torch.tensor(CONTINUOUS[name])) > 0.5).sum())


def test_straight_through_keeps_the_value_bit_for_bit() -> None:
    forward, through = noise(1000, seed=1), 1e6 * noise(1000, seed=2)
    assert torch.equal(straight_through(forward, through), forward)


def two_of(batch: int, seed: int = 3) -> OperationDraw:
    generator, space = torch.Generator().manual_seed(seed), preset("fast_aa")
    op = torch.randint(15, (batch, 2), generator=generator)
    sign = torch.where(space.signed()[op], torch.randint(2, op.shape, generator=generator) * 2 - 1, 1)
    applied = torch.rand(op.shape, generator=generator) < 0.8
    level = torch.randint(10, (batch, 2), generator=generator)
    return OperationDraw(space, op, applied, level, sign.to(torch.int8), torch.rand(batch, 2, 2, generator=generator))


@pytest.mark.parametrize("options", [Soft(), Soft(interpolation="nearest", table_gradient="identity")])
def test_images_of_a_batch_do_not_meet(options: Soft, contents: Contents) -> None:
    draw, images = two_of(60), contents(60, 12, 15).double() / 255
    before = images.clone()
    out = apply_operations(images, draw, path=options)
    assert torch.equal(images, before)
    alone = [apply_operations(images[n : n + 1], draw.map(lambda t: t[n : n + 1]), path=options) for n in range(60)]  # noqa: B023
    torch.testing.assert_close(torch.cat(alone), out)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(apply_operations(images[order], draw.map(lambda t: t[order]), path=options), out[order])
    none = apply_operations(images[:0], draw.map(lambda t: t[:0]), path=options)
    assert none.shape == (0, 3, 12, 15)


def test_what_is_not_applied_changes_nothing() -> None:
    draw, images = two_of(30), noise(30, 3, 8, 9)
    none = OperationDraw(draw.space, draw.op, torch.zeros_like(draw.applied), draw.level, draw.sign, draw.center)
    out = apply_operations(images, none, path="soft")
    assert torch.equal(out, images)
    assert out.data_ptr() != images.data_ptr()
    shut = Relaxation(gate=torch.zeros(30, 2))
    assert torch.equal(apply_operations(images, draw, path="soft", relaxation=shut), images)


def test_open_gates_give_the_draw_bit_for_bit() -> None:
    draw, images = two_of(40), noise(40, 3, 8, 9)
    expected = apply_operations(images, draw, path="soft")
    level = draw.level.double() / 9
    given = Relaxation(level, draw.applied.float())
    assert torch.equal(apply_operations(images, draw, path="soft", relaxation=given), expected)


def test_a_gate_weighs_the_output() -> None:
    draw, images = two_of(20).map(lambda tensor: tensor[:, :1]), noise(20, 3, 8, 9)
    whole = OperationDraw(draw.space, draw.op, torch.ones_like(draw.applied), draw.level, draw.sign, draw.center)
    moved = apply_operations(images, whole, path="soft")
    gate = noise(20, 1, seed=5).requires_grad_()
    out = apply_operations(images, draw, path="soft", relaxation=Relaxation(gate=gate))
    torch.testing.assert_close(out, images + gate[..., None, None] * (moved - images))
    weight = noise(20, 3, 8, 9, seed=6)
    (found,) = torch.autograd.grad((weight * out).sum(), gate)
    torch.testing.assert_close(found[:, 0], (weight * (moved - images)).flatten(1).sum(1))


def test_a_draw_without_values_still_has_a_gradient() -> None:
    space = Space("plain", (Operation("Invert"),))
    draw = every_level(space, repeat=1).map(lambda tensor: tensor[:2])
    level = torch.full((2, 1), 0.5, requires_grad=True)
    out = apply_operations(torch.rand(2, 3, 4, 4), draw, path="soft", relaxation=Relaxation(level))
    (found,) = torch.autograd.grad(out.sum(), level)
    assert (found == 0).all()


@pytest.mark.parametrize("layout", ["channels_last", "expanded", "strided", "requires_grad"])
def test_memory_layout_does_not_matter(layout: str, contents: Contents) -> None:
    draw, images = two_of(30), contents(30, 12, 12).float() / 255
    if layout == "channels_last":
        other = images.contiguous(memory_format=torch.channels_last)
    elif layout == "expanded":
        images = images[:1].repeat(30, 1, 1, 1)
        other = images[:1].expand(30, -1, -1, -1)
    elif layout == "strided":
        other = images.repeat_interleave(2, 3)[..., ::2]
    else:
        other = images.clone().requires_grad_()
    for options in (Soft(), Soft(interpolation="nearest")):
        given = apply_operations(other, draw, path=options)
        assert given.requires_grad == other.requires_grad
        torch.testing.assert_close(given, apply_operations(images, draw, path=options))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_mixed_precision_does_not_reach_the_arithmetic(dtype: torch.dtype) -> None:
    draw, images = two_of(40), torch.rand(40, 3, 12, 12, generator=torch.Generator().manual_seed(0)).requires_grad_()
    expected = apply_operations(images, draw, path="soft")
    (gradient,) = torch.autograd.grad(expected.square().sum(), images)
    with torch.autocast("cpu", dtype):
        out = apply_operations(images, draw, path="soft")
    assert out.dtype == torch.float32
    assert torch.equal(out, expected)
    assert torch.equal(torch.autograd.grad(out.square().sum(), images)[0], gradient)
    half = images.detach().to(dtype).requires_grad_()
    level = torch.full((40, 2), 0.7, dtype=dtype, requires_grad=True)
    out = apply_operations(half, draw, path="soft", relaxation=Relaxation(level))
    assert out.dtype == dtype
    found = torch.autograd.grad(out.float().sum(), (half, level))
    assert all(each.dtype == dtype and each.isfinite().all() for each in found)


def test_dada_ste_is_one_for_every_pixel_of_what_is_applied() -> None:
    draw, images = two_of(20), noise(20, 3, 4, 5).requires_grad_()
    level, gate = noise(20, 2, seed=1).requires_grad_(), noise(20, 2, seed=2).requires_grad_()
    options = Soft(magnitude_gradient="dada_ste")
    out = apply_operations(images, draw, path=options, relaxation=Relaxation(level, gate))
    true = apply_operations(images, draw, path="soft", relaxation=Relaxation(level, gate))
    assert torch.equal(out, true)
    found, pixels, gates = torch.autograd.grad(out.sum(), (level, images, gate), allow_unused=True)
    assert torch.equal(found, draw.applied * 60.0)
    assert pixels is None
    assert gates is None
    with pytest.raises(PolicyError, match="a gradient by levels"):
        apply_operations(images, draw, path=options)
    with pytest.raises(PolicyError, match="a gradient by levels"):
        apply_operations(images, draw, path=options, relaxation=Relaxation(gate=gate))


def test_wrong_input_is_refused() -> None:
    draw, images = two_of(2), torch.rand(2, 3, 8, 8)
    with pytest.raises(ImagesError, match=r"floats in \[0, 1\], not torch.uint8; pass images.float\(\) / 255"):
        apply_operations((images * 255).to(torch.uint8), draw, path="soft")
    with pytest.raises(ImagesError, match="expected uint8, or floating point"):
        apply_operations(images.long(), draw, path="soft")
    with pytest.raises(ImagesError, match="look for NaN"):
        apply_operations(images * torch.nan, draw, path="soft")
    with pytest.raises(ImagesError, match="before normalising"):
        apply_operations(images * 255, draw, path="soft")
    with pytest.raises(ImagesError, match="1 images, but the draw is for 2"):
        apply_operations(images[:1], draw, path="soft")
    with pytest.raises(PolicyError, match="unknown path 'gentle'; expected exact, soft"):
        apply_operations(images, draw, path="gentle")  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match='pass path="soft"'):
        apply_operations(images, draw, relaxation=Relaxation(torch.rand(2, 2)))
    with pytest.raises(PolicyError, match=r"level of the relaxation is \(2, 1\); the draw is \(2, 2\)"):
        apply_operations(images, draw, path="soft", relaxation=Relaxation(torch.rand(2, 1)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"interpolation": "cubic"}, "interpolation is 'cubic'; expected one of bilinear, nearest"),
        ({"table_gradient": "zero"}, "table_gradient is 'zero'"),
        ({"magnitude_gradient": "none"}, "magnitude_gradient is 'none'"),
        ({"solarize_width": 0.0}, r"solarize_width is 0\.0"),
        ({"solarize_width": float("nan")}, "solarize_width is nan"),
    ],
)
def test_wrong_options_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        Soft(**settings)  # type: ignore[arg-type]


def test_it_runs_without_torchvision_and_pillow_and_loads_kornia_when_it_is_used() -> None:
    code = """
import sys
sys.modules["torchvision"] = sys.modules["PIL"] = None
import torch, nas_augment
policy = nas_augment.LearnablePolicy(nas_augment.preset("fast_aa"))
generator = torch.Generator().manual_seed(0)
policy(torch.rand(60, 3, 8, 8), generator=generator)
assert "kornia" not in sys.modules
policy.apply(torch.rand(60, 3, 8, 8), policy.sample(60, generator=generator), path="soft")
assert "kornia" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
