"""An augmentation policy as a heat map, and what it does to images."""

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from nas_augment import Policy
from nas_augment.stages import SubPolicies

__all__ = ["example_images", "heat_map"]

_DRAWS = 3
_LARGEST = 96
_SMALL = 40


def heat_map(record: Mapping[str, Any]) -> str:
    """Every stage of weighted sub-policies as a table of ``operation x place``, in HTML; empty without any.

    A number is the share of images, in per cent, to which the operation is applied at that place of the sub-policy that was
    drawn; the background is the darker the larger it is.

    Args:
        record: the policy as in ``result.json``.
    """
    stages = Policy.from_json(json.dumps(record)).stages
    return "".join(_table(stage) for stage in stages if isinstance(stage, SubPolicies))


def _table(stage: SubPolicies) -> str:
    shares: dict[str, list[float]] = {}
    total = sum(entry.weight for entry in stage.entries)
    for entry in stage.entries:
        for place, step in enumerate(entry.steps):
            row = shares.setdefault(step.name, [0.0] * stage.count)
            row[place] += 100 * entry.weight / total * step.probability
    largest = max(max(max(row) for row in shares.values()), 1e-9) if shares else 1.0
    places = ("first", "second", "third")
    names = [places[place] if place < len(places) else f"{place + 1}th" for place in range(stage.count)]
    head = "<tr><th>operation</th>" + "".join(f"<th>{name}</th>" for name in names) + "</tr>"
    rows = ""
    for name, values in sorted(shares.items(), key=lambda item: -sum(item[1])):
        cells = "".join(f'<td style="--part:{0.6 * value / largest:.2f}">{value:.1f}</td>' for value in values)
        rows += f"<tr><th>{escape(name)}</th>{cells}</tr>"
    caption = "Share of the images to which an operation is applied, by its place (%)"
    return f'<figure><figcaption>{caption}</figcaption><table class="heat" aria-label="{caption}">{head}{rows}</table></figure>'


def example_images(record: Mapping[str, Any], images: Tensor) -> str:
    """Each image as it is, and as three draws of the policy make it; in HTML, with the pixels inside.

    Args:
        record: the policy as in ``result.json``.
        images: ``(batch, 1 or 3, height, width)`` uint8.
    """
    policy = Policy.from_json(json.dumps(record))
    generator = torch.Generator().manual_seed(0)
    draws = [policy.apply(images, generator=generator) for _ in range(_DRAWS)]
    head = "<tr><th>before</th>" + "".join(f"<th>draw {draw + 1}</th>" for draw in range(_DRAWS)) + "</tr>"
    rows = "".join(
        f"<tr><td>{_image(images[index], f'image {index + 1} before')}</td>"
        + "".join(f"<td>{_image(each[index], f'image {index + 1}, draw {n}')}</td>" for n, each in enumerate(draws, 1))
        + "</tr>"
        for index in range(len(images))
    )
    caption = "<figcaption>Images before and after augmentation</figcaption>"
    return f'<figure>{caption}<table class="images">{head}{rows}</table></figure>'


def _image(pixels: Tensor, name: str) -> str:
    sides: Sequence[int] = pixels.shape[-2:]
    if max(sides) > _LARGEST:
        size = [max(1, round(side * _LARGEST / max(sides))) for side in sides]
        pixels = F.interpolate(pixels[None].float(), size=size, mode="area")[0].round().to(torch.uint8)
    # Every pixel of a small image is seen; of a large one it would be 20 kB, and a page has sixteen for every run.
    kind = "jpeg" if max(sides) > _SMALL else "png"
    buffer = BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).squeeze(-1).numpy()).save(buffer, kind, quality=80)
    text = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{name}" src="data:image/{kind};base64,{text}">'
