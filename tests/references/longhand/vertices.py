"""The supernets of NAS-Bench-101 and NAS-Bench-1Shot1, whose vertices carry the operations."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from longhand.operations import Parameters, affine, classify, convolution, max_pool, norm

__all__ = ["nas_bench_1shot1_logits", "nas_bench_101_logits"]


def nas_bench_101_logits(p: Parameters, images: Tensor, weights: Tensor, *, cells: int) -> Tensor:
    """21 rows (no, yes), target by target, and then one row of operations for each of 5 vertices; vertex 6 is the output."""
    edges = [(source, target) for target in range(1, 7) for source in range(target)]
    return _logits(p, images, {e: weights[row, 1] for row, e in enumerate(edges)}, weights[21:], cells)


def nas_bench_1shot1_logits(
    p: Parameters, images: Tensor, weights: Tensor, *, cells: int, parents: Sequence[int]
) -> Tensor:
    """A row of operations for each block, and then a row for each vertex that does not read all before it."""
    blocks = len(parents) - 1
    edges: dict[tuple[int, int], Tensor] = {}
    row = blocks
    for vertex, count in enumerate(parents, start=1):
        chosen = count < vertex
        for source in range(vertex):
            target = 6 if vertex > blocks else vertex
            edges[source, target] = weights[row, source] if chosen else torch.ones_like(weights[0, 0])
        row += chosen
    return _logits(p, images, edges, weights[:blocks], cells)


def _logits(
    p: Parameters, images: Tensor, edges: dict[tuple[int, int], Tensor], operations: Tensor, cells: int
) -> Tensor:
    x = F.relu(affine(convolution(images, p, "body.stem.0"), p, "body.stem.1"))
    for stack in range(3):
        if stack:
            x = F.max_pool2d(x, 2, ceil_mode=True)
        for cell in range(cells):
            x = _cell(x, p, f"body.stacks.{stack}.{cell}", edges, operations)
    return classify(x, p, "body.classifier")


def _cell(x: Tensor, p: Parameters, name: str, edges: dict[tuple[int, int], Tensor], operations: Tensor) -> Tensor:
    """The output puts all vertices side by side, each times its edge, and adds the input brought to that width."""
    values: dict[int, Tensor] = {}

    def projected(target: int) -> Tensor:
        return edges[0, target] * F.relu(norm(convolution(x, p, f"{name}.projections.{target}.0")))

    for vertex, row in enumerate(operations, start=1):
        total = projected(vertex)
        for source in range(1, vertex):
            total = total + edges[source, vertex] * values[source]
        convolved = [F.relu(norm(convolution(total, p, f"{name}.convolutions.{vertex}-{o}.0"))) for o in (0, 1)]
        values[vertex] = row[0] * convolved[0] + row[1] * convolved[1] + row[2] * max_pool(total)
    return torch.cat([edges[vertex, 6] * value for vertex, value in values.items()], dim=1) + projected(6)
