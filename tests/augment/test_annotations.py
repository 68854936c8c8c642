"""Masks, boxes and key points follow the pixels: against painted images, longhand, and torchvision; and what is refused."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nas_augment import (
    Annotated,
    AnnotationOptions,
    AnnotationsError,
    AugmentationPolicy,
    ImagesError,
    LearnablePolicy,
    Operation,
    Policy,
    PolicyError,
    PolicySample,
    Space,
    fixed,
    preset,
    published,
)
from nas_augment.fixed import Crop, Cutout, FixedPolicy, Flip
from nas_augment.operations import GEOMETRIC
from nas_augment.stages import Step, SubPolicies, SubPolicy, UniformOperations

HEIGHT, WIDTH = 40, 52
COLOURS = Space("colours", tuple(o for o in preset("fast_aa").operations if o.name not in {*GEOMETRIC, "Cutout"}))
WARPS = Space("warps", tuple(o for o in preset("fast_aa").operations if o.name in GEOMETRIC))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learnable(space: Space, count: int = 2) -> LearnablePolicy:
    return LearnablePolicy(space, count, before=(Crop(4), Flip()))


def noise(batch: int, channels: int = 3) -> Tensor:
    return torch.randint(0, 256, (batch, channels, HEIGHT, WIDTH), generator=generator(9), dtype=torch.uint8)


def steps(*names: str, level: int = 1) -> FixedPolicy:
    """Operations that are always applied, at a level of two, unsigned."""
    units: dict[str, Any] = {"TranslateX": "pixels", "Rotate": "degrees", "Cutout": "pixels"}
    high = {"TranslateX": 10.0, "Rotate": 90.0, "Cutout": 10.0}
    back = Operation("TranslateX", 0, -10.0, "pixels")
    there = Space("there", tuple(Operation(name, 0, high[name], unit) for name, unit in units.items()), 2)
    chosen = []
    for name in names:
        space = Space("back", (back,), 2) if name == "back" else there
        entry = SubPolicy((Step("TranslateX" if name == "back" else name, 1.0, level),))
        chosen.append(SubPolicies(space, (entry,)))
    return FixedPolicy(chosen)


def painted(batch: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random boxes ``(batch, 1, 4)``, and masks that are 1 in them."""
    g = generator(seed)
    left, top = (torch.randint(0, size - 12, (batch, 1), generator=g) for size in (WIDTH, HEIGHT))
    width, height = (torch.randint(6, 12, (batch, 1), generator=g) for _ in range(2))
    boxes = torch.stack((left, top, left + width, top + height), -1)
    x, y = torch.arange(WIDTH), torch.arange(HEIGHT)[:, None]
    x0, y0, x1, y1 = (each[:, None, None] for each in boxes[:, 0].unbind(1))
    inside = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
    return boxes.float(), inside.to(torch.uint8)


def box_of(mask: Tensor) -> Tensor:
    """The box ``(batch, 4)`` around what is true of ``(batch, height, width)``."""
    columns, rows = (mask.any(axis).to(torch.uint8) for axis in (1, 2))
    first = (columns.argmax(1), rows.argmax(1))
    last = (WIDTH - columns.flip(1).argmax(1), HEIGHT - rows.flip(1).argmax(1))
    return torch.stack((*first, *last), 1)


@pytest.mark.parametrize("space", [WARPS, Space("wide", preset("trivial_wide").operations[1:6], 31)], ids=str)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_masks_move_as_the_pixels_do(space: Space, dtype: torch.dtype) -> None:
    policy, images = learnable(space, 3), noise(60)
    sample = policy.sample(60, generator=generator())
    given = images.to(dtype)
    masks = policy.apply(images, sample, masks=given, options=AnnotationOptions(mask_fill=0)).masks
    assert masks is not None
    assert masks.dtype == dtype
    assert torch.equal(masks, policy.apply(images, sample).to(dtype))
    assert torch.equal(given, images.to(dtype))
    flat = policy.apply(images, sample, masks=given[:, 1], options=AnnotationOptions(mask_fill=0)).masks
    assert flat is not None
    assert torch.equal(flat, masks[:, 1])


