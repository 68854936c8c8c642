"""The graph autoencoder: message passing vertex by vertex, the divergence, and gradients of a path by dense matrices."""

import networkx as nx
import pytest
import torch
from latent_cases import tiny_cells, untrained
from torch import Tensor
from torch.autograd.functional import jacobian
from torch.distributions import Normal
from torch.distributions import kl_divergence as reference_divergence
from torch.nn import functional as F

from nas_search import ConfigError
from nas_search.autoencoder import GraphVAE, MessagePassing, kl_divergence
from nas_search.autoencoder.message_passing import GatedSum
from nas_spaces import SearchSpace, darts, nas_bench_201

SPACES = [nas_bench_201(), darts(), darts(exclude=("none",)), tiny_cells()]
NAMES = [space.name for space in SPACES]


def sample(space: SearchSpace, count: int, seed: int = 0) -> list[object]:
    generator = torch.Generator().manual_seed(seed)
    return [space.sample(generator) for _ in range(count)]


def one_hot(index: int, size: int) -> Tensor:
    return F.one_hot(torch.tensor(index), size).double()


def term(gated: GatedSum, state: Tensor, number: int) -> Tensor:
    """``g(Concat(h, id)) * m(Concat(h, id))``, by the whole matrices."""
    joined = torch.cat([state, one_hot(number, len(gated.gate_id))])
    gate = torch.sigmoid(torch.cat([gated.gate.weight, gated.gate_id.T], dim=1) @ joined + gated.gate.bias)
    return gate * (torch.cat([gated.map.weight, gated.map_id.T], dim=1) @ joined)


def longhand(passing: MessagePassing, types: list[int]) -> dict[int, Tensor]:
    """The states of all vertices of one cell: Eq. 4.6 along a topological order that networkx gives."""
    graph, number = passing.graph, passing.graph.inputs
    kinds = {vertex: len(graph.types) for vertex in range(graph.inputs)}
    states = list(range(graph.inputs))
    cell: nx.DiGraph[int] = nx.DiGraph()
    for edges in graph.entering:
        node = number + len(edges)
        for offset, edge in enumerate(edges):
            cell.add_edge(states[graph.edges[edge][0]], number + offset)
            cell.add_edge(number + offset, node)
            kinds[number + offset] = types[edge]
        kinds[node] = len(graph.types) + 1
        states.append(node)
        number = node + 1
    kinds[number] = len(graph.types) + 2
    cell.add_edges_from((states[graph.inputs + node], number) for node in graph.outputs)
    found: dict[int, Tensor] = {}
    for vertex in nx.lexicographical_topological_sort(cell):
        incoming = torch.zeros(passing.hidden, dtype=torch.float64)
        for before in cell.predecessors(vertex):
            incoming = incoming + term(passing.messages, found[before], before)
        found[vertex] = passing.cell(one_hot(kinds[vertex], len(graph.types) + 3), incoming)
    return found


@pytest.mark.parametrize("space", SPACES, ids=NAMES)
def test_the_encoder_is_equation_4_6_vertex_by_vertex(space: SearchSpace) -> None:
    autoencoder = untrained(space)
    architectures = sample(space, 3)
    mean, logvar = autoencoder.encode(architectures)  # type: ignore[arg-type]
    for index, cells in enumerate(autoencoder.graph.types_of(architectures).tolist()):  # type: ignore[arg-type]
        summaries = []
        for types in cells:
            states = longhand(autoencoder.encoder, types)
            summaries.append(sum(term(autoencoder.readout, state, vertex) for vertex, state in states.items()))
        expected = torch.cat([autoencoder.mean(summary) for summary in summaries])
        torch.testing.assert_close(mean[index], expected)
        torch.testing.assert_close(logvar[index], torch.cat([autoencoder.logvar(summary) for summary in summaries]))


def test_one_architecture_is_encoded_as_in_a_batch() -> None:
    space = darts()
    autoencoder, architectures = untrained(space), sample(space, 2)
    mean, _ = autoencoder.encode(architectures)  # type: ignore[arg-type]
    torch.testing.assert_close(autoencoder.encode(architectures[1])[0], mean[1])  # type: ignore[arg-type]
    assert mean.shape == (2, autoencoder.size) == (2, 8)


