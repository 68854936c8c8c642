"""Exports reproduce what was drawn: Pillow bit for bit, torchvision within its known differences."""

import copy
import itertools
import multiprocessing
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nas_augment import ImagesError, MissingExtraError, Policy, Space, fixed, preset, published
from nas_augment.export import apply_pillow, to_pillow
from nas_augment.fixed import FixedPolicy
from nas_augment.operations import GEOMETRIC
from nas_augment.recipe import recipe
from nas_augment.stages import SubPolicies, UniformOperations

POLICIES = {
    "cutout": fixed.cutout(5, 2).decide(),
    "autoaugment": published.autoaugment("svhn", before=(fixed.Crop(2), fixed.Flip())).decide(),
    "uniform": Policy((UniformOperations(preset("fast_aa"), 3), fixed.Cutout(6, 0.5))),
    "genotype": Policy((published.from_fast_autoaugment([[("Invert", 0.3, 0.1), ("ShearY", 0.9, 0.9)]]),)),
}


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tensor_of(image: Any) -> Tensor:
    flat = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return flat.view(image.size[1], image.size[0], len(image.getbands())).permute(2, 0, 1)


def image_of(tensor: Tensor) -> Any:
    from PIL import Image

    mode = "L" if len(tensor) == 1 else "RGB"
    return Image.frombytes(mode, (tensor.shape[2], tensor.shape[1]), bytes(tensor.permute(1, 2, 0).flatten().tolist()))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", POLICIES)
def test_pillow_is_equal_bit_for_bit(name: str, channels: int, contents: Callable[..., Tensor]) -> None:
    pytest.importorskip("PIL")
    policy = POLICIES[name]
    for seed, image in enumerate(contents(60, 21, 26, channels)):
        expected = policy.apply(image[None], generator=generator(seed))[0]
        assert torch.equal(tensor_of(to_pillow(policy, generator(seed))(image_of(image))), expected)


@pytest.mark.parametrize("as_pillow", [False, True])
@pytest.mark.parametrize("name", POLICIES)
def test_torchvision_differs_by_a_level_and_at_ties(
    name: str, as_pillow: bool, contents: Callable[..., Tensor]
) -> None:
    pytest.importorskip("torchvision")
    policy, far = POLICIES[name], []
    for seed, image in enumerate(contents(60, 32, 32)):
        expected = policy.apply(image[None], generator=generator(seed))[0].int()
        transform = policy.to_torchvision(generator(seed))
        found = tensor_of(transform(image_of(image))) if as_pillow else transform(image)
        far.append(((found.int() - expected).abs() > 4).float().mean())
    assert torch.stack(far).mean() < 0.01


def test_torchvision_takes_masks_and_boxes_along() -> None:
    pytest.importorskip("torchvision")
    from torchvision import tv_tensors

    transform = Policy((fixed.Flip(1.0), UniformOperations(preset("autoaugment"), 2))).to_torchvision(generator(0))
    mask = tv_tensors.Mask(torch.arange(64).view(8, 8) % 8)
    flip = Policy((fixed.Flip(1.0),)).to_torchvision(generator(0))
    image = tv_tensors.Image(torch.zeros(3, 8, 8, dtype=torch.uint8))
    points = tv_tensors.KeyPoints(torch.tensor([[1.5, 2.5]]), canvas_size=(8, 8))
    boxes = tv_tensors.BoundingBoxes(torch.tensor([[0, 0, 2, 3]]), format="XYXY", canvas_size=(8, 8))
    _, flipped, moved, mirrored = flip(image, mask, boxes, points)
    assert torch.equal(flipped, mask.flip(1))
    assert moved.tolist() == [[6, 0, 8, 3]]
    assert mirrored.tolist() == [[5.5, 2.5]]  # torchvision counts pixels: 7 - 1.5
    for _ in range(10):
        transform(image, mask, boxes, points)
    colours = Policy((UniformOperations(COLOURS, 3), fixed.Cutout(4))).to_torchvision(generator(0))
    for _ in range(10):
        _, same, kept, still = colours(image, mask, boxes, points)
        assert torch.equal(same, mask)
        assert torch.equal(kept, boxes)
        assert torch.equal(still, points)


COLOURS = Space("colours", tuple(each for each in preset("fast_aa").operations if each.name not in GEOMETRIC))