def test_what_comes_from_outside_gets_the_fill_and_colours_leave_labels_alone() -> None:
    policy, images = learnable(WARPS), noise(60) // 2
    sample = policy.sample(60, generator=generator())
    masks = policy.apply(images + 1, sample, masks=images).masks
    assert masks is not None
    assert torch.equal(masks == 255, policy.apply(images + 1, sample) == 0)
    assert (masks == 255).any()
    colours = LearnablePolicy(COLOURS, 3)
    same = colours.apply(images, colours.sample(60, generator=generator()), masks=images)
    assert same.masks is not None
    assert torch.equal(same.masks, images)
    assert not torch.equal(same.images, images)


@pytest.mark.parametrize("policy", [FixedPolicy([Cutout(9, 1.0)]), steps("Cutout")], ids=["square", "operation"])
def test_cutout_leaves_labels_unless_asked(policy: FixedPolicy) -> None:
    images = torch.full((50, 3, HEIGHT, WIDTH), 7, dtype=torch.uint8)
    sample = policy.sample(50, generator=generator())
    out = policy.apply(images, sample, masks=images[:, 0])
    assert out.masks is not None
    assert (out.masks == 7).all()
    covered = (out.images != 7)[:, 0]
    assert 0.01 < covered.float().mean() < 0.1
    places = torch.cartesian_prod(torch.arange(WIDTH), torch.arange(HEIGHT)).float() + 0.5
    hidden = policy.apply(
        images, sample, masks=images[:, 0], keypoints=places.expand(50, -1, 2), options=AnnotationOptions(cover=True)
    )
    assert hidden.masks is not None
    assert torch.equal(hidden.masks == 255, covered)
    assert hidden.visible is not None
    assert torch.equal(~hidden.visible.view(50, WIDTH, HEIGHT).mT, covered)


@pytest.mark.parametrize(
    ("name", "count", "seed"), [("fast_aa", 1, 0), ("fast_aa", 2, 1), ("fast_aa", 2, 2), ("trivial_wide", 2, 3)]
)
def test_a_box_is_that_of_its_painted_mask_within_a_pixel(name: str, count: int, seed: int) -> None:
    policy, (boxes, masks) = learnable(preset(name), count), painted(1000, seed)
    sample = policy.sample(1000, generator=generator(seed))
    out = policy.apply(noise(1000), sample, masks=masks, boxes=boxes)
    assert isinstance(out.boxes, Tensor)
    assert isinstance(out.valid, Tensor)
    assert out.masks is not None
    there, found = (out.masks == 1).flatten(1).any(1), box_of(out.masks == 1)
    valid, moved = out.valid[:, 0], out.boxes[:, 0]
    assert not (there & ~valid).any()
    both = there & valid
    assert both.float().mean() > 0.9
    # A sliver that the frame cuts off may lie between the middles of pixels; a whole box has no such parts.
    assert (valid & ~there).float().mean() < 0.005
    assert ((found - moved)[both].abs().amax(1) > 1 + 1e-4).float().mean() < 0.01
    beyond = torch.maximum(moved[:, :2] - found[:, :2], found[:, 2:] - moved[:, 2:])
    assert beyond[both].max() <= 1 + 1e-4
    kept = policy.apply(noise(1000), sample, boxes=boxes, options=AnnotationOptions(min_visibility=1.0)).valid
    assert isinstance(kept, Tensor)
    whole = kept[:, 0]
    assert whole.float().mean() > 0.7
    assert (found - moved)[whole].abs().max() <= 1 + 1e-4
    assert (moved[~valid] == 0).all()


