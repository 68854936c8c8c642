"""Samplers that read the archive: evolution, local search, Bayesian optimisation, and their candidates."""

from typing import Any

import pytest
import torch

from nas_search import ConfigError, ImageData, methods
from nas_search.samplers import Bayesian, Evolution, Local
from nas_search.samplers.candidates import candidates
from nas_search.state import SearchState
from nas_spaces import Architecture, nas_bench_201
from nas_spaces.chain import chain


@pytest.fixture
def state(data: ImageData, small: dict[str, Any]) -> SearchState:
    settings = small | {"seed": 0, "device": torch.device("cpu")}
    return SearchState(nas_bench_201(), data, methods.random_search(), **settings)


def proposed(sampler: Any, state: SearchState) -> Architecture:
    return state.space.discretize(sampler(state).weights)


def test_evolution_mutates_the_best_of_the_youngest(state: SearchState) -> None:
    space = nas_bench_201()
    old, young = space.architecture([3] * 6), [space.architecture([0, 0, 0, 0, 0, k]) for k in range(4)]
    state.archive = [(str(old), 9.0), *((str(a), float(k)) for k, a in enumerate(young))]
    children = [proposed(Evolution(4, 4), state) for _ in range(200)]
    distances = [min(space.distance(child, parent) for parent in young) for child in children]
    assert all(distance <= 1 for distance in distances)
    assert all(space.distance(child, old) > 1 for child in children)  # the best of all is too old to be a parent
    near_best = sum(space.distance(child, young[3]) == 1 for child in children)
    assert near_best > 100  # the best of four draws of four is the best one with 1 - (3/4)^4 = 68 %


def test_evolution_begins_at_random(state: SearchState) -> None:
    assert len({proposed(Evolution(10, 3), state) for _ in range(20)}) > 10


def test_local_search_climbs_and_starts_again_on_the_top(state: SearchState) -> None:
    space = nas_bench_201()
    here = space.architecture([3] * 6)
    state.archive = [(str(here), 1.0)]
    seen = set()
    for _ in range(24):
        near = proposed(Local(), state)
        assert space.distance(near, here) == 1
        assert near not in seen
        seen.add(near)
        state.archive.append((str(near), 0.5))
    start = proposed(Local(), state)  # all 24 neighbours are worse: anywhere
    state.archive.append((str(start), 0.1))
    assert space.distance(proposed(Local(), state), start) == 1
    better = proposed(Local(), state)
    state.archive.append((str(better), 0.2))
    assert space.distance(proposed(Local(), state), better) == 1


def test_candidates_are_new_and_half_of_them_near_the_best() -> None:
    space = nas_bench_201()
    generator = torch.Generator().manual_seed(0)
    scored = [(space.sample(generator), float(k)) for k in range(20)]
    pool = candidates(space, scored, 100, generator)
    assert len(pool) == len(set(pool)) == 100
    assert not set(pool) & {a for a, _ in scored}
    best = max(scored, key=lambda entry: entry[1])[0]
    assert sum(space.distance(a, best) == 1 for a in pool) >= 24
    assert sum(min(space.distance(a, b) for b, _ in scored[-10:]) <= 3 for a in pool) >= 40


def test_a_space_that_is_exhausted_gives_no_candidates(state: SearchState) -> None:
    tiny = chain(1, {"a": lambda *_: torch.nn.Identity(), "b": lambda *_: torch.nn.Identity()})
    scored = [(a, 0.0) for a in tiny]
    assert candidates(tiny, scored, 10, torch.Generator()) == []


def test_bad_settings_are_refused() -> None:
    for make in (lambda: Evolution(3, 4), lambda: Evolution(0, 0), lambda: Bayesian(1), lambda: Bayesian(10, 0)):
        with pytest.raises(ConfigError, match="expected"):
            make()
