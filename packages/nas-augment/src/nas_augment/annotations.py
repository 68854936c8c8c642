"""Masks, boxes and key points that go along with images: what is accepted, and how a policy moves them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import torch
from torch import Tensor

from nas_augment import geometry
from nas_augment.errors import AnnotationsError, PolicyError
from nas_augment.geometry import Motion

if TYPE_CHECKING:
    from nas_augment.applying import Path
    from nas_augment.relaxation import Relaxation

__all__ = ["Annotated", "AnnotationArguments", "AnnotationOptions", "ApplyArguments", "check_names", "divide", "move"]

Boxes = Tensor | Sequence[Tensor]

_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool)


@dataclass(frozen=True)
class AnnotationOptions:
    """What is made of annotations that are lost in part.

    Args:
        mask_fill: the label of pixels that come from outside the frame; 255 is what losses of segmentation ignore.
        cover: whether Cutout hides annotations too: labels under it become `mask_fill`, key points under it invisible.
            Boxes stay as they are.
        min_area: boxes of fewer square pixels are not valid; those of area 0 never are.
        min_visibility: boxes of which a smaller share is left in the frame are not valid.

    Raises:
        PolicyError: a number is out of range.
    """

    mask_fill: int = 255
    cover: bool = False
    min_area: float = 0.0
    min_visibility: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.mask_fill, bool) or not isinstance(self.mask_fill, Integral):
            raise PolicyError(f"mask_fill is {self.mask_fill!r}; expected a whole number, a label of the masks.")
        object.__setattr__(self, "mask_fill", int(self.mask_fill))
        if not 0 <= self.min_area < float("inf"):
            raise PolicyError(f"min_area is {self.min_area}; expected a finite number of square pixels, 0 or more.")
        if not 0 <= self.min_visibility <= 1:
            raise PolicyError(f"min_visibility is {self.min_visibility}; expected a share, 0 to 1.")


class AnnotationArguments(TypedDict, total=False):
    """What a policy takes along with images; none is modified.

    Places are in pixels from the top left corner, as (x, y): the frame is 0 to width and 0 to height, and the middle of
    the first pixel is (0.5, 0.5). Add 0.5 to key points that are counted in pixels.

    Attributes:
        masks: label maps, ``(batch, height, width)`` or ``(batch, channels, height, width)`` whole numbers or bool. They
            move by the same whole numbers as the pixels, nearest neighbour; what changes colours leaves them alone.
        boxes: ``(batch, n, 4)`` floats as (left, top, right, bottom), or one ``(n_i, 4)`` for each image. The rectangle
            is followed as a polygon that is cut to the frame after every step, and its bounding box is returned: unlike
            a box of boxes, it does not grow with every rotation.
        valid: which of the padded boxes are some, ``(batch, n)`` bool; all, if None.
        keypoints: ``(batch, n, 2)`` floats.
        visible: which of them are in the image, ``(batch, n)`` bool; all, if None. One that leaves the frame, if only
            in one step, stays invisible.
        options: see `AnnotationOptions`.
    """

    masks: Tensor | None
    boxes: Boxes | None
    valid: Tensor | None
    keypoints: Tensor | None
    visible: Tensor | None
    options: AnnotationOptions


class ApplyArguments(AnnotationArguments, total=False):
    """These, and how the images are computed: what the policies of this package accept in `apply`."""

    path: "Path"
    relaxation: "Relaxation | None"


_NAMES = frozenset(AnnotationArguments.__annotations__)


def divide(arguments: ApplyArguments) -> tuple[AnnotationArguments, dict[str, Any]]:
    """What goes along with the images, and all else."""
    annotations: Any = {name: each for name, each in arguments.items() if name in _NAMES}
    return annotations, {name: each for name, each in arguments.items() if name not in _NAMES}


def check_names(names: Iterable[str], others: str) -> None:
    """Refuse arguments that are no annotations; `others` says what else would have been accepted.

    Raises:
        TypeError: there are some.
    """
    unknown = sorted(set(names) - _NAMES)
    if unknown:
        raise TypeError(
            f"unknown arguments: {', '.join(unknown)}; expected {others}, or what goes along with the images: "
            f"{', '.join(AnnotationArguments.__annotations__)}."
        )


class Annotated(NamedTuple):
    """A batch after augmentation, with what was passed along; None for what was not.

    Attributes:
        images: ``(batch, channels, height, width)``, in the dtype of the input.
        masks: as they were passed.
        boxes: as they were passed; zeros where they are not valid.
        valid: which boxes are left, ``(batch, n)`` bool, or ``(n_i,)`` for each image.
        keypoints: ``(batch, n, 2)``; also of those that are not visible.
        visible: ``(batch, n)`` bool.
        log_prob: of each image's draw, ``(batch,)``, where the policy drew too.
    """

    images: Tensor
    masks: Tensor | None = None
    boxes: Tensor | list[Tensor] | None = None
    valid: Tensor | list[Tensor] | None = None
    keypoints: Tensor | None = None
    visible: Tensor | None = None
    log_prob: Tensor | None = None


def move(
    images: Tensor,
    motions: Sequence[Motion],
    *,
    masks: Tensor | None = None,
    boxes: Boxes | None = None,
    valid: Tensor | None = None,
    keypoints: Tensor | None = None,
    visible: Tensor | None = None,
    options: AnnotationOptions = AnnotationOptions(),
) -> Annotated:
    """Put annotations that went through `motions` beside the images that did; see `AnnotationArguments`.

    Finding out whether boxes and key points are in the frame reads them once and, on a GPU, waits for them.

    Raises:
        AnnotationsError: an annotation does not fit the images: its shape, its dtype, or places outside the frame.
    """
    batch, _, height, width = images.shape
    if not isinstance(options, AnnotationOptions):
        raise AnnotationsError(f"options are of type {type(options).__name__}; expected AnnotationOptions(...).")
    if masks is not None:
        _check_masks(masks, batch, height, width, options.mask_fill)
        masks = _move_masks(masks, motions, options)
    left: Tensor | list[Tensor] | None = None
    moved: Tensor | list[Tensor] | None = None
    if isinstance(boxes, Tensor):
        valid = _check_rows("boxes", boxes, 4, "valid", valid, batch)
        moved, left = _move_boxes(boxes, valid, motions, height, width, options)
    elif boxes is not None:
        if not isinstance(boxes, Sequence):
            raise AnnotationsError(
                f"boxes are of type {type(boxes).__name__}; expected a tensor, or a list of tensors."
            )
        if valid is not None:
            raise AnnotationsError("valid goes with padded boxes (batch, n, 4); a list has as many as there are.")
        moved, left = _move_list(list(boxes), motions, batch, height, width, options)
    elif valid is not None:
        raise AnnotationsError("valid was passed without boxes.")
    if keypoints is not None:
        visible = _check_rows("keypoints", keypoints, 2, "visible", visible, batch)
        keypoints, visible = _move_keypoints(keypoints, visible, motions, height, width, options)
    elif visible is not None:
        raise AnnotationsError("visible was passed without keypoints.")
    return Annotated(images, masks, moved, left, keypoints, visible)


def _check_masks(masks: Tensor, batch: int, height: int, width: int, fill: int) -> None:
    _check_tensor("masks", masks)
    if masks.dtype not in _WHOLE:
        raise AnnotationsError(f"masks are {masks.dtype}; expected labels: whole numbers or bool.")
    if masks.ndim not in (3, 4) or len(masks) != batch or masks.shape[-2:] != (height, width):
        raise AnnotationsError(
            f"masks have shape {tuple(masks.shape)}; expected {(batch, height, width)} as the images have, or channels "
            "after the batch."
        )
    low, high = (0, 1) if masks.dtype == torch.bool else (torch.iinfo(masks.dtype).min, torch.iinfo(masks.dtype).max)
    if not low <= fill <= high:
        raise AnnotationsError(
            f"mask_fill is {fill}, which masks of {masks.dtype} cannot hold; "
            "pass options=AnnotationOptions(mask_fill=...), or masks of another dtype."
        )


def _check_tensor(name: str, given: object) -> None:
    if not isinstance(given, Tensor):
        raise AnnotationsError(f"{name} are of type {type(given).__name__}; expected a tensor.")


def _check_rows(name: str, rows: Tensor, numbers: int, flag: str, flags: Tensor | None, batch: int) -> Tensor:
    """Check the shapes of `rows` and of what says which count; returns the latter."""
    _check_tensor(name, rows)
    if not rows.is_floating_point():
        raise AnnotationsError(f"{name} are {rows.dtype}; expected floating point: places between pixels matter.")
    if rows.ndim != 3 or len(rows) != batch or rows.shape[2] != numbers:
        raise AnnotationsError(f"{name} have shape {tuple(rows.shape)}; expected ({batch}, n, {numbers}).")
    if flags is None:
        return torch.ones(rows.shape[:2], dtype=torch.bool, device=rows.device)
    _check_tensor(flag, flags)
    if flags.dtype != torch.bool or flags.shape != rows.shape[:2]:
        raise AnnotationsError(
            f"{flag} is {flags.dtype} of shape {tuple(flags.shape)}; expected bool of {tuple(rows.shape[:2])}."
        )
    return flags.to(rows.device)


def _refuse(bad: Tensor, rows: Tensor, what: str, height: int, width: int) -> None:
    if bad.any():
        image, number = bad.nonzero()[0].tolist()
        order = ", x1 no larger than x2 and y1 no larger than y2" if rows.shape[2] == 4 else ""
        raise AnnotationsError(
            f"{what} {number} of image {image} is {rows[image, number].tolist()}; expected it in the frame of {width} x "
            f"{height} pixels{order}: clip it, or say that it does not count."
        )


def _move_masks(masks: Tensor, motions: Sequence[Motion], options: AnnotationOptions) -> Tensor:
    labels = masks[:, None] if masks.ndim == 3 else masks
    moved = labels.clone()
    for motion in motions:
        moved = geometry.move_labels(moved, motion, options.mask_fill, cover=options.cover)
    return moved.view(masks.shape)


def _move_boxes(
    boxes: Tensor, valid: Tensor, motions: Sequence[Motion], height: int, width: int, options: AnnotationOptions
) -> tuple[Tensor, Tensor]:
    """Boxes ``(batch, n, 4)`` and which are left ``(batch, n)``."""
    places = boxes.double()
    x0, y0, x1, y1 = places.unbind(-1)
    ordered = (x0 >= 0) & (x0 <= x1) & (x1 <= width) & (y0 >= 0) & (y0 <= y1) & (y1 <= height)
    _refuse(valid & ~ordered, boxes, "box", height, width)
    places = torch.where(valid[..., None], places, 0.0)
    polygons = places[..., [0, 1, 2, 1, 2, 3, 0, 3]].unflatten(-1, (4, 2))
    whole = geometry.area(polygons)
    for motion in motions:
        polygons = geometry.clip(geometry.move_points(polygons, motion), height, width)
        whole = whole * torch.linalg.det(motion.forward[:, :2, :2]).abs().to(whole)[:, None]
    bounds = geometry.bounds(polygons).clamp(min=0).minimum(places.new_tensor([width, height, width, height]))
    part = geometry.area(polygons)
    # One part in a million: visibility 1 is not to depend on rounding.
    seen = part >= (options.min_visibility - 1e-6) * whole
    size = (bounds[..., 2:] - bounds[..., :2]).prod(-1)
    left = valid & (part > 0) & (size >= options.min_area) & seen
    return torch.where(left[..., None], bounds, 0.0).to(boxes.dtype), left


def _move_list(
    boxes: list[Tensor], motions: Sequence[Motion], batch: int, height: int, width: int, options: AnnotationOptions
) -> tuple[list[Tensor], list[Tensor]]:
    """As `_move_boxes`, for a list of ``(n_i, 4)``."""
    for each in boxes:
        _check_tensor("boxes of an image", each)
    shapes = [tuple(each.shape) for each in boxes]
    if len(boxes) != batch or any(len(shape) != 2 or shape[1] != 4 for shape in shapes):
        raise AnnotationsError(f"boxes are a list of {shapes}; expected (n, 4) for each of {batch} images.")
    if not boxes:
        return [], []
    counts = [len(each) for each in boxes]
    padded = torch.nn.utils.rnn.pad_sequence(boxes, batch_first=True)
    valid = torch.arange(max(counts), device=padded.device) < torch.tensor(counts, device=padded.device)[:, None]
    valid = _check_rows("boxes", padded, 4, "valid", valid, batch)
    moved, left = _move_boxes(padded, valid, motions, height, width, options)
    return [each[:n] for each, n in zip(moved, counts, strict=True)], [
        each[:n] for each, n in zip(left, counts, strict=True)
    ]


def _move_keypoints(
    keypoints: Tensor, visible: Tensor, motions: Sequence[Motion], height: int, width: int, options: AnnotationOptions
) -> tuple[Tensor, Tensor]:
    """Key points ``(batch, n, 2)`` and which are visible ``(batch, n)``."""
    points, frame = keypoints.double(), torch.tensor([width, height], device=keypoints.device)

    def inside() -> Tensor:
        return ((points >= 0) & (points <= frame)).all(-1)

    _refuse(visible & ~inside(), keypoints, "keypoint", height, width)
    for motion in motions:
        points = geometry.move_points(points, motion)
        visible = visible & inside()
        if options.cover:
            visible = visible & ~geometry.is_covered(points, motion)
    return points.to(keypoints.dtype), visible