@pytest.mark.parametrize("kind", ["pillow", "torchvision"])
def test_transforms_pickle_and_draw_from_a_stream_of_the_process(kind: str) -> None:
    pytest.importorskip("PIL" if kind == "pillow" else "torchvision")
    policy = POLICIES["uniform"]
    transform = to_pillow(policy) if kind == "pillow" else policy.to_torchvision()
    image = torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8)
    given = image_of(image) if kind == "pillow" else image

    def values(made: Any) -> list[int]:
        out = made(given)
        return (tensor_of(out) if kind == "pillow" else out).flatten().tolist()

    state = torch.random.get_rng_state()
    first = [values(transform) for _ in range(3)]
    assert torch.equal(state, torch.random.get_rng_state())
    again = pickle.loads(pickle.dumps(transform))
    copied = [values(again) for _ in range(3)]  # a copy is another transform, such as that of a second view
    assert copied[0] != first[0] or copied[1] != first[1]
    assert first[0] != first[1] or first[1] != first[2]


def test_sub_policies_are_exported() -> None:
    assert any(isinstance(stage, SubPolicies) for stage in POLICIES["autoaugment"].stages)


@pytest.mark.parametrize(("library", "extra"), [("PIL", "pillow"), ("torchvision", "torchvision")])
def test_without_the_library_the_error_says_what_to_install(
    library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas_augment.export.find_spec", lambda name: None if name == library else 1)
    with pytest.raises(MissingExtraError, match=rf'pip install "nas-augment\[{extra}\]"'):
        to_pillow(POLICIES["cutout"]) if library == "PIL" else POLICIES["cutout"].to_torchvision()


@pytest.mark.parametrize("kind", ["pillow", "torchvision"])
@pytest.mark.parametrize("name", POLICIES)
def test_a_recorded_sample_is_reproduced(name: str, kind: str, contents: Callable[..., Tensor]) -> None:
    """Drawn for a batch, applied to it, and carried out by the other library image by image."""
    pytest.importorskip("PIL" if kind == "pillow" else "torchvision")
    policy, images = FixedPolicy(POLICIES[name].stages), contents(40, 32, 32)
    sample = policy.sample(40, generator=generator(3))
    expected, far = policy.apply(images, sample), []
    for n, image in enumerate(images):
        instructions = recipe(policy.stages, sample[n : n + 1].draws, 32, 32)
        if kind == "pillow":
            assert torch.equal(tensor_of(apply_pillow(image_of(image), instructions)), expected[n])
        else:
            from nas_augment.torchvision_transform import apply_torchvision

            found = apply_torchvision(image, instructions)
            far.append(((found.int() - expected[n].int()).abs() > 4).float().mean())
    assert not far or torch.stack(far).mean() < 0.01


@pytest.mark.parametrize("kind", ["pillow", "torchvision"])
def test_workers_of_a_data_loader_draw_from_streams_of_their_own(kind: str) -> None:
    """The same image eight times, half of them by each of two workers: no two alike, and another epoch is another."""
    pytest.importorskip("PIL" if kind == "pillow" else "torchvision")
    policy = Policy((UniformOperations(preset("fast_aa"), 3), fixed.Cutout(6)))
    image = torch.randint(0, 256, (3, 24, 24), generator=generator(0), dtype=torch.uint8)
    transform: Any = to_pillow(policy) if kind == "pillow" else policy.to_torchvision()
    given: Any = [image_of(image) if kind == "pillow" else image] * 8

    start = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"  # spawning takes seconds

    def epochs(seed: int, count: int) -> list[list[tuple[int, ...]]]:
        # Each worker applies the transform to the items that fall to it.
        loader: Any = torch.utils.data.DataLoader(
            given, batch_size=None, collate_fn=transform, num_workers=2, multiprocessing_context=start,
            generator=generator(seed),
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads
            out = [[tensor_of(x) if kind == "pillow" else x for x in loader] for _ in range(count)]
        return [[tuple(x.flatten().tolist()) for x in epoch] for epoch in out]

    first, second = epochs(0, 2)
    assert len({*first, *second}) == 16
    assert epochs(0, 1) == [first]
    assert epochs(1, 1) != [first]


@pytest.mark.parametrize("kind", ["pillow", "torchvision", "kornia"])
def test_two_transforms_draw_apart_and_apart_from_torch(kind: str) -> None:
    pytest.importorskip({"pillow": "PIL"}.get(kind, kind))
    policy = Policy((fixed.Flip(),))
    image = torch.arange(8, dtype=torch.uint8).expand(1, 3, 8, 8)

    def transform() -> Callable[[], bool]:
        if kind == "pillow":
            pillow, picture = to_pillow(policy), image_of(image[0])
            return lambda: pillow(picture) != picture
        other: Any = policy.to_torchvision() if kind == "torchvision" else policy.to_kornia()
        given = image / 255 if kind == "kornia" else image[0]
        return lambda: not torch.equal(other(given), given)

    torch.manual_seed(3)
    first, second = transform(), transform()
    flips = [(first(), second(), bool(torch.rand(()) < 0.5)) for _ in range(100)]
    for one, other in itertools.combinations(range(3), 2):
        assert 25 < sum(flip[one] == flip[other] for flip in flips) < 75  # half, within five standard deviations


def drawn_by_workers(given: Any, transform: Any, start: str, *, workers: int = 1, epochs: int = 1) -> list[bytes]:
    """What the workers of a data loader make of some images."""
    loader: Any = torch.utils.data.DataLoader(
        given, batch_size=None, collate_fn=transform, num_workers=workers, multiprocessing_context=start,
        generator=generator(0),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads
        return [out.tobytes() for _ in range(epochs) for out in loader]


def test_copies_of_a_generator_in_workers_draw_apart() -> None:
    pytest.importorskip("PIL")
    image = torch.randint(0, 256, (3, 24, 24), generator=generator(0), dtype=torch.uint8)
    transform: Any = to_pillow(Policy((UniformOperations(preset("fast_aa"), 3), fixed.Cutout(6))), generator(5))
    given: Any = [image_of(image)] * 4
    start = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"

    first, again = (drawn_by_workers(given, transform, start, workers=2, epochs=2) for _ in range(2))
    assert len({*first}) == 8
    assert first == again


def test_a_generator_goes_to_workers_that_are_spawned() -> None:
    """Torch sends none; as its seed goes, a worker draws what one that is forked draws."""
    pytest.importorskip("PIL")
    image = torch.randint(0, 256, (3, 24, 24), generator=generator(0), dtype=torch.uint8)
    transform: Any = to_pillow(Policy((UniformOperations(preset("fast_aa"), 3),)), generator(5))
    given: Any = [image_of(image)] * 2

    spawned = drawn_by_workers(given, transform, "spawn")
    assert len({*spawned}) == 2
    if "fork" in multiprocessing.get_all_start_methods():
        assert spawned == drawn_by_workers(given, transform, "fork")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_a_copy_goes_on_with_the_generator_as_it_was(copied: Callable[[Any], Any]) -> None:
    pytest.importorskip("PIL")
    transform = to_pillow(POLICIES["uniform"], generator(5))
    image = image_of(torch.randint(0, 256, (3, 24, 24), generator=generator(0), dtype=torch.uint8))
    transform(image)
    again = copied(transform)
    expected = [transform(image).tobytes() for _ in range(3)]
    assert [again(image).tobytes() for _ in range(3)] == expected
    assert len({*expected}) == 3


WRITES = Policy((fixed.Flip(), fixed.Cutout(6, fill=1.0)))
MOVES = Policy((fixed.Crop(2), fixed.Flip()))
"""Which any image can be put through."""


@pytest.mark.parametrize("mode", ["1", "CMYK", "F", "I;16", "LA", "P", "RGBA"])
@pytest.mark.parametrize("kind", ["pillow", "torchvision"])
def test_pillow_images_of_other_modes_are_refused(kind: str, mode: str) -> None:
    pytest.importorskip("PIL" if kind == "pillow" else "torchvision")
    from PIL import Image

    transform, moving = (
        to_pillow(policy, generator(0)) if kind == "pillow" else policy.to_torchvision(generator(0))
        for policy in (WRITES, MOVES)
    )
    image = Image.new(mode, (8, 8))
    assert moving(image).mode == mode
    with pytest.raises(ImagesError, match=rf'of mode {mode}; expected RGB or L: convert it by image.convert\("RGB"\)'):
        transform(image)
    assert transform(image.convert("RGB")).mode == "RGB"


def test_what_is_no_pillow_image_is_refused() -> None:
    pytest.importorskip("PIL")
    with pytest.raises(ImagesError, match="an image is of type Tensor; expected a Pillow image of mode RGB or L"):
        to_pillow(POLICIES["cutout"])(torch.zeros(3, 8, 8))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(3, 16, 16), r"an image is torch.float32; expected uint8: .*v2.ToDtype\(torch.uint8, scale=True\)"),
        (torch.zeros(3, 16, 16, dtype=torch.int64), "an image is torch.int64; expected uint8"),
        (torch.zeros(4, 16, 16, dtype=torch.uint8), r"shape \(4, 16, 16\).*1 channel .*pass the first three"),
        (torch.zeros(16, 16, dtype=torch.uint8), r"shape \(16, 16\); expected \(..., channels, height, width\)"),
    ],
)
def test_tensors_that_torchvision_would_spoil_are_refused(image: Tensor, message: str) -> None:
    pytest.importorskip("torchvision")
    with pytest.raises(ImagesError, match=message):
        WRITES.to_torchvision(generator(0))(image)


def test_tensors_that_are_only_moved_may_be_of_any_kind() -> None:
    pytest.importorskip("torchvision")
    for image in (torch.rand(3, 16, 16), torch.zeros(4, 16, 16, dtype=torch.uint8)):
        assert MOVES.to_torchvision(generator(0))(image).shape == image.shape
