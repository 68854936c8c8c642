"""Networks of NAS-Bench-101: widths and parameters by hand, and the values by a longhand evaluation."""

import pytest
import torch
from torch.nn import functional as F

from nas_spaces import InputError, nas_bench_101
from nas_spaces.nas_bench_101_cells import OUTPUT, DagCell
from nas_spaces.vertex_network import VertexCell, vertex_channels

SPACE = nas_bench_101()


@pytest.mark.parametrize(
    ("edges", "vertices", "channels", "expected"),
    [
        ([(0, OUTPUT)], 0, 5, {}),
        ([(0, 1), (1, 2), (2, OUTPUT)], 2, 8, {1: 8, 2: 8}),
        ([(0, 1), (0, 2), (1, OUTPUT), (2, OUTPUT)], 2, 15, {1: 8, 2: 7}),
        ([(0, 1), (0, 2), (0, 3), (1, OUTPUT), (2, OUTPUT), (3, OUTPUT)], 3, 8, {1: 3, 2: 3, 3: 2}),
        ([(0, 1), (1, 2), (1, 3), (2, OUTPUT), (3, OUTPUT)], 3, 9, {1: 5, 2: 5, 3: 4}),
        # The input of the cell takes no share of the output.
        ([(0, 1), (0, OUTPUT), (1, OUTPUT)], 1, 8, {1: 8}),
    ],
)
def test_widths(edges: list[tuple[int, int]], vertices: int, channels: int, expected: dict[int, int]) -> None:
    assert vertex_channels(DagCell(tuple(edges), (0,) * vertices), channels) == expected


def test_more_vertices_than_channels() -> None:
    a = SPACE.parse("conv3x3-bn-relu~0+maxpool3x3~0+output~1~2")
    with pytest.raises(InputError, match="1 channels were asked for; the output of this cell joins 2 vertices"):
        SPACE.network(a, channels=1)


def normalised(x: torch.Tensor) -> torch.Tensor:
    mean, variance = x.mean(dim=(0, 2, 3), keepdim=True), x.var(dim=(0, 2, 3), keepdim=True, unbiased=False)
    return (x - mean) / (variance + 1e-5).sqrt()


def test_a_cell_by_hand() -> None:
    """Vertex 1 (width 3) is read by the output and by vertex 2 (width 2), which leaves out its last channel."""
    a = SPACE.parse("conv3x3-bn-relu~0+maxpool3x3~0~1+output~0~1~2")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        cell = VertexCell(SPACE.cell(a), 4, 5).double()
        x = torch.randn(3, 4, 6, 5, dtype=torch.float64)
    assert cell.widths == {1: 3, 2: 2}
    state = cell.state_dict()
    projected = {t: normalised(F.conv2d(x, state[f"projections.{t}.0.weight"])).relu() for t in (1, 2, OUTPUT)}
    one = normalised(F.conv2d(projected[1], state["convolutions.1.0.weight"], padding=1)).relu()
    two = F.max_pool2d(projected[2] + one[:, :2], 3, 1, 1)
    torch.testing.assert_close(cell(x), torch.cat([one, two], dim=1) + projected[OUTPUT])


def test_parameters_by_hand() -> None:
    """Stem, per cell a projection and a 3 x 3 convolution with their normalisations, classifier."""
    a = SPACE.parse("conv3x3-bn-relu~0+output~1")
    total, inputs = 3 * 9 * 8 + 2 * 8, 8
    for width in (8, 8, 16, 16, 32, 32):
        total += inputs * width + 2 * width + 9 * width * width + 2 * width
        inputs = width
    assert SPACE.count(a, channels=8, cells=2).parameters == total + 32 * 10 + 10


def test_parameters_as_published() -> None:
    """The Inception-like cell of the benchmark's own introduction: numbering and trainable parameters."""
    matrix = [[0, 1, 1, 1, 0, 1, 0], *[[0] * 6 + [1]] * 2, [0, 0, 0, 0, 1, 0, 0], *[[0] * 6 + [1]] * 2, [0] * 7]
    conv = "conv3x3-bn-relu"
    a = SPACE.build(matrix, ["input", "conv1x1-bn-relu", conv, conv, conv, "maxpool3x3", "output"])
    assert SPACE.count(a).parameters == 2_694_282
    published = [[0, 1, 1, 1, 1, 0, 0], *[[0] * 6 + [1]] * 3, [0, 0, 0, 0, 0, 1, 0], [0] * 6 + [1], [0] * 7]
    assert SPACE.matrix(a) == (published, ["input", conv, "conv1x1-bn-relu", "maxpool3x3", conv, conv, "output"])


@pytest.mark.parametrize(
    "text", ["output~0", "maxpool3x3~0+output~1", "conv3x3-bn-relu~0+conv1x1-bn-relu~0+output~1~2"]
)
@pytest.mark.parametrize("size", [(4, 4), (7, 9)])
def test_images_of_any_size(text: str, size: tuple[int, int]) -> None:
    network = SPACE.network(SPACE.parse(text), classes=2, channels=3, cells=1, in_channels=1)
    shapes: list[tuple[int, ...]] = []
    network.get_submodule("stacks.2.0").register_forward_hook(
        lambda _module, _inputs, output: shapes.append(tuple(output.shape))
    )
    assert network(torch.randn(2, 1, *size)).shape == (2, 2)
    # Halved twice, and rounded up, so that no row is lost.
    assert shapes == [(2, 12, -(-size[0] // 4), -(-size[1] // 4))]
    with pytest.raises(InputError, match="too small for 2 reductions"):
        network(torch.randn(2, 1, 3, 8))
