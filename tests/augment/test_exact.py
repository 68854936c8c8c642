"""The exact arithmetic against Pillow, and its two backends against each other."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nas_augment import LearnablePolicy, Operation, OperationDraw, Space, apply_operations, fixed, preset
from nas_augment.applying import program
from nas_augment.exact import dense, grouped
from nas_augment.operations import CODES
from nas_augment.presets import preset_names

NAMES = {code: name for name, code in CODES.items()}
SIZES = [(32, 32), (33, 47), (64, 40), (1, 9), (9, 1), (2, 2), (3, 3)]


def every_level(space: Space, repeat: int = 6) -> OperationDraw:
    """Every operation at every level with both signs, `repeat` times."""
    operations = len(space.operations)
    op = torch.arange(operations).repeat_interleave(space.levels * 2 * repeat)
    level = torch.arange(space.levels).repeat_interleave(2 * repeat).repeat(operations)
    sign = torch.tensor([1, -1]).repeat_interleave(repeat).repeat(operations * space.levels)
    sign = torch.where(space.signed()[op], sign, 1).to(torch.int8)
    center = torch.rand(len(op), 1, 2, generator=torch.Generator().manual_seed(1))
    applied = torch.ones_like(op).bool()
    return OperationDraw(space, op[:, None], applied[:, None], level[:, None], sign[:, None], center)


def random_draw(space: Space, batch: int, count: int, seed: int) -> OperationDraw:
    g = torch.Generator().manual_seed(seed)
    op = torch.randint(len(space.operations), (batch, count), generator=g)
    level = torch.randint(space.levels, (batch, count), generator=g)
    sign = torch.where(space.signed()[op], torch.randint(2, op.shape, generator=g) * 2 - 1, 1).to(torch.int8)
    applied = torch.rand(op.shape, generator=g) < 0.9
    return OperationDraw(space, op, applied, level, sign, torch.rand(batch, count, 2, generator=g))


def by_pillow(pillow: Callable[..., Tensor], images: Tensor, draw: OperationDraw) -> Tensor:
    code, value = program(draw, *images.shape[2:])
    out = []
    for n, image in enumerate(images):
        for k in range(code.shape[1]):
            place = (float(draw.center[n, k, 0]), float(draw.center[n, k, 1]))
            image = pillow(image, NAMES[int(code[n, k])], float(value[n, k]), place)
        out.append(image)
    return torch.stack(out)


def different(first: Tensor, second: Tensor) -> list[int]:
    return (first != second).flatten(1).any(1).nonzero().flatten().tolist()


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("name", ["fast_aa", "trivial_wide"])
def test_every_operation_at_every_level_equals_pillow(
    name: str, height: int, width: int, pillow: Callable[..., Tensor], contents: Callable[..., Tensor]
) -> None:
    draw = every_level(preset(name), repeat=6 if name == "fast_aa" else 1)
    images = contents(len(draw), height, width)
    before = images.clone()
    expected = by_pillow(pillow, images, draw)
    for backend in ("grouped", "dense"):
        assert different(apply_operations(images, draw, backend=backend), expected) == []
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", preset_names())
def test_every_space_equals_pillow(name: str, pillow: Callable[..., Tensor], contents: Callable[..., Tensor]) -> None:
    draw = every_level(preset(name), repeat=1)
    images = contents(len(draw), 20, 26)
    assert different(apply_operations(images, draw), by_pillow(pillow, images, draw)) == []


def test_grey_images_equal_pillow(pillow: Callable[..., Tensor], contents: Callable[..., Tensor]) -> None:
    draw = every_level(preset("fast_aa"), repeat=3)
    images = contents(len(draw), 19, 21, channels=1)
    expected = by_pillow(pillow, images, draw)
    assert different(apply_operations(images, draw, backend="grouped"), expected) == []
    assert different(apply_operations(images, draw, backend="dense"), expected) == []


@pytest.mark.slow
def test_every_operation_at_every_level_equals_pillow_on_large_images(
    pillow: Callable[..., Tensor], contents: Callable[..., Tensor]
) -> None:
    """A few at a time: at 224 x 224 every tensor of all of them is large."""
    draw = every_level(preset("fast_aa"), repeat=1)
    for start in range(0, len(draw), 30):
        some = draw.map(lambda tensor: tensor[start : start + 30])  # noqa: B023
        images = contents(len(some), 224, 224, seed=start)
        expected = by_pillow(pillow, images, some)
        for backend in ("grouped", "dense"):
            assert different(apply_operations(images, some, backend=backend), expected) == []


FUZZ = [(32, 32, 2000), (33, 47, 1800), (64, 40, 1600), (224, 224, 60)]


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width", "policies"), FUZZ)
def test_random_policies_of_two_operations_equal_pillow(
    height: int, width: int, policies: int, pillow: Callable[..., Tensor], contents: Callable[..., Tensor]
) -> None:
    draw = random_draw(preset("fast_aa"), policies, 2, seed=height)
    images = contents(policies, height, width, seed=width)
    expected = by_pillow(pillow, images, draw)
    assert different(apply_operations(images, draw, backend="grouped"), expected) == []
    assert different(apply_operations(images, draw, backend="dense"), expected) == []


@pytest.mark.slow
def test_compiled_random_policies_of_two_operations_equal_pillow(
    pillow: Callable[..., Tensor], contents: Callable[..., Tensor]
) -> None:
    """By inductor, which makes a program for each size, also where it is asked for one with dynamic shapes."""
    torch._dynamo.reset()
    compiled = torch.compile(dense, fullgraph=True, dynamic=False)
    for height, width, policies in (FUZZ[1], FUZZ[3]):
        draw = random_draw(preset("fast_aa"), policies, 2, seed=height)
        images = contents(policies, height, width, seed=width)
        code, value = program(draw, height, width)
        out = images
        for slot in range(2):
            out = compiled(out, code[:, slot], value[:, slot], draw.center[:, slot])
        assert different(out, by_pillow(pillow, images, draw)) == []


@pytest.mark.parametrize("name", preset_names())
def test_backends_agree_bit_for_bit(name: str, contents: Callable[..., Tensor]) -> None:
    draw = random_draw(preset(name), 300, 3, seed=4)
    images = contents(300, 17, 23)
    first = apply_operations(images, draw, backend="grouped")
    assert torch.equal(first, apply_operations(images, draw, backend="dense"))
    alone = torch.cat([apply_operations(images[n : n + 1], draw.map(lambda t: t[n : n + 1])) for n in range(20)])  # noqa: B023
    assert torch.equal(alone, first[:20])
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    assert torch.equal(apply_operations(images[order], draw.map(lambda t: t[order])), first[order])


def test_what_is_not_applied_changes_nothing(contents: Callable[..., Tensor]) -> None:
    draw = random_draw(preset("fast_aa"), 60, 2, seed=5)
    none = OperationDraw(draw.space, draw.op, torch.zeros_like(draw.applied), draw.level, draw.sign, draw.center)
    images = contents(60, 8, 9)
    for backend in ("grouped", "dense"):
        assert torch.equal(apply_operations(images, none, backend=backend), images)
    floats = torch.rand(60, 3, 8, 9)
    assert torch.equal(apply_operations(floats, none), floats)


NEUTRAL = (
    Operation("Identity"), Operation("ShearX", 0, 0, "slope"), Operation("ShearY", 0, 0, "slope"),
    Operation("TranslateX", 0, 0, "fraction"), Operation("TranslateY", 0, 0.4, "pixels"),
    Operation("Rotate", 0, 360, "degrees"), Operation("Solarize", 256, 255.5, "threshold"),
    Operation("Posterize", 8, 8, "bits"), Operation("Contrast", 1, 1, "factor"), Operation("Color", 0, 0, "offset"),
    Operation("Brightness", 1, 1, "factor"), Operation("Sharpness", 0, 0, "offset"), Operation("Cutout", 0, 0, "pixels"),
)  # fmt: skip


@pytest.mark.parametrize("backend", ["grouped", "dense"])
def test_neutral_levels_change_nothing(backend: Any, contents: Callable[..., Tensor]) -> None:
    draw = every_level(Space("neutral", NEUTRAL, 2), repeat=6)
    for channels in (1, 3):
        images = contents(len(draw), 9, 12, channels)
        before = images.clone()
        out = apply_operations(images, draw, backend=backend)
        assert different(out, before) == []
        assert torch.equal(images, before)
        out.zero_()
        assert torch.equal(images, before)  # and it shares no memory with them


@pytest.mark.parametrize("layout", ["channels_last", "expanded", "strided"])
def test_memory_layout_does_not_matter(layout: str, contents: Callable[..., Tensor]) -> None:
    draw = random_draw(preset("fast_aa"), 64, 2, seed=6)
    images = contents(64, 12, 12)
    if layout == "channels_last":
        other = images.contiguous(memory_format=torch.channels_last)
    elif layout == "expanded":
        images = images[:1].repeat(64, 1, 1, 1)
        other = images[:1].expand(64, -1, -1, -1)
    else:
        other = images.repeat_interleave(2, 3)[..., ::2]
    for backend in ("grouped", "dense"):
        given = apply_operations(other, draw, backend=backend)
        assert torch.equal(given, apply_operations(images, draw))


def test_dense_compiles_whole_and_once(contents: Callable[..., Tensor]) -> None:
    """Static shapes: no graph break, no recompilation over 20 samples, and no wait for the device."""
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(dense, fullgraph=True, backend=counter)
    images = contents(16, 12, 12)
    for seed in range(20):
        draw = random_draw(preset("fast_aa"), 16, 1, seed)
        code, value = program(draw, 12, 12)
        out = compiled(images, code[:, 0], value[:, 0], draw.center[:, 0])
        assert torch.equal(out, apply_operations(images, draw))
    assert counter.frame_count == 1


class CountCalls(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts operations, and those that wait for a value on the device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls = self.copies = 0
        self.waits: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.calls += 1
        name = func.overloadpacket.__name__
        if name in ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "unique_dim"):
            self.waits.append(name)
        # A tensor of numbers of the host, which are copied to the device; a GPU waits for that too.
        self.copies += name == "lift_fresh"
        return func(*args, **(kwargs or {}))


def test_nothing_is_read_back_from_the_device_of_the_images() -> None:
    """On the device ``meta`` there is nothing to read: a value that is asked for raises."""
    for backend in ("grouped", "dense"):
        policy = LearnablePolicy(
            preset("fast_aa"), 3, before=(fixed.Crop(2), fixed.Flip()), after=(fixed.Cutout(4),), backend=backend
        )
        sample = policy.sample(30, generator=torch.Generator().manual_seed(0))
        images = torch.zeros(30, 3, 12, 12, dtype=torch.uint8, device="meta")
        assert policy.apply(images, sample).shape == images.shape
        assert policy.log_prob(sample).shape == (30,)
        masks = policy.apply(images, sample, masks=images).masks
        assert masks is not None
        assert masks.is_meta


def test_a_batch_of_two_operations_stays_within_its_budget(contents: Callable[..., Tensor]) -> None:
    """Every call of ATen, views too: on a small batch each costs as much as the next."""
    images, draw = contents(128, 32, 32), random_draw(preset("fast_aa"), 128, 2, seed=1)
    backends: tuple[Any, ...] = ("dense", "grouped")
    for backend in backends:
        apply_operations(images, draw, backend=backend)  # the tables of the space are made once
        with CountCalls() as count:
            apply_operations(images, draw, backend=backend)
        assert count.calls <= 600, (backend, count.calls)
        # The draw is on the host: whether its operations and levels are in the space, and grouped's list of them.
        assert len(count.waits) == 4


def test_operations_and_waits_stay_within_their_budget(contents: Callable[..., Tensor]) -> None:
    images = contents(128, 32, 32)
    code, value = program(random_draw(preset("fast_aa"), 128, 2, seed=1), 32, 32)
    center = torch.full((128, 2, 2), 0.5)
    for function in (dense, grouped):
        with CountCalls() as count:
            function(images, code[:, 0], value[:, 0], center[:, 0])
        assert count.calls <= 280, count.calls
        assert function is grouped or (count.waits, count.copies) == ([], 0)


@pytest.mark.slow
def test_compiled_by_inductor_it_is_exact_in_few_kernels(
    monkeypatch: pytest.MonkeyPatch, contents: Callable[..., Tensor]
) -> None:
    from torch._inductor import metrics

    torch._dynamo.reset()
    metrics.reset()
    images = contents(64, 16, 16)
    compiled = torch.compile(dense, fullgraph=True)
    for seed in range(20):
        draw = random_draw(preset("fast_aa"), 64, 1, seed)
        code, value = program(draw, 16, 16)
        out = compiled(images, code[:, 0], value[:, 0], draw.center[:, 0])
        assert different(out, grouped(images, code[:, 0], value[:, 0], draw.center[:, 0])) == []
    assert 0 < metrics.generated_kernel_count <= 20, metrics.generated_kernel_count