@pytest.mark.parametrize("name", ["fast_aa", "trivial_wide"])
def test_key_points_are_where_their_pixel_is(name: str) -> None:
    """Every pixel has a number of its own and a key point in its middle."""
    policy = LearnablePolicy(preset(name), 2, before=(Crop(2), Flip()))
    height, width = 12, 15
    numbers = torch.arange(height * width).view(1, height, width).expand(200, -1, -1)
    middles = torch.cartesian_prod(torch.arange(height), torch.arange(width)).flip(1) + 0.5
    images = torch.zeros(200, 3, height, width, dtype=torch.uint8)
    sample = policy.sample(200, generator=generator())
    out = policy.apply(
        images, sample, masks=numbers, keypoints=middles.expand(200, -1, 2), options=AnnotationOptions(mask_fill=-1)
    )
    assert out.masks is not None
    assert out.keypoints is not None
    assert out.visible is not None
    labels = out.masks.flatten(1)
    there = labels >= 0
    point = out.keypoints.gather(1, labels.clamp(min=0)[..., None].expand(-1, -1, 2))
    distance = (point - middles).norm(dim=-1)[there]
    # Twice rounded to the middle of a pixel, at most sqrt(1/2) away, and stretched by a shear at most by 1.6.
    assert distance.max() <= 0.7072 * (1 + 1.62) if name == "trivial_wide" else distance.max() <= 0.7072 * (1 + 1.17)
    assert (distance > 1).float().mean() < (0.05 if name == "trivial_wide" else 0.01)
    seen = out.visible.gather(1, labels.clamp(min=0))
    # Only a point on the border of the frame can be lost while its pixel is seen.
    assert (there & ~seen).float().mean() < 0.03
    inside = ((out.keypoints >= 0) & (out.keypoints <= torch.tensor([width, height]))).all(-1)
    assert (inside | ~out.visible).all()


def test_a_key_point_of_whole_steps_is_exactly_on_its_painted_pixel() -> None:
    policy = FixedPolicy([Crop(4), Flip(), *steps("TranslateX", "Rotate").stages])
    square = 24
    images = torch.zeros(100, 1, square, square, dtype=torch.uint8)
    place = torch.randint(0, square, (100, 2), generator=generator(1))
    images[torch.arange(100), 0, place[:, 1], place[:, 0]] = 255
    # Without Cutout there is nothing to be covered.
    for options in (AnnotationOptions(), AnnotationOptions(cover=True)):
        _check_lit(policy(images, generator=generator(), keypoints=place[:, None] + 0.5, options=options))


def _check_lit(out: Annotated) -> None:
    assert out.keypoints is not None
    assert out.visible is not None
    for image, point, visible in zip(out.images[:, 0], out.keypoints[:, 0], out.visible[:, 0], strict=True):
        lit = image.nonzero().flip(1) + 0.5
        assert len(lit) == int(visible)
        if visible:
            assert torch.equal(lit[0], point)
    assert 20 < out.visible.sum() < 100


def test_frames_are_cut_one_after_another() -> None:
    """There and back: what left the frame in between is lost, for all kinds alike."""
    boxes = torch.tensor([[[2.0, 3.0, 14.0, 9.0], [0.0, 0.0, 10.0, 5.0], [20.0, 20.0, 30.0, 30.0]]])
    points = torch.tensor([[[9.5, 4.0], [10.5, 4.0], [25.0, 25.0]]])
    masks = torch.ones(1, HEIGHT, WIDTH, dtype=torch.uint8)
    policy = steps("TranslateX", "back")
    sample = policy.sample(1, generator=generator())
    out = policy.apply(noise(1), sample, masks=masks, boxes=boxes, keypoints=points)
    assert isinstance(out.boxes, Tensor)
    assert isinstance(out.valid, Tensor)
    assert out.boxes.tolist() == [[[10.0, 3.0, 14.0, 9.0], [0.0] * 4, [20.0, 20.0, 30.0, 30.0]]]
    assert out.valid.tolist() == [[True, False, True]]
    assert out.keypoints is not None
    assert torch.equal(out.keypoints, points)
    assert out.visible is not None
    assert out.visible.tolist() == [[False, True, True]]
    assert out.masks is not None
    assert (out.masks[..., :10] == 255).all()
    assert (out.masks[..., 10:] == 1).all()


