"""Cells as graphs: topology against the spaces' own, types there and back, and the rule of derivation."""

import pytest
import torch
from latent_cases import tiny_cells

from nas_search import ConfigError
from nas_search.autoencoder import cell_graph
from nas_spaces import SearchSpace, amended_s2, darts, darts_rnn, mobile, nas_bench_201

SPACES = [nas_bench_201(), darts(), darts(exclude=("none",)), darts(depth_constrained=True), tiny_cells(), amended_s2()]
NAMES = [space.name for space in SPACES]


def draw(space: SearchSpace, count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(space.choices.shape, generator=generator) for _ in range(count)]


def test_the_graphs_are_those_of_the_papers() -> None:
    graph = cell_graph(nas_bench_201())
    assert graph.edges == ((0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2))
    assert graph.entering == ((0,), (1, 2), (3, 4, 5))
    assert (graph.vertices, graph.freedom, graph.outputs) == (11, 24, (2,))
    graph = cell_graph(darts())
    assert [len(edges) for edges in graph.entering] == [2, 3, 4, 5]
    assert (graph.vertices, graph.freedom, len(graph.cells), graph.keep) == (21, 98, 2, 2)
    assert cell_graph(darts(exclude=("none",))).types[-1] == "none"


@pytest.mark.parametrize("space", SPACES, ids=NAMES)
def test_edges_are_the_rows_of_the_choices(space: SearchSpace) -> None:
    graph = cell_graph(space)
    assert sorted(row for cell in graph.cells for row in cell) == list(range(len(space.choices)))
    rows = [tuple(cell[edge] for edge in edges) for cell in graph.cells for edges in graph.entering]
    assert rows == list(space.choices.nodes)


@pytest.mark.parametrize("space", SPACES, ids=NAMES)
def test_types_are_read_and_drawn_back(space: SearchSpace) -> None:
    graph, generator = cell_graph(space), torch.Generator().manual_seed(0)
    architectures = [space.sample(generator) for _ in range(5)]
    types = graph.types_of(architectures)
    assert types.shape == (5, len(graph.cells), len(graph.edges))
    for architecture, each in zip(architectures, types, strict=True):
        assert graph.drawn(each, len(space.choices)) == architecture.options


@pytest.mark.parametrize("space", SPACES, ids=NAMES)
def test_what_is_picked_is_the_rule_of_the_space(space: SearchSpace) -> None:
    graph = cell_graph(space)
    for weights in draw(space, 20):
        rows = torch.tensor(graph.cells)
        soft = weights[rows]
        if graph.columns < len(graph.types):
            soft = torch.cat([soft, soft[..., :1]], dim=2)
        picked = torch.cat([graph.pick(soft[:, list(edges)]) for edges in graph.entering], dim=1)
        assert graph.drawn(picked, len(space.choices)) == space.discretize(weights).options


def test_types_stand_in_the_rows_of_their_cells() -> None:
    space = darts(exclude=("none",))
    graph, architecture = cell_graph(space), space.sample(torch.Generator().manual_seed(0))
    ones = torch.nn.functional.one_hot(graph.types_of([architecture]), len(graph.types)).float()
    assert torch.equal(graph.weights(ones, space.choices.shape)[0], space.weights(architecture))


@pytest.mark.parametrize("space", [mobile(), darts_rnn(), darts(inputs=True), darts(free=True)], ids=lambda s: s.name)
def test_other_spaces_are_refused(space: SearchSpace) -> None:
    with pytest.raises(
        ConfigError, match=f"space '{space.name}' has no cells with one operation, or none, on each edge"
    ):
        cell_graph(space)
