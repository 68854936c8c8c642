import torch

from nas_spaces import darts, nas_bench_201, published
from nas_spaces.encodings import adjacency, one_hot, path_encoding, paths
from nas_spaces.nas_bench_201 import EDGES, OPERATIONS

SPACE = nas_bench_201()
A = SPACE.parse("|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|avg_pool_3x3~1|nor_conv_1x1~2|")


def test_one_hot_marks_the_options() -> None:
    vector = one_hot(SPACE, A)
    assert vector.shape == (30,)
    assert vector.sum() == 6
    space = darts(inputs=True)
    b = space.sample(torch.Generator().manual_seed(0))
    assert one_hot(space, b).shape == (28 * 8 + 2 * (2 + 3 + 4 + 5),)
    assert one_hot(space, b).sum() == 16 + 16


def test_adjacency_has_one_matrix_per_operation() -> None:
    matrix = adjacency(SPACE.graph(A), OPERATIONS)
    assert matrix.shape == (5, 4, 4)
    for (source, target), (option,) in zip(EDGES, A.options, strict=True):
        if option:
            assert matrix[option, source, target] == 1
    assert matrix.sum() == 4


def test_paths_lead_from_input_to_output() -> None:
    assert paths(SPACE.graph(A)) == {("nor_conv_3x3", "avg_pool_3x3"), ("skip_connect", "nor_conv_1x1")}
    vocabulary = [("skip_connect",), ("nor_conv_3x3", "avg_pool_3x3")]
    assert path_encoding(SPACE.graph(A), vocabulary).tolist() == [0.0, 1.0]


def test_two_cells_have_the_paths_of_both() -> None:
    found = paths(darts().graph(published.DARTS_V2))
    assert ("sep_conv_3x3",) in found
    assert ("max_pool_3x3", "skip_connect") in found