@pytest.mark.parametrize(
    ("options", "valid"),
    [
        (AnnotationOptions(), [True, True, True]),
        (AnnotationOptions(min_area=24.0), [True, True, True]),
        (AnnotationOptions(min_area=24.1), [False, True, True]),
        (AnnotationOptions(min_visibility=1 / 3), [True, True, True]),
        (AnnotationOptions(min_visibility=0.34), [False, True, True]),
        (AnnotationOptions(min_visibility=0.51), [False, False, True]),
        (AnnotationOptions(min_visibility=1.0), [False, False, True]),
    ],
    ids=str,
)
def test_thresholds_are_of_what_is_left(options: AnnotationOptions, valid: list[bool]) -> None:
    boxes = torch.tensor([[[2.0, 3.0, 14.0, 9.0], [0.0, 0.0, 20.0, 5.0], [20.0, 20.0, 30.0, 30.0]]])
    policy = steps("TranslateX")
    out = policy.apply(noise(1), policy.sample(1, generator=generator()), boxes=boxes, options=options)
    assert isinstance(out.valid, Tensor)
    assert out.valid.tolist() == [valid]


def test_a_box_does_not_grow_by_turning_there_and_back() -> None:
    space = Space("turn", (Operation("Rotate", 30, -30, "degrees"),), 2)
    turns = FixedPolicy([SubPolicies(space, (SubPolicy((Step("Rotate", 1.0, 0), Step("Rotate", 1.0, 1))),))])
    boxes = torch.tensor([[[20.0, 15.0, 30.0, 25.0]]], dtype=torch.float64)
    out = turns.apply(noise(1), turns.sample(1, generator=generator()), boxes=boxes)
    assert isinstance(out.boxes, Tensor)
    torch.testing.assert_close(out.boxes, boxes)


def test_padded_ragged_and_empty_boxes_are_the_same() -> None:
    policy, (boxes, _) = learnable(preset("fast_aa")), painted(12)
    padded = torch.cat((boxes[:6], boxes[6:]), 1)
    valid = torch.ones(6, 2, dtype=torch.bool)
    valid[2, 1] = valid[3] = False
    padded[~valid] = torch.nan  # padding may be anything
    sample = policy.sample(6, generator=generator())
    out = policy.apply(noise(6), sample, boxes=padded, valid=valid)
    assert isinstance(out.boxes, Tensor)
    assert isinstance(out.valid, Tensor)
    assert (out.boxes[~valid] == 0).all()
    assert not out.valid[~valid].any()
    ragged = policy.apply(noise(6), sample, boxes=[row[mask] for row, mask in zip(padded, valid, strict=True)])
    assert isinstance(ragged.boxes, list)
    assert isinstance(ragged.valid, list)
    assert [len(each) for each in ragged.boxes] == [2, 2, 1, 0, 2, 2]
    for n in range(6):
        assert torch.equal(ragged.boxes[n], out.boxes[n][valid[n]])
        assert torch.equal(ragged.valid[n], out.valid[n][valid[n]])
    none = policy.apply(noise(6), sample, boxes=torch.zeros(6, 0, 4), keypoints=torch.zeros(6, 0, 2))
    assert isinstance(none.boxes, Tensor)
    assert none.boxes.shape == (6, 0, 4)
    assert none.keypoints is not None
    assert none.keypoints.shape == (6, 0, 2)
    empty = policy.apply(
        noise(0), sample[:0], boxes=[], masks=torch.zeros(0, HEIGHT, WIDTH).long(), keypoints=torch.zeros(0, 3, 2)
    )
    assert empty.boxes == []
    assert empty.masks is not None
    assert empty.masks.shape == (0, HEIGHT, WIDTH)


