from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch
from torch import Tensor

from nas_spaces import (
    Architecture,
    ArchitectureError,
    InputError,
    SearchSpace,
    SpacesError,
    WeightsError,
    nas_bench_201,
)
from nas_spaces.draws import draw_distinct
from nas_spaces.nas_bench_201 import OPERATIONS
from nas_spaces.single import SingleNetwork
from nas_spaces.testing import check_space, check_supernet

SPACE = nas_bench_201()
TEXT = "|nor_conv_3x3~0|+|skip_connect~0|avg_pool_3x3~1|+|nor_conv_1x1~0|none~1|nor_conv_3x3~2|"


def random_architectures(number: int, seed: int = 0) -> list[Architecture]:
    generator = torch.Generator().manual_seed(seed)
    return [SPACE.sample(generator) for _ in range(number)]


def test_space_conforms() -> None:
    check_space(SPACE)


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (4, 4)])
@pytest.mark.parametrize("channels", [1, 3])
def test_supernet_conforms_on_small_and_odd_images(size: tuple[int, int], channels: int) -> None:
    images = torch.randn(4, channels, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    check_supernet(SPACE, images)


def test_images_that_are_too_small_or_of_other_channels_are_refused() -> None:
    for network in (SPACE.network(SPACE.parse(TEXT), channels=2, cells=1), SPACE.supernet(channels=2, cells=1)):
        arguments = (torch.zeros(6, 5),) if hasattr(network, "choices") else ()
        with pytest.raises(InputError, match="too small for 2 reductions"):
            network(torch.randn(2, 3, 3, 8), *arguments)
        with pytest.raises(InputError, match="reads"):
            network(torch.randn(2, 1, 8, 8), *arguments)


def test_supernet_conforms_in_float32() -> None:
    check_supernet(SPACE, torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1)))


def test_counts_follow_the_published_formula() -> None:
    every = [SPACE.architecture([(row + shift) % 5 for row in range(6)]) for shift in range(5)]  # on every edge
    for a in (*every, *random_architectures(10)):
        taken = [OPERATIONS[option] for (option,) in a.options]
        ones, threes = taken.count("nor_conv_1x1"), taken.count("nor_conv_3x3")
        counts = SPACE.count(a)
        assert counts.parameters == 73_306 + 28_000 * ones + 243_040 * threes
        assert counts.multiply_adds == 7_783_050 + 3_932_160 * ones + 35_389_440 * threes


@pytest.mark.parametrize(("image", "classes"), [((3, 32, 32), 100), ((3, 16, 16), 120)], ids=["cifar100", "imagenet16"])
def test_counts_of_the_other_data_sets(image: tuple[int, int, int], classes: int) -> None:
    """A class adds a row of the classifier, 64 + 1; without them the work is that of the pixels."""
    pixels = image[1] * image[2] / 1024
    for a in random_architectures(2, seed=5):
        taken = [OPERATIONS[option] for (option,) in a.options]
        ones, threes = taken.count("nor_conv_1x1"), taken.count("nor_conv_3x3")
        counts = SPACE.count(a, image=image, classes=classes)
        assert counts.parameters == 73_306 + 65 * (classes - 10) + 28_000 * ones + 243_040 * threes
        features = 7_783_050 - 650 + 3_932_160 * ones + 35_389_440 * threes
        assert counts.multiply_adds == features * pixels + 65 * classes


def test_counts_equal_the_table_of_cifar100(real_data: Path) -> None:
    with np.load(real_data / "nas_bench_201.npz") as table:
        rows = {str(text): row for row, text in enumerate(table["arch"])}
        for a in random_architectures(3, seed=3):
            counts = SPACE.count(a, classes=100)
            assert counts.parameters / 1e6 == pytest.approx(table["cifar100_params"][rows[str(a)]], abs=1e-6)
            assert counts.multiply_adds / 1e6 == pytest.approx(table["cifar100_flops"][rows[str(a)]], abs=1e-4)


def test_counts_equal_the_table(real_data: Path) -> None:
    with np.load(real_data / "nas_bench_201.npz") as table:
        rows = {str(text): row for row, text in enumerate(table["arch"])}
        parameters, flops = table["cifar10_params"], table["cifar10_flops"]
        for a in random_architectures(20, seed=3):
            counts = SPACE.count(a)
            assert counts.parameters / 1e6 == pytest.approx(parameters[rows[str(a)]], abs=1e-6)
            assert counts.multiply_adds / 1e6 == pytest.approx(flops[rows[str(a)]], abs=1e-4)
        assert {str(a) for a in SPACE} == set(rows)


def test_size_counts_its_iteration() -> None:
    assert SPACE.size == 15_625 == len({a.options for a in SPACE})


