from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_spaces import InputError, darts, nas_bench_201
from nas_spaces.cell_space import CellSpace
from nas_spaces.cells import CellShape, MixedCell
from nas_spaces.darts import CHAINED, EVERY_STATE, OPERATIONS, make_operation
from nas_spaces.nas_bench_201 import NasBench201
from nas_spaces.operations import forget_statistics
from nas_spaces.partial_cells import PartialMixedCell
from nas_spaces.partial_channels import PartialEdges, part_width, shuffle
from nas_spaces.supernet import Supernet
from nas_spaces.testing import check_supernet


def images(size: int = 8) -> Tensor:
    return torch.randn(4, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class Quarters201(NasBench201):
    """NAS-Bench-201 whose supernet has partial channels, to be given to the conformance check."""

    def supernet(self, **sizes: Any) -> Supernet:
        return super().supernet(**sizes, parts=4)


class HalvesDarts(CellSpace):
    def supernet(self, **sizes: Any) -> Supernet:
        return super().supernet(**sizes, parts=2)


@pytest.mark.parametrize(
    ("space", "channels", "cells"),
    [
        (Quarters201(), 4, 1),
        (HalvesDarts("darts", CellShape(OPERATIONS, EVERY_STATE), make_operation), 4, 3),
        (HalvesDarts("darts_inputs", CellShape(OPERATIONS, CHAINED), make_operation, inputs=True), 4, 3),
    ],
    ids=["nas_bench_201", "darts", "inputs"],
)
def test_supernets_of_partial_channels_conform(space: Any, channels: int, cells: int) -> None:
    check_supernet(space, images(), channels=channels, cells=cells)


def test_sizes_that_are_odd_are_rounded_up() -> None:
    supernet = darts().supernet(channels=4, cells=3, parts=2).double()
    logits = supernet(images(7), torch.rand(darts().choices.shape, dtype=torch.float64))
    assert logits.shape == (4, 10)


def test_shuffle_interleaves_the_groups() -> None:
    features = torch.arange(6.0).view(1, 6, 1, 1)
    assert shuffle(features, 3).flatten().tolist() == [0, 2, 4, 1, 3, 5]
    assert shuffle(features, 1).flatten().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("stride", [1, 2])
def test_a_node_meets_the_equation(stride: int) -> None:
    """``shuffle(sum over edges of [sum_o w_o o(x_part), (sum_o w_o) pool(x_rest)])``, for weights that are edge times softmax."""
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(2, 2, 3, stride, padding=1).double() for _ in range(4)]
    edges = PartialEdges(
        [(0, 5), (1, 5), (0, 6)],
        [[None, convolutions[0], convolutions[1]], [convolutions[2], None, convolutions[3]], [None] * 3],
        [stride] * 3,
        4,
    )
    states = [torch.randn(2, 8, 6, 6).double() for _ in range(2)]
    edge, options = torch.tensor([0.3, 0.7, 1.0]).double(), torch.randn(3, 3).double().softmax(dim=1)
    node = edges(states, 5, edge[:, None] * options, None)
    mixed, rest = torch.zeros(()).double(), torch.zeros(()).double()
    for row, (first, second) in enumerate((((1, 0), (2, 1)), ((0, 2), (2, 3)))):
        part = states[row][:, :2]
        for option, module in (first, second):
            mixed = mixed + edge[row] * options[row, option] * convolutions[module](part)
        passing = states[row][:, 2:]
        rest = rest + edge[row] * (passing if stride == 1 else F.max_pool2d(passing, 2))
    torch.testing.assert_close(node, shuffle(torch.cat([mixed, rest], dim=1), 4))
    drawn = edges(states, 5, edge[:, None] * options, [[1], [], []])
    mixed = edge[0] * options[0, 1] * convolutions[0](states[0][:, :2])
    passing = states[0][:, 2:] if stride == 1 else F.max_pool2d(states[0][:, 2:], 2)
    torch.testing.assert_close(drawn, shuffle(torch.cat([mixed, edge[0] * options[0, 1] * passing], dim=1), 4))
    assert not edges(states, 5, options, [[], [], []]).any()


@pytest.mark.parametrize("reduction", [False, True])
def test_one_part_is_the_ordinary_mixed_cell(reduction: bool) -> None:
    shape = CellShape(OPERATIONS, EVERY_STATE)
    torch.manual_seed(0)
    whole = MixedCell(shape, make_operation, (3, 5), 4, reduction, False).double()
    partial = PartialMixedCell(shape, make_operation, (3, 5), 4, reduction, False, 1).double()
    forget_statistics(whole)
    forget_statistics(partial)
    with torch.no_grad():
        for mine, theirs in zip(partial.parameters(), whole.parameters(), strict=True):
            mine.copy_(theirs)
    before, last = torch.randn(4, 3, 8, 8).double(), torch.randn(4, 5, 8, 8).double()
    weights = torch.randn(14, 8).double().softmax(dim=1)
    torch.testing.assert_close(partial(before, last, weights, None), whole(before, last, weights, None))


def test_a_part_has_fewer_weights() -> None:
    def size(**settings: Any) -> int:
        body: Any = nas_bench_201().supernet(channels=16, cells=5, **settings)
        return sum(parameter.numel() for parameter in body.body.stages.parameters())

    assert size(parts=4) * 16 == size()


def test_channels_that_cannot_be_divided_are_refused() -> None:
    assert part_width(12, 4) == 3
    for make in (
        lambda: part_width(6, 4),
        lambda: nas_bench_201().supernet(channels=6, parts=4),
    ):
        with pytest.raises(InputError, match="6 channels cannot be divided into 4 equal parts"):
            make()
    with pytest.raises(InputError, match=r"one of 4 parts of 4 channels is too narrow .* give 8 or more"):
        darts().supernet(channels=2, cells=1, parts=4)
