"""EN2AS: novelty and the step of the evolution strategy against their equations, and what becomes of the archive."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nas_search import ConfigError, ImageData, methods, search
from nas_search.archive import novelties, novelty
from nas_search.encodings import Encoding, Integers, Logits, behavior
from nas_search.samplers import Evolution, Novelty, Uniform
from nas_search.selection import BestSampled
from nas_search.state import SearchState
from nas_search.testing import check_method
from nas_spaces import Architecture, SearchSpace, catalog, darts, nas_bench_201

SPACES = {name: catalog.space(name) for name in catalog.names()}
SPACES |= {"darts_free": darts(free=True), "darts_inputs": darts(inputs=True)}
SPACES |= {"darts_depth_constrained": darts(depth_constrained=True)}


def begin(space: SearchSpace, seed: int = 0) -> Any:
    """As much of a search as the sampler looks at."""
    return SimpleNamespace(space=space, generator=torch.Generator().manual_seed(seed), memory={})


@pytest.mark.parametrize("encoding", [Logits(), Integers()], ids=["logits", "integers"])
@pytest.mark.parametrize("name", SPACES)
def test_what_is_encoded_is_decoded_and_any_numbers_are_an_architecture(name: str, encoding: Encoding) -> None:
    space, generator = SPACES[name], torch.Generator().manual_seed(0)
    for _ in range(10):
        architecture = space.sample(generator)
        values = encoding.encode(space, architecture)
        assert encoding.decode(space, values) == architecture
        torch.testing.assert_close(encoding.bound(space, values), values)
        # A step of less than half of what lies between two architectures changes nothing.
        assert encoding.decode(space, values + 0.4 * torch.rand(values.shape, generator=generator)) == architecture
        anywhere = encoding.decode(space, values + 5 * torch.randn(values.shape, generator=generator))
        assert space.parse(str(anywhere)) == anywhere


def test_bounds_are_a_ball_and_a_box() -> None:
    space = nas_bench_201()
    far = 100 * torch.randn(space.choices.shape, generator=torch.Generator().manual_seed(0))
    assert Logits().bound(space, far).norm() == pytest.approx(math.sqrt(30))
    assert Logits().decode(space, Logits().bound(space, far)) == Logits().decode(space, far)
    assert Integers().bound(space, torch.tensor([-3.0, 9.0, 1.2, 4.0, 4.4, 0.0])).tolist() == pytest.approx(
        [0.0, 4.0, 1.2, 4.0, 4.0, 0.0]
    )


def test_the_integers_of_a_node_are_its_edges_and_operations() -> None:
    space = darts(free=True)
    text = "|sep_conv_3x3~0|none~1|+|skip_connect~0|dil_conv_5x5~2|+|none~0|none~0|+|none~0|none~4|"
    architecture = space.parse(f"normal:{text};reduce:{text}")
    numbers = [0, 4, 1, 0, 0, 3, 2, 7, 0, 0, 0, 0, 0, 0, 4, 0]
    assert Integers().encode(space, architecture).tolist() == numbers * 2


def test_the_distance_is_0_for_equal_1_for_disjoint_and_the_root_of_the_share_between() -> None:
    space = nas_bench_201()
    points = torch.stack([behavior(space, space.architecture(o)) for o in ([0] * 6, [1] * 6, [0, 0, 0, 1, 2, 3])])
    expected = torch.tensor([[0.0, 1.0, math.sqrt(0.5)], [1.0, 0.0, math.sqrt(5 / 6)]])
    torch.testing.assert_close(torch.cdist(points[:2], points), expected)


def test_novelties_are_those_of_each_point() -> None:
    generator = torch.Generator().manual_seed(0)
    points, archive = torch.randn(4, 3, generator=generator), torch.randn(7, 3, generator=generator)
    for neighbors in (1, 3, 50):
        each = [novelty([float((point - other).norm()) for other in archive], neighbors) for point in points]
        assert novelties(points, archive, neighbors).tolist() == pytest.approx(each, rel=1e-5)
    with pytest.raises(ConfigError, match="0 neighbours"):
        novelties(points, archive, 0)


def run(sampler: Novelty, state: Any, steps: int) -> list[Architecture]:
    return [state.space.discretize(sampler(state).weights) for _ in range(steps)]


@pytest.mark.parametrize("encoding", [Logits(), Integers()], ids=["logits", "integers"])
@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0])
def test_a_step_is_that_of_equation_2_6(tau: float, encoding: Encoding) -> None:
    """The move of one member, written out with lists: distances, neighbours, baseline, deviation."""

    def reward(architecture: Architecture, state: Any) -> float:
        return str(architecture).count("skip_connect") / 6

    state, space = begin(nas_bench_201()), nas_bench_201()
    sampler = Novelty(8, 3, 5, 0.8, 0.7, encoding, True, tau, reward)
    first = run(sampler, state, 8)
    random = state.generator.get_state()
    member = encoding.encode(space, first[0])
    state.generator.set_state(random)
    noise = torch.randn((5, *member.shape), generator=state.generator)
    fitness = []
    for each in noise:
        made = encoding.decode(space, member + 0.8 * each)
        near = [math.sqrt(space.distance(made, other) / 6) for other in first[1:]]
        fitness.append((1 - tau) * novelty(near, 3) + tau * reward(made, state))
    mean = sum(fitness) / 5
    deviation = math.sqrt(sum((f - mean) ** 2 for f in fitness) / 5)
    move = sum(((f - mean) / deviation * each for f, each in zip(fitness, noise, strict=True)), torch.zeros(()))
    expected = encoding.bound(space, member + 0.7 * move / (5 * 0.8))
    state.generator.set_state(random)
    drawn = run(sampler, state, 1)[0]
    torch.testing.assert_close(state.memory["novelty_archive"][0], expected)
    assert drawn == encoding.decode(space, expected)
    torch.testing.assert_close(state.memory["novelty_behaviors"][0], behavior(space, drawn))
    assert state.memory["novelty_turn"] == 1


def test_a_raw_step_has_no_baseline() -> None:
    """One perturbation has no deviation, and a standardised step does not move; the raw one is novelty times noise."""
    states = [begin(nas_bench_201()) for _ in range(2)]
    for state, standardized in zip(states, (True, False), strict=True):
        sampler = Novelty(4, 3, 1, 1.0, 2.0, standardized=standardized)
        run(sampler, state, 4)
        before, random = state.memory["novelty_archive"][0], state.generator.get_state()
        noise = torch.randn((6, 5), generator=state.generator)
        made = behavior(state.space, state.space.discretize(before + noise))[None]
        found = float(novelties(made, state.memory["novelty_behaviors"][1:], 3))
        state.generator.set_state(random)
        run(sampler, state, 1)
        expected = before if standardized else Logits().bound(state.space, before + 2 * found * noise)
        torch.testing.assert_close(state.memory["novelty_archive"][0], expected)


def spread(points: torch.Tensor) -> float:
    """The mean over the points of the mean distance to the ten nearest of the others."""
    others = [torch.cat([points[:place], points[place + 1 :]]) for place in range(len(points))]
    return sum(float(novelties(points[place][None], rest, 10)) for place, rest in enumerate(others)) / len(points)


@pytest.mark.parametrize(("name", "deviations"), [("nas_bench_201", 4), ("darts", 3)])
def test_what_is_trained_is_more_diverse_than_uniform_architectures(name: str, deviations: int) -> None:
    """A round through the archive trains each member once: it is compared with as many uniform architectures."""
    space, generator = SPACES[name], torch.Generator().manual_seed(7)
    uniform = torch.tensor(
        [spread(torch.stack([behavior(space, space.sample(generator)) for _ in range(50)])) for _ in range(12)]
    )
    state, sampler = begin(space, 1), Novelty(50)
    run(sampler, state, 6 * 50)
    last = run(sampler, state, 50)
    drawn = spread(torch.stack([behavior(space, architecture) for architecture in last]))
    assert drawn > uniform.mean() + deviations * uniform.std()


@pytest.mark.parametrize(
    ("sampler", "least", "most"),
    [
        (Novelty(20), 0.4, 1.0),
        (Novelty(20, encoding=Integers(), step_size=1.0), 0.4, 1.0),
        (Novelty(20, encoding=Integers(), step_size=0.01, standardized=False), 0.0, 0.0),
    ],
    ids=["default", "integers", "released"],
)
def test_the_default_step_moves_architectures_and_the_released_one_none(
    sampler: Novelty, least: float, most: float
) -> None:
    state = begin(nas_bench_201())
    before = run(sampler, state, 20)
    changed = 0
    for _ in range(10):
        after = run(sampler, state, 20)
        changed += sum(a != b for a, b in zip(before, after, strict=True))
        before = after
    assert least <= changed / 200 <= most


def test_the_archive_does_not_grow() -> None:
    state = begin(nas_bench_201())
    run(Novelty(10), state, 50)
    assert state.memory["novelty_archive"].shape == (10, 6, 5)
    assert state.memory["novelty_behaviors"].shape == (10, 30)


SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "integers": {"encoding": "integers"},
    "reward": {"tau": 0.5, "reward_images": 16},
    "evolution": {"selection": "evolution"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_variants_search_and_resume(name: str) -> None:
    """With an archive of three the four steps of an epoch move it."""
    check_method(methods.en2as(archive=3, perturbations=2, samples=12, **SETTINGS[name]))


def test_checkpoints_hold_the_archive(data: ImageData, small: dict[str, Any]) -> None:
    """The archive of a step that was saved is not that of the next one."""
    settings = small | {"seed": 0, "device": torch.device("cpu")}
    state = SearchState(nas_bench_201(), data, methods.en2as(archive=4), **settings)
    for _ in range(6):
        state.method.sampler(state)
    saved = state.memory["novelty_archive"]
    copy = saved.clone()
    for _ in range(4):
        state.method.sampler(state)
    assert torch.equal(saved, copy)
    assert not torch.equal(state.memory["novelty_archive"], copy)


def test_settings_reach_the_parts() -> None:
    made = methods.en2as(archive=7, tau=0.25, selection="evolution", encoding="integers", reward_images=8)
    assert isinstance(made.sampler, Novelty)
    assert (made.sampler.size, made.sampler.tau, made.sampler.encoding) == (7, 0.25, Integers())
    assert isinstance(made.selector, BestSampled)
    assert made.selector.sampler == Evolution()
    plain = methods.en2as()
    assert isinstance(plain.sampler, Novelty)
    assert isinstance(plain.selector, BestSampled)
    assert (plain.sampler.reward, plain.selector.sampler) == (None, Uniform())


def test_what_makes_no_sense_is_refused(data: ImageData, small: dict[str, Any]) -> None:
    unknown: list[dict[str, Any]] = [{"encoding": "text"}, {"selection": "best"}]
    for settings in unknown:
        with pytest.raises(ConfigError, match=r"of en2as is .*; expected"):
            methods.en2as(**settings)
    refused: list[dict[str, Any]] = [{"size": 1}, {"neighbors": 0}, {"perturbations": 0}, {"sigma": 0.0}]
    refused += [{"step_size": -1.0}, {"tau": 1.5}, {"tau": 0.5}]
    for parts in refused:
        with pytest.raises(ConfigError, match=r"expected|needs"):
            Novelty(**parts)
    black_box = replace(methods.random_search(candidate_epochs=1), sampler=Novelty(2, tau=0.5, reward=raising))
    with pytest.raises(RuntimeError, match="asked"):
        search(nas_bench_201(), data, black_box, **small | {"epochs": 3})


def raising(architecture: Architecture, state: SearchState) -> float:
    raise RuntimeError("asked")