@pytest.mark.parametrize("as_float", [False, True])
def test_every_way_of_applying_takes_annotations(as_float: bool) -> None:
    policy = LearnablePolicy(WARPS, 2, before=(Crop(4), Flip()), after=(Cutout(8),))
    (boxes, masks), images = painted(8), noise(8)
    if as_float:
        images = images / 255
    given: dict[str, Any] = {"masks": masks, "boxes": boxes, "keypoints": boxes[..., :2]}
    out = policy(images, generator=generator(), **given)
    assert isinstance(out, Annotated)
    sample = policy.sample(8, generator=generator())
    again = policy.apply(images, sample, **given)
    assert isinstance(again, Annotated)
    plain = policy.apply(images, sample)
    assert isinstance(plain, Tensor)
    assert torch.equal(again.images, plain)
    for first, second in zip(out[:-1], again[:-1], strict=True):
        assert isinstance(first, Tensor)
        assert isinstance(second, Tensor)
        assert torch.equal(first, second)
    assert out.log_prob is not None
    assert torch.equal(out.log_prob, policy.log_prob(sample))
    decided = policy.decide()
    moved = decided.apply(images, generator=generator(), **given)
    assert isinstance(moved, Annotated)
    assert torch.equal(moved.images, decided.apply(images, generator=generator()))
    assert moved.masks is not None
    assert (moved.masks == 1).any()
    nothing = policy.apply(images, sample, masks=None)
    assert isinstance(nothing, Annotated)
    assert nothing[1:] == (None,) * 6


SHIFTS = Space("shifts", tuple(o for o in preset("pba").operations if o.name.startswith("Translate")), 11)


@pytest.mark.parametrize(
    "stage", [UniformOperations(SHIFTS, 2), *published.randaugment(1, 12).stages, *published.trivialaugment().stages],
    ids=["shifts", "randaugment", "trivialaugment"],
)  # fmt: skip
def test_masks_and_boxes_go_where_torchvision_moves_them(stage: fixed.Stage) -> None:
    """Masks of whole shifts exactly; boxes of one operation within a pixel."""
    pytest.importorskip("torchvision")
    from torchvision import tv_tensors

    policy = Policy((Flip(0.5), stage))
    (boxes, masks), near = painted(60), []
    for n in range(60):
        image = torch.zeros(1, 3, HEIGHT, WIDTH, dtype=torch.uint8)
        out = policy.apply(image, generator=generator(n), masks=masks[n : n + 1], boxes=boxes[n : n + 1],
                           options=AnnotationOptions(mask_fill=0))  # fmt: skip
        _, mask, box = policy.to_torchvision(generator(n))(
            tv_tensors.Image(image[0]),
            tv_tensors.Mask(masks[n]),
            tv_tensors.BoundingBoxes(boxes[n], format="XYXY", canvas_size=(HEIGHT, WIDTH)),
        )
        assert out.masks is not None
        assert isinstance(out.boxes, Tensor)
        if isinstance(stage, UniformOperations) and stage.space == SHIFTS:
            assert torch.equal(out.masks[0], mask.as_subclass(Tensor))
        near.append((out.boxes[0] - box.as_subclass(Tensor)).abs().max() <= 1 + 1e-3)
    # torchvision cuts boxes of one operation too, but those it loses are lines rather than zeros.
    assert sum(near) >= 55


class Wobble(AugmentationPolicy):
    """A policy of somebody else, which does not say where pixels go."""

    def sample(self, batch: int, *, generator: torch.Generator) -> PolicySample:
        return PolicySample((torch.rand(batch, 1, generator=generator),), batch)

    def log_prob(self, sample: PolicySample) -> Tensor:
        return torch.zeros(len(sample))

    def apply(self, images: Tensor, sample: PolicySample) -> Tensor:  # type: ignore[override]
        return images.roll(1, 3)

    def decide(self) -> Policy:
        return Policy()


class Roll:
    """A stage of somebody else."""

    numbers = 1

    def apply(self, images: Tensor, draw: Tensor) -> Tensor:
        return images.roll(1, 3)


