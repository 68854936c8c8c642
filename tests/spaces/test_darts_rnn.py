"""The recurrent space: architectures, choices, texts, pictures, counts."""

from itertools import islice
from xml.etree import ElementTree

import networkx as nx
import pytest
import torch

from nas_spaces import Architecture, ArchitectureError, InputError, WeightsError, catalog, darts_rnn, published
from nas_spaces.darts_rnn import EDGES
from nas_spaces.drawing import to_svg
from nas_spaces.recurrent import SEARCH
from nas_spaces.testing import check_space, check_supernet

SPACE = darts_rnn()
V2 = published.DARTS_V2_RNN
RECURRENT = [name for name in published.__all__ if name.endswith("_RNN")]


def tokens(batch: int, time: int, words: int = 7) -> torch.Tensor:
    return torch.randint(words, (batch, time), generator=torch.Generator().manual_seed(1))


def test_the_space_conforms() -> None:
    check_space(SPACE)


@pytest.mark.parametrize("shape", [(4, 9), (2, 1)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_supernet_conforms(shape: tuple[int, int], dtype: torch.dtype) -> None:
    check_supernet(SPACE, tokens(*shape), classes=7, channels=6, dtype=dtype)


def test_36_edges_in_the_order_of_the_reference() -> None:
    assert SPACE.choices.shape == (36, 5)
    assert EDGES[:6] == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    assert SPACE.choices.options[0] == ("none", "tanh", "relu", "sigmoid", "identity")


def test_the_size_is_the_number_of_architectures() -> None:
    assert SPACE.size == 40320 * 4**8
    first = list(islice(SPACE.enumerate(), 1000))
    assert len(set(first)) == 1000
    assert str(first[0]) == "+".join(["|tanh~0|"] * 8)
    # The last step, which has 32 possibilities, varies fastest.
    assert len({SPACE.steps(a)[:7] for a in first[:32]}) == 1


def test_neighbors_differ_in_one_step() -> None:
    neighbors = list(SPACE.neighbors(V2))
    # Step j can be 4 j connections, one of which it is.
    assert len(neighbors) == len(set(neighbors)) == sum(4 * step - 1 for step in range(1, 9)) == 136
    assert all(SPACE.distance(V2, other) == 1 for other in neighbors)
    assert SPACE.distance(V2, published.DARTS_V1_RNN) == 7


def test_samples_are_uniform() -> None:
    generator = torch.Generator().manual_seed(0)
    steps = [SPACE.steps(SPACE.sample(generator)) for _ in range(2000)]
    for step in (0, 2):
        possible = 4 * (step + 1)
        counts = [sum(s[step] == connection for s in steps) for connection in {s[step] for s in steps}]
        assert len(counts) == possible
        assert max(abs(count - 2000 / possible) for count in counts) < 5 * (2000 / possible) ** 0.5


def test_discretize_takes_the_strongest_operation_other_than_none() -> None:
    weights = torch.zeros(36, 5)
    weights[:, 0] = 9.0  # none never wins
    weights[1, 3], weights[2, 1] = 0.4, 0.3  # step 2: predecessor 0 with sigmoid
    weights[3:6, 1:] = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.9, 0.0, 0.0, 0.0], [0.5, 0.8, 0.6, 0.7]])
    steps = SPACE.steps(SPACE.discretize(weights))
    assert steps[:3] == (("tanh", 0), ("sigmoid", 0), ("tanh", 1))  # the first of equals in step 1
    assert set(steps[3:]) == {("tanh", 0)}


def test_genotype_literals_are_read() -> None:
    literal = (
        "Genotype(recurrent=[('sigmoid', 0), ('relu', 1), ('relu', 1), ('identity', 1), ('tanh', 2), ('sigmoid', 5), "
        "('tanh', 3), ('relu', 5)], concat=range(1, 9))"
    )
    assert SPACE.parse(literal) == V2
    assert str(V2) == "|sigmoid~0|+|relu~1|+|relu~1|+|identity~1|+|tanh~2|+|sigmoid~5|+|tanh~3|+|relu~5|"


@pytest.mark.parametrize("name", RECURRENT)
def test_published_cells(name: str) -> None:
    a = getattr(published, name)
    assert SPACE.parse(str(a)) == a
    assert SPACE.network(a, classes=7, channels=4)(tokens(2, 3)).shape == (2, 7, 3)


def test_the_published_number_of_parameters() -> None:
    """23 million on Penn Treebank's 10,000 words with 850 units: embedding and decoder once, 20 matrices of 850 x 850."""
    counts = SPACE.count(V2, classes=10_000, channels=850)
    assert counts.parameters == 10_000 * 850 + 10_000 + 20 * 850**2 == 22_960_000
    # Every weight is used once for a word; the embedding is looked up.
    assert counts.multiply_adds == counts.parameters


def test_the_graph_is_that_of_the_cell_and_can_be_drawn() -> None:
    graph = SPACE.graph(V2)
    assert nx.is_directed_acyclic_graph(graph)
    assert graph.edges[2, 3]["operation"] == "sigmoid"  # state 0 to state 1
    assert graph.edges[7, 8]["operation"] == "sigmoid"  # state 5 to state 6
    assert [source for source, _ in graph.in_edges(11)] == list(range(3, 11))
    texts = [element.text for element in ElementTree.fromstring(to_svg(graph, str(V2))).iter()]
    assert {"x_t", "h_{t-1}", "h_t", "sigmoid", "identity"} <= set(texts)


def test_the_catalog_has_it_with_its_options() -> None:
    assert catalog.space("darts-rnn").reads == "tokens"
    assert catalog.space("darts").reads == "images"
    assert repr(catalog.space("darts_rnn", dropouts=SEARCH)) == repr(darts_rnn(dropouts=SEARCH)) != repr(SPACE)
    assert repr(catalog.space("darts")) == "darts"


def test_what_the_space_does_not_have_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="has 8 steps; 2 were given"):
        SPACE.build([("tanh", 0), ("tanh", 0)])
    with pytest.raises(ArchitectureError, match=r"step 2 is \('tanh', 2\); .* predecessors 0 to 1"):
        SPACE.build([("tanh", 0), ("tanh", 2), *[("tanh", 0)] * 6])
    with pytest.raises(ArchitectureError, match=r"step 1 is \('none', 0\)"):
        SPACE.build([("none", 0)] * 8)
    with pytest.raises(ArchitectureError, match="belongs to space 'nas_bench_201'"):
        SPACE.network(Architecture("nas_bench_201", ((0,),) * 6, ""))
    for make in (lambda: SPACE.supernet(cells=2), lambda: SPACE.network(V2, cells=3)):
        with pytest.raises(InputError, match=r"\d cells were asked for; darts_rnn has one"):
            make()
    with pytest.raises(WeightsError, match="this space has"):
        SPACE.discretize(torch.zeros(36, 4))
    with pytest.raises(WeightsError, match="row 2 are not finite"):
        SPACE.discretize(torch.zeros(36, 5).index_put_((torch.tensor(2),), torch.tensor(torch.nan)))
