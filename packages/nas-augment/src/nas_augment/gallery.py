"""Pictures: what the operations of a space do to an image, and what a policy has learned.

`grid` gives a tensor and needs nothing. The figures with words need matplotlib (extra ``draw``); save them with
``figure.savefig("operations.png")``.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_augment.applying import transform
from nas_augment.errors import ImagesError, MissingExtraError
from nas_augment.marginals import marginals
from nas_augment.operations import Operation, Space
from nas_augment.policy import check_images
from nas_augment.sample import OperationDraw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nas_augment.learnable import LearnablePolicy

__all__ = ["draw_operations", "draw_policy", "grid"]

_MOST_COLUMNS = 31
"""Of levels: all of the published spaces, and not all 1001 of a continuous one."""


def grid(space: Space, images: Tensor, *, gap: int = 2) -> Tensor:
    """Every operation at every level, as one picture.

    One row for each operation and image: the image as it is, then each level from the first to the last, without the
    random sign and with Cutout in the middle. Operations without levels have one column. Of more than 31 levels, 31 are
    shown, evenly spaced from the first to the last.

    Args:
        space: the operations.
        images: ``(batch, channels, height, width)`` uint8, or float in [0, 1].
        gap: white pixels between two tiles.

    Returns:
        ``(channels, rows, columns)`` in the dtype of the images, with ``batch x operations`` rows of tiles and
        ``1 + min(levels, 31)`` columns.

    Raises:
        ImagesError: the images are not images, or there are none.
    """
    tiles, shown = _tiles(space, images, _shown_levels(space))
    white = 255 if images.dtype == torch.uint8 else 1.0
    tiles = tiles.masked_fill(~shown[..., None, None, None], white)
    tiles = F.pad(tiles, (0, gap, 0, gap), value=white)
    rows, columns, channels, height, width = tiles.shape
    picture = tiles.permute(2, 0, 3, 1, 4).reshape(channels, rows * height, columns * width)
    return picture[:, : rows * height - gap, : columns * width - gap]


def _shown_levels(space: Space) -> Tensor:
    steps = min(space.levels, _MOST_COLUMNS)
    return torch.linspace(0, space.levels - 1, steps, dtype=torch.float64).round().long()


def _tiles(space: Space, images: Tensor, each_level: Tensor) -> tuple[Tensor, Tensor]:
    """Tiles ``(operations x batch, 1 + levels, channels, height, width)``, and which of them say anything."""
    check_images(images)
    if not len(images):
        raise ImagesError("there are no images to show; expected one or more.")
    operations, batch, levels = len(space.operations), len(images), len(each_level)
    op = torch.arange(operations).repeat_interleave(batch * levels)
    draw = OperationDraw(
        space, op[:, None], torch.ones(len(op), 1, dtype=torch.bool), each_level.repeat(operations * batch)[:, None],
        torch.ones(len(op), 1, dtype=torch.int8), torch.full((len(op), 1, 2), 0.5),
    )  # fmt: skip
    each = images.repeat(operations, 1, 1, 1)
    done = transform(each.repeat_interleave(levels, 0), draw, backend="auto", path="exact")
    tiles = torch.cat((each[:, None], done.view(operations * batch, levels, *images.shape[1:])), 1)
    void = ~space.has_value().repeat_interleave(batch)
    shown = ~(void[:, None] & (torch.arange(1 + levels) > 1))
    return tiles, shown.to(images.device)


def draw_operations(space: Space, image: Tensor) -> "Figure":
    """`grid` of one image ``(channels, height, width)``, with the name of each operation and the value of each level.

    As there, of more than 31 levels 31 are shown.

    Raises:
        ImagesError: it is not an image.
        MissingExtraError: matplotlib is missing.
    """
    if image.ndim != 3:
        raise ImagesError(f"the image has shape {tuple(image.shape)}; expected (channels, height, width).")
    levels = _shown_levels(space)
    tiles, shown = _tiles(space, image[None].cpu(), levels)
    rows, columns, _, high, wide = tiles.shape
    # In inches: a tile, with a line for its value above it; names on the left and a title on top.
    width, line, lead, title = 0.78, 0.15, 1.1, 0.35
    height = width * high / wide
    size = (lead + columns * width * 1.06, title + rows * (height + line))
    figure = _figure(*size)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    for row, operation in enumerate(space.operations):
        top = title + row * (height + line) + line
        axes.text(lead - 0.1, top + height / 2, operation.name, ha="right", va="center", fontsize=9)
        for column in range(columns):
            left = lead + column * width * 1.06
            if shown[row, column]:
                label = "image" if column == 0 else _value(space, row, int(levels[column - 1]))
                axes.text(left + width / 2, top - 0.02, label, ha="center", va="bottom", fontsize=6.5)
                extent = (left, left + width, top + height, top)
                axes.imshow(_pixels(tiles[row, column]), extent=extent, vmin=0, vmax=255, cmap="gray")
    signs = "; the random sign is left out" if any(each.signed for each in space.operations) else ""
    axes.text(0.1, 0.15, f"{space.name}: each operation at the value of each level{signs}", va="center", fontsize=9)
    # Last: every picture resets the limits.
    axes.set(xlim=(0, size[0]), ylim=(size[1], 0), aspect="auto")
    return figure


def _pixels(image: Tensor) -> Any:
    shown = image if image.dtype == torch.uint8 else (image.float() * 255).round().to(torch.uint8)
    return shown.permute(1, 2, 0).squeeze(-1).tolist()


def _value(space: Space, row: int, level: int) -> str:
    operation: Operation = space.operations[row]
    if not operation.has_value:
        return "applied"
    index = torch.tensor([[row]])
    value = float(space.value(index, torch.full_like(index, level), torch.ones_like(index)))
    unit = {"degrees": "°", "fraction": " side", "pixels": " px", "bits": " bits"}.get(operation.unit, "")
    return f"{value:.3g}{unit}"


def draw_policy(policy: "LearnablePolicy") -> "Figure":
    """What a policy has learned, as heat maps of its `marginals`.

    For each slot: how often each operation is chosen; how often it is applied when it is chosen; and at which level.
    Grey is what has no level, or is never chosen there. Of more than 31 levels, neighbours share a column. On the left,
    for two slots or more, how often the operations of the first two come together.

    Raises:
        MissingExtraError: matplotlib is missing.
    """
    found = marginals(policy)
    first, strength = _columns(found.levels)
    names = [operation.name for operation in policy.space.operations]
    has_value = policy.space.has_value()
    cell, lead, levels = 0.27, 1.05, len(first)
    square = lead + len(names) * cell + 0.4 if found.together is not None else 0.0
    slot_width = lead + (2.5 + levels) * cell + 0.4
    figure = _figure(square + policy.count * slot_width, len(names) * cell + (1.3 if square else 0.9))
    width, height = figure.get_figwidth(), figure.get_figheight()

    def heat(left: float, values: Tensor, most: float, columns: list[str], rows: list[str], colours: str) -> None:
        size = (values.shape[1] * cell / width, values.shape[0] * cell / height)
        _heat(figure.add_axes((left / width, 0.1 / height, *size)), values, most, columns, rows, colours)

    def title(left: float, text: str) -> None:
        figure.text(left / width, 1 - 0.15 / height, text, fontsize=8, va="center")

    if found.together is not None:
        most = float(found.together.max())
        title(0.1, f"slot 1 (rows) with slot 2 (columns): white 0, dark {_short(most)}")
        heat(lead, found.together, most, names, names, "Blues")
    for slot in range(policy.count):
        left = square + slot * slot_width + lead
        chosen, never = found.chosen[slot, :, None], found.chosen[slot, :, None] == 0
        shown = strength[slot].masked_fill(~has_value[:, None] | never, torch.nan)
        # Uniform levels are not to look like certain ones.
        most = max(float(shown.nan_to_num().max()), 3 / levels)
        title(left - lead + 0.1, f"slot {slot + 1}: chosen; applied, if chosen; at which level: dark {_short(most)}")
        heat(left, chosen, float(chosen.max()), ["chosen"], names, "Blues")
        applied = found.applied[slot, :, None].masked_fill(never, torch.nan)
        heat(left + 1.25 * cell, applied, 1.0, ["applied"], [], "Greens")
        heat(left + 2.5 * cell, shown, most, [str(level) for level in first], [], "Oranges")
    return figure


def _columns(levels: Tensor) -> tuple[list[int], Tensor]:
    """The first level of each column, 31 or fewer, and the probability of a column ``(..., columns)``."""
    width = -(-levels.shape[-1] // _MOST_COLUMNS)
    return list(range(0, levels.shape[-1], width)), torch.stack([each.sum(-1) for each in levels.split(width, -1)], -1)


def _heat(axes: "Axes", values: Tensor, most: float, columns: list[str], rows: list[str], colours: str) -> None:
    """One heat map; a single column has its numbers written in, and what is not a number is grey."""
    axes.set_facecolor("0.9")
    axes.pcolormesh(values.tolist(), cmap=colours, vmin=0.0, vmax=most, edgecolors="white", linewidth=0.5)
    axes.invert_yaxis()
    axes.tick_params(length=0, labelsize=7, labeltop=True, labelbottom=False, pad=2)
    axes.set_xticks([each + 0.5 for each in range(len(columns))], columns, rotation=90 if len(max(columns)) > 2 else 0)
    axes.set_yticks([each + 0.5 for each in range(len(rows))], rows)
    for side in axes.spines.values():
        side.set_visible(False)
    if len(columns) == 1:
        for row, number in enumerate(values[:, 0].tolist()):
            if number != number:
                continue
            dark = number > 0.6 * most
            axes.text(
                0.5, row + 0.5, _short(number), ha="center", va="center", fontsize=5.5, color="w" if dark else "k"
            )


def _short(number: float | Tensor) -> str:
    return f"{float(number):.2g}".replace("0.", ".", 1)


def _figure(width: float, height: float) -> "Figure":
    """A figure of its own, free of the state of pyplot."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("pictures with words", "matplotlib", "draw") from error
    figure = Figure(figsize=(width, height), dpi=150)
    FigureCanvasAgg(figure)
    return figure