def test_the_divergence_is_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, logvar = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    expected = reference_divergence(Normal(mean, (0.5 * logvar).exp()), Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(kl_divergence(mean, logvar), expected)


@pytest.mark.parametrize("space", SPACES, ids=NAMES)
def test_a_decoded_path_is_an_architecture_of_the_space(space: SearchSpace) -> None:
    """With noise and without; without it is what the space derives from the probabilities."""
    autoencoder, generator = untrained(space, scale=20.0), torch.Generator().manual_seed(0)
    for point in torch.randn(20, autoencoder.size, generator=generator, dtype=torch.float64):
        noise = torch.rand(len(autoencoder.graph.cells), len(autoencoder.graph.edges), len(autoencoder.graph.types))
        for choice in (autoencoder.decode(point), autoencoder.decode(point, -(-noise.double().log()).log())):
            assert choice.drawn is not None
            assert torch.equal(choice.weights, space.choices.one_hot(choice.drawn).double())
            assert space.discretize(choice.weights).options == choice.drawn
        derived = autoencoder.graph.weights(autoencoder.derived(point[None]), space.choices.shape)[0]
        assert space.discretize(derived).options == autoencoder.decode(point).drawn


def test_types_are_drawn_with_the_decoders_probabilities() -> None:
    """At the first node, whose types nothing was drawn before; 4,000 draws, within five standard errors."""
    autoencoder, generator = untrained(nas_bench_201(), scale=20.0), torch.Generator().manual_seed(0)
    point = torch.randn(1, 4, generator=generator, dtype=torch.float64)
    noise = -torch.empty(4000, 1, 6, 5, dtype=torch.float64).exponential_(generator=generator).log()
    _, types = autoencoder.draw(point.expand(4000, -1), noise)
    found = F.one_hot(types[:, 0, 0], 5).double().mean(dim=0)
    expected = autoencoder.probabilities(point)[0, 0, 0]
    assert expected.max() < 0.95
    assert ((found - expected).abs() <= 5 * (expected * (1 - expected) / 4000).sqrt()).all()


@pytest.mark.parametrize("space", SPACES, ids=NAMES)
def test_the_gradient_of_a_path_is_that_of_dense_matrices(space: SearchSpace) -> None:
    """``d soft_i / dz = J_z(i) + sum over j < i of J_x(i, j) d soft_j / dz``, `x` the hard types that are passed on."""
    autoencoder = untrained(space, latent=3, hidden=6)
    graph, generator = autoencoder.graph, torch.Generator().manual_seed(0)
    point = torch.randn(autoencoder.size, generator=generator, dtype=torch.float64)
    noise = torch.randn(len(graph.cells), len(graph.edges), len(graph.types), generator=generator, dtype=torch.float64)
    factors = torch.randn(space.choices.shape, generator=generator, dtype=torch.float64)
    learned = point.clone().requires_grad_()
    choice = autoencoder.decode(learned, noise, temperature=0.7)
    (gradient,) = torch.autograd.grad((choice.weights * factors).sum(), learned)

    assert choice.drawn is not None
    hard = F.one_hot(graph.read([choice.drawn]), len(graph.types)).double()[0]
    blocks = [slice(edges[0], edges[-1] + 1) for edges in graph.entering]

    def soft(node: int, point: Tensor, *passed: Tensor) -> Tensor:
        found: list[Tensor] = []

        def choose(number: int, logits: Tensor) -> tuple[Tensor, Tensor]:
            found.append(((logits.log_softmax(dim=2) + noise[:, blocks[number]]) / 0.7).softmax(dim=2))
            return found[-1], passed[number] if number < len(passed) else found[-1]

        autoencoder._decode(point[None], choose)
        return found[node]

    totals: list[Tensor] = []
    passed = [hard[:, block] for block in blocks]
    for node in range(len(blocks)):
        parts = jacobian(lambda *values, node=node: soft(node, *values), (point, *passed[:node]))
        total = parts[0].flatten(0, 2)
        for part, before in zip(parts[1:], totals, strict=True):
            total = total + part.flatten(0, 2).flatten(1) @ before
        totals.append(total)
    dense = torch.cat([total.unflatten(0, value.shape) for total, value in zip(totals, passed, strict=True)], dim=1)
    expected = torch.zeros_like(point)
    for coordinate in range(len(point)):
        expected[coordinate] = (autoencoder.weights(dense[None, ..., coordinate])[0] * factors).sum()
    torch.testing.assert_close(gradient, expected)
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("space", [nas_bench_201(), tiny_cells()], ids=lambda space: space.name)
def test_the_jacobian_is_that_of_the_whole_decoder_block_by_block(space: SearchSpace) -> None:
    autoencoder = untrained(space)
    points = torch.randn(2, autoencoder.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values, jacobians = autoencoder.manifold(points)
    cells = len(autoencoder.graph.cells)
    for index, point in enumerate(points):
        torch.testing.assert_close(values[index].flatten(), autoencoder.probabilities(point[None]).flatten())
        whole = jacobian(lambda p: autoencoder.probabilities(p[None]).flatten(), point)
        blocks = torch.block_diag(*jacobians[index])
        torch.testing.assert_close(blocks, whole)
    assert autoencoder.codimension == cells * (autoencoder.graph.freedom - 4)


def test_the_decoder_of_a_true_cell_sees_the_true_types() -> None:
    """Teacher forcing: logits of a node do not change with the types of later nodes, and do with those of earlier ones."""
    autoencoder = untrained(nas_bench_201())
    point = torch.randn(1, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    types = torch.tensor([[[1, 2, 3, 4, 1, 2]]])
    logits = autoencoder.teacher_logits(point, types)
    for edge in range(6):
        other = types.clone()
        other[0, 0, edge] = 0
        changed = (autoencoder.teacher_logits(point, other) - logits).abs().amax(dim=(0, 1, 3)) > 0
        node = autoencoder.graph.edges[edge][1]
        assert changed.tolist() == [target > node for _, target in autoencoder.graph.edges]


def test_sizes_by_default_leave_room_for_a_manifold() -> None:
    assert GraphVAE(nas_bench_201(), hidden=4).latent == 16
    assert GraphVAE(darts(), hidden=4).latent == 32
    with pytest.raises(ConfigError, match="hidden is 0; expected 1 or more"):
        GraphVAE(nas_bench_201(), hidden=0)
