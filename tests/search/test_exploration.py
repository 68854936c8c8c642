"""Novelty and depth: values by hand, gradients by differences, and where a point goes that descends them."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from latent_cases import tiny_cells, untrained
from torch import Tensor
from torch.autograd.functional import jacobian
from torch.distributions import Normal

from nas_search import ConfigError, ImageData, methods, search
from nas_search.density import log_sphere
from nas_search.exploration import DecodedDepth, Novelty, visited_paths
from nas_search.losses import Exploiting
from nas_search.relaxations import Latent
from nas_search.samplers import Archived, Relaxed, Uniform
from nas_search.schedules import Constant, Sigmoid
from nas_search.state import SearchState
from nas_spaces import SearchSpace, nas_bench_201


class Fixed:
    """A latent relaxation of an autoencoder at hand."""

    def __init__(self, latent: int = 4) -> None:
        self.latent = latent

    def prepare(self, space: SearchSpace, observers: object = ()) -> None:
        pass

    def of(self, space: SearchSpace) -> Latent:
        return Latent(space, untrained(space, self.latent, scale=5.0), scale=0.5).double()


def begin(space: SearchSpace, data: ImageData, small: dict[str, Any], *terms: Any, latent: int = 4) -> SearchState:
    method = replace(methods.gdas(), relaxation=Fixed(latent), sampler=Archived(Relaxed(), 3), regularizers=terms)
    return SearchState(space, data, method, seed=0, **small | {"device": torch.device("cpu")})


def visit(state: SearchState, count: int) -> None:
    state.memory["visited_paths"] = [
        [list(options) for options in state.space.sample(state.generator).options] for _ in range(count)
    ]


def by_hand(state: SearchState, point: Tensor, deviation: float) -> Tensor:
    """Eq. 4.10 by singular values of the whole Jacobian, without the floor."""
    assert isinstance(state.relaxation, Latent)
    autoencoder, space = state.relaxation.autoencoder, state.space
    paths = visited_paths(state)
    types = autoencoder.graph.read(paths)
    encodings = autoencoder.encode_types(types)[0]

    def place(point: Tensor, types: Tensor) -> tuple[Tensor, Tensor]:
        whole = jacobian(lambda p: autoencoder.probabilities(p[None]).flatten(), point)
        parts = torch.linalg.svd(whole, full_matrices=True)
        data = torch.nn.functional.one_hot(types, len(autoencoder.graph.types)).flatten().double()
        normal = parts.U[:, len(point) :]
        residual = data - autoencoder.probabilities(point[None]).flatten()
        return (normal.T @ residual).norm(), parts.S.log().sum()

    radii = torch.stack([place(each, own)[0] for each, own in zip(encodings, types, strict=True)])
    drawn = autoencoder.decode(point).drawn
    assert drawn is not None
    radius, stretch = place(point, autoencoder.graph.read([drawn]))
    latent = Normal(encodings.mean(dim=0), encodings.std(dim=0, correction=0).clamp(min=deviation))
    radial = Normal(radii.mean(), radii.std(correction=0).clamp(min=deviation))
    dimension = autoencoder.codimension
    assert dimension == len(space.choices) * (len(space.choices.options[0]) - 1) - len(point)
    return latent.log_prob(point).sum() - stretch - log_sphere(dimension, radius) + radial.log_prob(radius)


@pytest.mark.parametrize("space", [nas_bench_201(), tiny_cells()], ids=lambda space: space.name)
def test_novelty_is_the_density_of_lemma_2(space: SearchSpace, data: ImageData, small: dict[str, Any]) -> None:
    term = Novelty(Constant(2.0), deviation=0.05)
    state = begin(space, data, small, term)
    visit(state, 3)
    assert isinstance(state.relaxation, Latent)
    point = state.relaxation.point.detach()
    weights = state.relaxation.autoencoder.decode(point).weights
    found = term.at(state)(weights, 0.0, {"relaxation.point": point})
    torch.testing.assert_close(found, 2 * by_hand(state, point, 0.05), rtol=1e-6, atol=1e-6)
    # Once more from what is remembered, with a path more than before.
    state.memory["visited_paths"].append(state.memory["visited_paths"][0])
    found = term.at(state)(weights, 0.0, {"relaxation.point": point})
    torch.testing.assert_close(found, 2 * by_hand(state, point, 0.05), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("manifold", [True, False])
def test_the_gradient_of_novelty_is_that_of_differences(manifold: bool, data: ImageData, small: dict[str, Any]) -> None:
    term = Novelty(Constant(1.0), manifold=manifold)
    state = begin(nas_bench_201(), data, small, term)
    visit(state, 3)
    assert isinstance(state.relaxation, Latent)
    point, regularizer = state.relaxation.point.detach(), term.at(state)
    weights = state.relaxation.autoencoder.decode(point).weights
    assert torch.autograd.gradcheck(
        lambda point: regularizer(weights, 0.0, {"relaxation.point": point}), (point.clone().requires_grad_(),)
    )


def test_descending_novelty_leaves_what_was_visited(data: ImageData, small: dict[str, Any]) -> None:
    term = Novelty(Constant(1.0), manifold=False)
    state = begin(nas_bench_201(), data, small, term)
    visit(state, 3)
    assert isinstance(state.relaxation, Latent)
    relaxation, regularizer = state.relaxation, term.at(state)
    optimizer = torch.optim.SGD([relaxation.point], lr=0.01)
    center = state.relaxation.autoencoder.encode_types(relaxation.autoencoder.graph.read(visited_paths(state)))[0].mean(
        0
    )
    before = (relaxation.point.detach() - center).norm()
    for _ in range(20):
        optimizer.zero_grad()
        regularizer(relaxation(None, 0.0).weights, 0.0, {"relaxation.point": relaxation.point}).backward()
        optimizer.step()
    assert (relaxation.point.detach() - center).norm() > 1.5 * before


def test_nothing_is_novel_before_anything_was_visited(data: ImageData, small: dict[str, Any]) -> None:
    state = begin(nas_bench_201(), data, small, Novelty())
    assert state.relaxation is not None
    weights = state.relaxation(None, 0.0).weights
    assert Novelty().at(state)(weights, 0.0, state.outer_parameters()).item() == 0.0


def test_the_archive_keeps_the_last_paths(data: ImageData, small: dict[str, Any]) -> None:
    state = begin(nas_bench_201(), data, small)
    drawn = [Archived(Relaxed(), 3)(state).drawn for _ in range(5)]
    assert visited_paths(state) == [[list(options) for options in path or ()] for path in drawn[-3:]]


def test_depth_is_counted_in_draws_around_the_point(data: ImageData, small: dict[str, Any]) -> None:
    space = tiny_cells()
    term = DecodedDepth(Constant(0.5), samples=7, deviation=0.3)
    state = begin(space, data, small, term)
    assert isinstance(state.relaxation, Latent)
    before = state.generator.get_state()
    regularizer = term.at(state)
    found = regularizer(torch.zeros(space.choices.shape), 0.0, state.outer_parameters())
    assert torch.equal(found, regularizer(torch.zeros(space.choices.shape), 0.0, state.outer_parameters()))
    state.generator.set_state(before)
    shifts = 0.3 * torch.randn(7, 8, generator=state.generator)
    noise = state.relaxation.gumbel(7, state.generator)
    counts = []
    for shift, each in zip(shifts, noise, strict=True):
        drawn = state.relaxation.autoencoder.decode(state.relaxation.point + shift, each).drawn
        assert drawn is not None
        # Node 0 reads state 1 by rows 1 and 6, node 1 reads node 0 by rows 4 and 9.
        counts.append(sum(len(drawn[row]) for row in (1, 4, 6, 9)))
    assert found.item() == pytest.approx(-0.5 * sum(counts) / 7)
    assert len(set(counts)) > 1


def test_descending_the_depth_term_makes_cells_deeper(data: ImageData, small: dict[str, Any]) -> None:
    term = DecodedDepth(Constant(1.0))
    state = begin(nas_bench_201(), data, small, term)
    optimizer = torch.optim.Adam(state.outer_parameters().values(), lr=0.3)
    values = []
    for _ in range(40):
        optimizer.zero_grad()
        value = term.at(state)(torch.zeros(6, 5), 0.0, state.outer_parameters())
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert sum(values[-5:]) / 5 < sum(values[:5]) / 5 - 0.2


def test_what_is_left_of_the_validation_loss() -> None:
    loss = Exploiting(Sigmoid(10.0))(
        lambda inner, outer: torch.tensor(4.0), lambda inner, outer: torch.tensor(9.0), 0.25
    )
    assert loss({}, {}).item() == pytest.approx(4.0 * (1 - Sigmoid(10.0)(0.25)))
    assert 0 < loss({}, {}).item() < 0.1


def test_terms_refuse_what_they_are_not_about(data: ImageData, small: dict[str, Any]) -> None:
    for term in (Novelty(), DecodedDepth()):
        method = replace(methods.gdas(), regularizers=(term,))
        with pytest.raises(ConfigError, match="reads the decoder of a latent relaxation; give the method"):
            search(nas_bench_201(), data, method, **small)
    with pytest.raises(ConfigError, match="has 24 dimensions, and its latent points 24; .* set latent below 24"):
        begin(nas_bench_201(), data, small, Novelty(), latent=24)
    begin(nas_bench_201(), data, small, Novelty(manifold=False), latent=24)
    with pytest.raises(ConfigError, match=r"deviation is 0\.0"):
        Novelty(deviation=0.0)
    with pytest.raises(ConfigError, match=r"deviation is -1"):
        DecodedDepth(deviation=-1.0)
    with pytest.raises(ConfigError, match="samples is 0"):
        DecodedDepth(samples=0)
    with pytest.raises(ConfigError, match="archive is for methods that train one path a step"):
        search(nas_bench_201(), data, replace(methods.darts(), sampler=Archived(Relaxed())), **small)
    with pytest.raises(ConfigError, match="size is 0"):
        Archived(Uniform(), 0)
