from typing import Any

import pytest
import torch

from nas_search import ConfigError
from nas_search.relaxations import EdgeSoftmax
from nas_spaces import Choices, darts, mobile, nas_bench_201

CHOICES = Choices(options=(("a", "b"), ("a", "b"), ("a", "b"), ("x", "y")), nodes=((0,), (1, 2)))


def make() -> EdgeSoftmax:
    relaxation = EdgeSoftmax(CHOICES).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        relaxation.logits.normal_(generator=generator)
        relaxation.edges.normal_(generator=generator)
    return relaxation


def test_edges_of_a_node_share_one() -> None:
    relaxation = make()
    weights, drawn = relaxation(None, 0.0)
    options, edges = relaxation.logits.softmax(dim=1), relaxation.edges
    total = edges[1].exp() + edges[2].exp()
    one = torch.ones(()).double()
    for row, factor in enumerate((one, edges[1].exp() / total, edges[2].exp() / total, one)):
        torch.testing.assert_close(weights[row], factor * options[row])
    assert drawn is None
    assert torch.equal(relaxation.probabilities(), weights.detach())


def test_it_passes_gradcheck() -> None:
    relaxation = make()

    def weights(logits: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        values = {"logits": logits, "edges": edges}
        return torch.func.functional_call(relaxation, values, (None, 0.0)).weights

    leaves = [value.detach().clone().requires_grad_() for value in (relaxation.logits, relaxation.edges)]
    assert torch.autograd.gradcheck(weights, leaves)


@pytest.mark.parametrize("space", [darts(), nas_bench_201()])
def test_the_edge_decides_which_inputs_are_derived(space: Any) -> None:
    relaxation = EdgeSoftmax(space.choices)
    with torch.no_grad():
        relaxation.logits[:, 1] = 5.0
        for rows in space.choices.nodes:
            relaxation.edges[list(rows[-2:])] = 3.0
    architecture = space.discretize(relaxation.probabilities())
    for rows in space.choices.nodes:
        taken = [row for row in rows if architecture.options[row] == (1,)]
        assert taken == list(rows if space.name == "nas_bench_201" else rows[-2:])


def test_a_space_without_nodes_is_refused() -> None:
    with pytest.raises(ConfigError, match="this space has no nodes; use a space of cells"):
        EdgeSoftmax(mobile().choices)