def test_what_cannot_move_annotations_raises() -> None:
    images = noise(2)
    with pytest.raises(PolicyError, match="Wobble cannot take annotations along.*motions"):
        Wobble()(images, generator=generator(), masks=images[:, 0])
    with pytest.raises(PolicyError, match="Wobble cannot take annotations along"):
        Wobble().matrices(Wobble().sample(2, generator=generator()), 4, 4)
    policy = FixedPolicy([Flip(), Roll()])
    with pytest.raises(PolicyError, match="Roll object .* cannot take annotations along"):
        policy(images, generator=generator(), boxes=torch.zeros(2, 1, 4))
    with pytest.raises(PolicyError, match="cannot take annotations along"):
        Policy((Roll(),)).apply(images, generator=generator(), keypoints=torch.zeros(2, 1, 2))
    with pytest.raises(TypeError, match="mask"):
        fixed.identity()(images, generator=generator(), mask=images)


BOX = torch.tensor([[[1.0, 2.0, 5.0, 6.0]], [[1.0, 2.0, 5.0, 6.0]]])
POINT = BOX[..., :2]
MASK = torch.zeros(2, HEIGHT, WIDTH, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"masks": MASK.float()}, "masks are torch.float32; expected labels"),
        ({"masks": MASK[:1]}, r"masks have shape \(1, 40, 52\); expected \(2, 40, 52\)"),
        ({"masks": MASK[:, 1:]}, r"masks have shape \(2, 39, 52\)"),
        ({"masks": MASK[0]}, r"masks have shape \(40, 52\)"),
        ({"masks": MASK.bool()}, "mask_fill is 255, which masks of torch.bool cannot hold"),
        ({"masks": MASK.to(torch.int8)}, "which masks of torch.int8 cannot hold"),
        ({"masks": MASK, "options": AnnotationOptions(mask_fill=-1)}, "mask_fill is -1"),
        ({"masks": [[0]]}, "masks are of type list; expected a tensor"),
        ({"boxes": [[[0.0, 0.0, 1.0, 1.0]]] * 2}, "boxes of an image are of type list; expected a tensor"),
        ({"keypoints": [[0.0, 0.0]]}, "keypoints are of type list; expected a tensor"),
        ({"boxes": 4}, "boxes are of type int; expected a tensor, or a list of tensors"),
        ({"boxes": BOX, "valid": [[True]] * 2}, "valid are of type list; expected a tensor"),
        ({"keypoints": POINT, "visible": [[True]] * 2}, "visible are of type list; expected a tensor"),
        ({"masks": MASK, "options": {"mask_fill": 0}}, "options are of type dict; expected AnnotationOptions"),
        ({"boxes": BOX.int()}, "boxes are torch.int32; expected floating point"),
        ({"boxes": BOX[0]}, r"boxes have shape \(1, 4\); expected \(2, n, 4\)"),
        ({"boxes": BOX[:1]}, r"boxes have shape \(1, 1, 4\)"),
        ({"boxes": POINT}, r"boxes have shape \(2, 1, 2\)"),
        ({"boxes": BOX - 2}, r"box 0 of image 0 is \[-1.0, 0.0, 3.0, 4.0\]; expected it in the frame of 52 x 40"),
        ({"boxes": BOX + torch.tensor([[[0.0]], [[47.5]]])}, "box 0 of image 1 .* clip it"),
        ({"boxes": BOX.flip(2)}, "box 0 of image 0 .* x1 no larger than x2"),
        ({"boxes": BOX * torch.nan}, "box 0 of image 0"),
        ({"boxes": [BOX[0]]}, r"list of \[\(1, 4\)\]; expected \(n, 4\) for each of 2 images"),
        ({"boxes": [BOX[0], BOX[0, 0]]}, r"list of \[\(1, 4\), \(4,\)\]"),
        ({"boxes": [BOX[0], BOX[0] - 2]}, "box 0 of image 1"),
        ({"boxes": [BOX[0].long()] * 2}, "boxes are torch.int64"),
        ({"boxes": [BOX[0]] * 2, "valid": torch.ones(2, 1).bool()}, "valid goes with padded boxes"),
        ({"boxes": BOX, "valid": torch.ones(2, 1)}, r"valid is torch.float32 of shape \(2, 1\); expected bool"),
        ({"boxes": BOX, "valid": torch.ones(2, 2).bool()}, r"of shape \(2, 2\); expected bool of \(2, 1\)"),
        ({"valid": torch.ones(2, 1).bool()}, "valid was passed without boxes"),
        ({"keypoints": POINT[0]}, r"keypoints have shape \(1, 2\); expected \(2, n, 2\)"),
        ({"keypoints": POINT.long()}, "keypoints are torch.int64"),
        ({"keypoints": POINT + 39}, r"keypoint 0 of image 0 is \[40.0, 41.0\]"),
        ({"keypoints": POINT * torch.nan}, "keypoint 0 of image 0"),
        ({"keypoints": POINT, "visible": torch.ones(2, 1)}, "visible is torch.float32"),
        ({"visible": torch.ones(2, 1).bool()}, "visible was passed without keypoints"),
    ],
)
def test_annotations_that_do_not_fit_are_refused(given: dict[str, Any], message: str) -> None:
    policy = fixed.crop_and_flip()
    with pytest.raises(AnnotationsError, match=message):
        policy.apply(noise(2), policy.sample(2, generator=generator()), **given)


