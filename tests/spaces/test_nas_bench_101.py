import itertools
import sys
from collections import Counter
from xml.etree import ElementTree

import networkx as nx
import pytest
import torch

from nas_spaces import Architecture, ArchitectureError, InputError, WeightsError, canonical_hash, nas_bench_101
from nas_spaces.drawing import to_svg
from nas_spaces.encodings import adjacency, paths
from nas_spaces.nas_bench_101_cells import EDGES, OUTPUT, placed, shapes
from nas_spaces.testing import check_space, check_supernet
from nas_spaces.vertex_network import OPERATIONS

SPACE = nas_bench_101()
TEXT = "conv3x3-bn-relu~0+conv1x1-bn-relu~0~1+output~0~2"


def test_space_conforms() -> None:
    check_space(SPACE)


@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_supernet_conforms(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    check_supernet(SPACE, torch.randn(4, 1, *size, dtype=torch.float64, generator=generator))


def test_the_size_is_the_published_one() -> None:
    assert SPACE.size == 423_624


def test_small_cells_come_first() -> None:
    small = list(itertools.islice(SPACE.enumerate(), 91))
    assert len(set(small)) == 91
    assert max(len(SPACE.cell(a).operations) for a in small) == 2
    assert all(SPACE.parse(str(a)) == a for a in small)


@pytest.mark.slow
def test_size_counts_its_iteration() -> None:
    options, texts = set(), set()
    for a in SPACE:
        options.add(a.options)
        texts.add(str(a))
    assert len(options) == len(texts) == SPACE.size


@pytest.mark.slow
def test_different_cells_have_different_hashes() -> None:
    small = [a for a, _ in zip(SPACE, range(64_542), strict=False)]
    assert len({canonical_hash(SPACE.graph(a)) for a in small}) == 64_542


def test_sampling_is_uniform_over_cells() -> None:
    """Chi-squared of the number of vertices."""
    generator = torch.Generator().manual_seed(0)
    sizes = Counter(len(SPACE.cell(SPACE.sample(generator)).operations) for _ in range(4000))
    expected = {5: 359_082, 4: 62_010, 3: 2_441}
    statistic = sum((sizes[k] - 4000 * n / SPACE.size) ** 2 / (4000 * n / SPACE.size) for k, n in expected.items())
    assert statistic < 16  # The 0.999 quantile for three degrees of freedom.


def test_sampling_is_uniform_over_the_labellings_of_symmetric_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three vertices side by side: 10 cells, multisets of operations, which 27 labellings would not draw evenly."""

    wide = max(shapes(3), key=lambda shape: len(shape.symmetries))
    assert wide.count(3) == 10
    implementation = sys.modules[type(SPACE).__module__]
    monkeypatch.setattr(implementation, "all_shapes", lambda: (wide,))
    monkeypatch.setattr(implementation, "totals", lambda operations: (wide.count(operations),))
    generator = torch.Generator().manual_seed(0)
    drawn = Counter(str(SPACE.sample(generator)) for _ in range(2000))
    assert len(drawn) == 10
    assert sum((count - 200) ** 2 / 200 for count in drawn.values()) < 28  # 0.999 for nine degrees of freedom.


def test_cells_are_equal_up_to_the_names_of_their_vertices() -> None:
    a = SPACE.parse("maxpool3x3~0+conv3x3-bn-relu~0+conv1x1-bn-relu~0~2+output~0~1~3")
    b = SPACE.parse("conv3x3-bn-relu~0+conv1x1-bn-relu~0~1+maxpool3x3~0+output~0~2~3")
    assert a == b
    assert hash(a) == hash(b)
    assert a != SPACE.parse("conv3x3-bn-relu~0+maxpool3x3~0~1+conv1x1-bn-relu~0+output~0~2~3")


def test_what_leads_nowhere_is_left_out() -> None:
    a = SPACE.parse("conv3x3-bn-relu~0+maxpool3x3~0~1+conv1x1-bn-relu~0~1+maxpool3x3~3+output~0~3")
    assert str(a) == TEXT
    assert SPACE.parse(TEXT) == a
    assert [len(row) for row in a.options] == [1] * 23 + [0] * 3


def test_matrices_go_in_and_out() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        a = SPACE.sample(generator)
        assert SPACE.build(*SPACE.matrix(a)) == a
    dangling = [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    a = SPACE.build(dangling, ["input", "maxpool3x3", "conv3x3-bn-relu", "output"])
    assert str(a) == "maxpool3x3~0+output~1"


@pytest.mark.parametrize(
    ("matrix", "operations", "message"),
    [
        ([[0, 1], [0, 0]], ["input", "maxpool3x3"], "expected .'input', ..., 'output'."),
        ([[0, 1], [0, 0]], ["output"], "expected .'input'"),
        ([[0, 1], [0]], ["input", "output"], r"rows of \[2, 1\]; expected 2 x 2"),
        ([[0, 1]], ["input", "output"], r"rows of \[2\]; expected 2 x 2"),
        ([[0, 2], [0, 0]], ["input", "output"], "has 2 in row 0, column 1; expected 0 or 1"),
        ([[0, 1], [1, 0]], ["input", "output"], "has 1 in row 1, column 0; expected 0 or 1 above the diagonal"),
        ([[0, 0], [0, 0]], ["input", "output"], "no path leads from the input to the output"),
        ([[0, 1, 1], [0, 0, 1], [0, 0, 0]], ["input", "conv5x5", "output"], "unknown operation 'conv5x5'"),
        (
            [[int(t == s + 1) for t in range(8)] for s in range(8)],
            ["input", *["maxpool3x3"] * 6, "output"],
            "8 vertices and 7 edges .* at most 7 and 9",
        ),
        (
            [[int(t > s) for t in range(5)] for s in range(5)],
            ["input", *["maxpool3x3"] * 3, "output"],
            "5 vertices and 10 edges",
        ),
    ],
)
def test_matrices_that_are_no_cells(matrix: list[list[int]], operations: list[str], message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        SPACE.build(matrix, operations)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "position 0 .* what vertex 1 is, one of output, conv3x3-bn-relu, conv1x1-bn-relu, maxpool3x3, found the end",
        ),
        ("conv9x9~0+output~1", "position 0 .* found 'conv9x9"),
        ("maxpool3x3~0+output~2", "position 20 .* one of 0, 1, found '2'"),
        ("+".join(["maxpool3x3~0"] * 6) + "+output~6", "position 65 .* expected what vertex 6 is, one of output"),
        ("maxpool3x3~0+conv1x1-bn-relu~0~1+maxpool3x3~0~1~2+maxpool3x3~0~1~2~3+output~4", "6 vertices and 11 edges"),
    ],
)
def test_texts_that_are_no_cells(text: str, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        SPACE.parse(text)


def test_an_impossible_graph() -> None:
    with pytest.raises(ArchitectureError, match="no path leads"):
        SPACE.of_graph([(0, 1), (2, OUTPUT)], {1: 0, 2: 0})
    with pytest.raises(ArchitectureError, match="vertex 1 has operation None; expected one of 0 to 2"):
        SPACE.of_graph([(0, 1), (1, OUTPUT)], {})
    with pytest.raises(ArchitectureError, match="vertex 1 has operation 3; expected one of 0 to 2"):
        SPACE.of_graph([(0, 1), (1, OUTPUT)], {1: 3})
    with pytest.raises(ArchitectureError, match="run in a circle"):
        SPACE.of_graph([(0, 1), (1, 2), (2, 1), (2, OUTPUT)], {1: 0, 2: 0})


def test_an_architecture_of_another_space_is_refused() -> None:
    other = Architecture("darts", ((0,),) * 26, "text")
    for call in (SPACE.weights, SPACE.graph, SPACE.network, SPACE.cell, SPACE.table_text):
        with pytest.raises(ArchitectureError, match="belongs to space 'darts'"):
            call(other)


def test_discretize_takes_the_best_cell() -> None:
    """Against all cells in all numberings, with the score of each added up on its own."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        weights = torch.rand(SPACE.choices.shape, generator=generator)
        a = SPACE.discretize(weights)
        margins = (weights[:21, 1] - weights[:21, 0]).double()
        scores = [float(margins[torch.from_numpy(row).bool()].sum()) for row in placed()]
        best = placed()[scores.index(max(scores))]
        edges = [edge for edge, yes in zip(EDGES, best, strict=True) if yes]
        operations = {vertex: int(weights[20 + vertex, :3].argmax()) for vertex in range(1, 6)}
        assert a == SPACE.of_graph(edges, operations)


def test_discretize_always_gives_a_cell() -> None:
    assert str(SPACE.discretize(torch.zeros(26, 3))) == "output~0"
    everything = torch.zeros(26, 3)
    everything[:21, 1] = 1
    assert len(SPACE.cell(SPACE.discretize(everything)).edges) == 9


@pytest.mark.parametrize("weights", [torch.zeros(26, 2), torch.zeros(3, 26), torch.zeros(26)])
def test_weights_of_another_shape_are_refused(weights: torch.Tensor) -> None:
    with pytest.raises(WeightsError, match="this space has"):
        SPACE.discretize(weights)


def test_weights_that_are_not_numbers_are_refused() -> None:
    weights = torch.zeros(26, 3)
    weights[23, 1] = torch.nan
    with pytest.raises(WeightsError, match="row 23"):
        SPACE.discretize(weights)


def test_images_that_do_not_fit_are_refused() -> None:
    for network, arguments in (
        (SPACE.network(SPACE.parse(TEXT), channels=2, cells=1), ()),
        (SPACE.supernet(channels=2, cells=1), (torch.zeros(26, 3),)),
    ):
        with pytest.raises(InputError, match="too small for 2 reductions"):
            network(torch.randn(2, 3, 3, 8), *arguments)
        with pytest.raises(InputError, match="reads"):
            network(torch.randn(2, 1, 8, 8), *arguments)


def test_the_graph_and_its_encodings() -> None:
    graph = SPACE.graph(SPACE.parse(TEXT))
    assert nx.is_directed_acyclic_graph(graph)
    assert sorted(graph.edges) == [(0, 1), (0, 2), (0, 3), (1, 2), (2, 3)]
    assert [graph.nodes[vertex]["label"] for vertex in range(4)] == ["input", "conv3x3", "conv1x1", "output"]
    assert paths(graph) == {(), ("conv1x1-bn-relu",), ("conv3x3-bn-relu", "conv1x1-bn-relu")}
    matrix = adjacency(graph, OPERATIONS)
    assert matrix[0].nonzero().tolist() == [[0, 1]]
    assert matrix[1].nonzero().tolist() == [[0, 2], [1, 2]]
    assert not matrix[2].any()
    picture = ElementTree.fromstring(to_svg(graph))
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert sorted(filter(None, texts)) == ["conv1x1", "conv3x3", "input", "output"]


def test_the_default_network_is_the_one_of_the_benchmark() -> None:
    counts = SPACE.count(SPACE.parse("maxpool3x3~0+output~1"))
    widths = [(128, 128)] * 3 + [(128, 256)] + [(256, 256)] * 2 + [(256, 512)] + [(512, 512)] * 2
    assert counts.parameters == 27 * 128 + 256 + sum(i * o + 2 * o for i, o in widths) + 512 * 10 + 10
