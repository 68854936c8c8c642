"""The supernet of NAS-Bench-201, on all channels or on a part of them."""

import torch
from torch import Tensor
from torch.nn import functional as F

from longhand.operations import Parameters, affine, average_pool, classify, convolution, norm

__all__ = ["nas_bench_201_logits"]

# Of a cell of four nodes; one of three has the first three.
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))


def nas_bench_201_logits(p: Parameters, images: Tensor, weights: Tensor, *, cells: int, parts: int = 1) -> Tensor:
    """Three stages of cells, a residual reduction between them."""
    x = affine(convolution(images, p, "body.stem.0"), p, "body.stem.1")
    for stage in range(3):
        if stage:
            x = _reduction(x, p, f"body.reductions.{stage - 1}")
        for cell in range(cells):
            x = _cell(x, p, f"body.stages.{stage}.{cell}", weights, parts)
    return classify(F.relu(affine(x, p, "body.last.0")), p, "body.classifier")


def _reduction(x: Tensor, p: Parameters, name: str) -> Tensor:
    main = affine(convolution(F.relu(x), p, f"{name}.main.1", 2), p, f"{name}.main.2")
    main = affine(convolution(F.relu(main), p, f"{name}.main.4"), p, f"{name}.main.5")
    return main + convolution(F.avg_pool2d(x, 2, ceil_mode=True), p, f"{name}.shortcut.1")


def _cell(x: Tensor, p: Parameters, name: str, weights: Tensor, parts: int) -> Tensor:
    width = x.shape[1] // parts
    edges = EDGES[: len(weights)]
    nodes = [x]
    for target in range(1, edges[-1][1] + 1):
        total = torch.zeros_like(x)
        for row, (source, t) in enumerate(edges):
            if t == target:
                seen, rest = nodes[source][:, :width], nodes[source][:, width:]
                kernels = _kernels(p, name, edges, row, width, parts)
                outputs = (
                    torch.zeros_like(seen),
                    seen,
                    norm(F.conv2d(F.relu(seen), kernels[0])),
                    norm(F.conv2d(F.relu(seen), kernels[1], padding=1)),
                    average_pool(seen),
                )
                mixed = sum(
                    (w * output for w, output in zip(weights[row], outputs, strict=True)), torch.zeros_like(seen)
                )
                total = total + torch.cat([mixed, weights[row].sum() * rest], dim=1)
        order = [part * width + i for i in range(width) for part in range(parts)]
        nodes.append(total[:, order])
    return nodes[-1]


def _kernels(
    p: Parameters, name: str, edges: tuple[tuple[int, int], ...], row: int, width: int, parts: int
) -> tuple[Tensor, Tensor]:
    """The 1 x 1 and the 3 x 3 kernel of an edge: on all channels, slices of those of the node that it leaves."""
    if parts > 1:
        return p[f"{name}.edges.operations.{row}.2.1.weight"], p[f"{name}.edges.operations.{row}.3.1.weight"]
    source = edges[row][0]
    place = [edge for edge in edges if edge[0] == source].index(edges[row])
    piece = slice(place * width, (place + 1) * width)
    return p[f"{name}.conv_1x1.{source}.weight"][piece], p[f"{name}.conv_3x3.{source}.weight"][piece]