def test_places_that_do_not_count_may_be_anywhere() -> None:
    policy = fixed.identity()
    never = torch.zeros(2, 1, dtype=torch.bool)
    out = policy.apply(
        noise(2),
        policy.sample(2, generator=generator()),
        boxes=BOX * 1e9,
        valid=never,
        keypoints=POINT - 99,
        visible=never,
    )
    assert isinstance(out.valid, Tensor)
    assert not out.valid.any()
    assert out.keypoints is not None
    assert torch.equal(out.keypoints, POINT - 99)


def test_images_and_samples_are_checked_as_without_annotations() -> None:
    policy = fixed.crop_and_flip()
    sample = policy.sample(2, generator=generator())
    with pytest.raises(ImagesError, match="3 images, but the sample was drawn for 2"):
        policy.apply(noise(3), sample, boxes=BOX)
    with pytest.raises(PolicyError, match="another policy"):
        fixed.cutout().motions(sample, 4, 4)
    with pytest.raises(PolicyError, match="this policy draws 2"):
        LearnablePolicy(WARPS).motions(LearnablePolicy(COLOURS).sample(2, generator=generator()), 4, 4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask_fill": 1.5}, r"mask_fill is 1\.5"),
        ({"mask_fill": True}, "mask_fill is True"),
        ({"min_area": -1}, "min_area is -1"),
        ({"min_area": float("nan")}, "min_area is nan"),
        ({"min_visibility": 2}, "min_visibility is 2"),
    ],
)
def test_wrong_options_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        AnnotationOptions(**settings)


def test_a_label_of_numpy_is_a_label() -> None:
    numpy = pytest.importorskip("numpy")
    assert repr(AnnotationOptions(mask_fill=numpy.int64(3))) == repr(AnnotationOptions(mask_fill=3))


def test_boxes_of_half_precision_are_followed_in_double() -> None:
    policy, (boxes, _) = learnable(preset("fast_aa")), painted(20)
    sample = policy.sample(20, generator=generator())
    exact = policy.apply(noise(20), sample, boxes=boxes.double())
    half = policy.apply(noise(20), sample, boxes=boxes.half(), keypoints=boxes[..., :2].half())
    assert isinstance(exact.boxes, Tensor)
    assert isinstance(half.boxes, Tensor)
    assert half.boxes.dtype == torch.float16
    assert half.keypoints is not None
    assert half.keypoints.dtype == torch.float16
    torch.testing.assert_close(half.boxes.double(), exact.boxes, rtol=0, atol=0.05)