def test_text_form() -> None:
    assert str(SPACE.parse(TEXT)) == TEXT
    shuffled = TEXT.replace("|skip_connect~0|avg_pool_3x3~1|", "|avg_pool_3x3~1|skip_connect~0|")
    assert SPACE.parse(f" {shuffled}\n") == SPACE.parse(TEXT)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"position 0 of '': expected '\|', found the end"),
        ("|skip_connect~0|+|skip_connect~0|skip_connect~1|", r"position 48 .*: expected '\+', found the end"),
        (TEXT[:-1], r"expected '\|', found the end"),
        (TEXT + "|", r"expected the end, found '\|'"),
        (
            TEXT.replace("nor_conv_1x1", "conv_9x9"),
            "position 50 .*: expected an operation, one of none, .* found 'conv_9x9",
        ),
        (TEXT.replace("nor_conv_1x1~0", "nor_conv_1x1"), "expected '~', found"),
        (
            TEXT.replace("avg_pool_3x3~1", "avg_pool_3x3~2"),
            "an input of node 2 that has not been named, one of 1, found '2",
        ),
        (
            TEXT.replace("avg_pool_3x3~1", "avg_pool_3x3~0"),
            "an input of node 2 that has not been named, one of 1, found '0",
        ),
        (TEXT.replace("avg_pool_3x3~1|", ""), r"expected an operation, .*, found '\+"),
    ],
)
def test_parse_errors_name_position_and_expectation(text: str, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        SPACE.parse(text)


@pytest.mark.parametrize("options", [[0] * 5, [0] * 7, [5, 0, 0, 0, 0, 0], [-1, 0, 0, 0, 0, 0]])
def test_options_outside_the_space_are_refused(options: list[int]) -> None:
    with pytest.raises(ArchitectureError):
        SPACE.architecture(options)


def test_an_architecture_of_another_space_is_refused() -> None:
    other = Architecture("darts", ((0,),) * 6, "text")
    for call in (SPACE.weights, SPACE.graph, SPACE.network, lambda a: list(SPACE.neighbors(a))):
        with pytest.raises(ArchitectureError, match="belongs to space 'darts'"):
            call(other)


@pytest.mark.parametrize("weights", [torch.zeros(5, 6), torch.zeros(6), torch.zeros(6, 5, 1)])
def test_weights_of_another_shape_are_refused(weights: Tensor) -> None:
    with pytest.raises(WeightsError, match="this space has"):
        SPACE.discretize(weights)
    with pytest.raises(WeightsError, match="this space has"):
        SPACE.supernet(channels=2, cells=1)(torch.randn(2, 3, 8, 8), weights)


def test_weights_that_are_not_numbers_are_refused() -> None:
    weights = torch.zeros(6, 5)
    weights[3, 2] = torch.nan
    with pytest.raises(WeightsError, match="row 3"):
        SPACE.discretize(weights)


def test_discretize_takes_the_largest_and_the_first_of_equals() -> None:
    weights = torch.zeros(6, 5)
    weights[1, 3] = 1.0
    assert SPACE.discretize(weights).options == ((0,), (3,), (0,), (0,), (0,), (0,))


def test_graph_has_one_edge_per_operation() -> None:
    graph = SPACE.graph(SPACE.parse(TEXT))
    assert nx.is_directed_acyclic_graph(graph)
    assert {(s, t): d["operation"] for s, t, d in graph.edges(data=True)} == {
        (0, 1): "nor_conv_3x3",
        (0, 2): "skip_connect",
        (1, 2): "avg_pool_3x3",
        (0, 3): "nor_conv_1x1",
        (2, 3): "nor_conv_3x3",
    }
    assert len(SPACE.graph(SPACE.architecture([0] * 6))) == 4


def test_supernet_and_network_agree_on_an_architecture_without_normalised_edges() -> None:
    a = SPACE.parse("|skip_connect~0|+|skip_connect~0|avg_pool_3x3~1|+|none~0|avg_pool_3x3~1|skip_connect~2|")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        supernet = SPACE.supernet(classes=3, channels=4, cells=1).double()
        network = SPACE.network(a, classes=3, channels=4, cells=1).double()
        images = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    shared = {name.removeprefix("body."): value for name, value in supernet.state_dict().items()}
    network.load_state_dict({name: shared.get(name, value) for name, value in network.state_dict().items()})
    torch.testing.assert_close(network.train()(images), supernet(images, SPACE.weights(a).double()))


def test_a_drawn_path_gives_gradients_to_its_own_options_only() -> None:
    a = SPACE.parse(TEXT)
    supernet = SPACE.supernet(classes=2, channels=2, cells=1)
    weights = SPACE.weights(a).requires_grad_()
    supernet(torch.randn(3, 3, 8, 8), weights, a.options).square().sum().backward()
    assert weights.grad is not None
    assert not weights.grad[SPACE.weights(a) == 0].any()


def test_a_mutation_is_the_neighbour_of_its_number() -> None:
    """Drawn without listing the neighbours, and yet the same as if they were listed."""
    own, other = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    a = SPACE.sample(torch.Generator().manual_seed(0))
    for _ in range(50):
        listed = SearchSpace.mutate(SPACE, a, other)
        a = SPACE.mutate(a, own)
        assert a == listed


def test_distinct_draws_are_all_there_are_at_most() -> None:
    drawn = draw_distinct(SPACE, 400, torch.Generator().manual_seed(0))
    assert len(set(drawn)) == len(drawn) == 400
    single = SingleNetwork(torch.nn.Identity, "one")
    assert len(draw_distinct(single, 5, torch.Generator())) == 1


def test_neighbors_differ_in_one_row() -> None:
    a = SPACE.parse(TEXT)
    neighbors = list(SPACE.neighbors(a))
    assert len(neighbors) == 6 * 4
    assert all(SPACE.distance(a, b) == 1 for b in neighbors)


def test_errors_share_a_base() -> None:
    assert issubclass(ArchitectureError, SpacesError)
    assert issubclass(ArchitectureError, ValueError)


def test_the_papers_number_of_unique_cells() -> None:
    assert len({SPACE.canonical(a) for a in SPACE.enumerate()}) == 6_466


def test_canonical_form_knows_skips_zeros_and_order() -> None:
    texts = [
        "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|",
        "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|",
    ]
    first, second = (SPACE.canonical(SPACE.parse(text)) for text in texts)
    assert first != second
    mirrored = [
        "|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|none~0|skip_connect~1|skip_connect~2|",
        "|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|skip_connect~2|",
    ]
    a, b = (SPACE.canonical(SPACE.parse(text)) for text in mirrored)
    assert sorted(a) == sorted(b)
