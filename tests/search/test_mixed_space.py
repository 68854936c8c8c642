"""Architectures with settings of their training."""

from pathlib import Path
from typing import Any

import pytest
import torch

from nas_augment import Policy
from nas_augment.published import randaugment
from nas_search import ConfigError, ImageData, SearchResult, methods, search
from nas_search.bundle import load_bundle, write_bundle
from nas_search.config import RunConfig
from nas_search.evaluation import NetworkCost, TrainAndValidate
from nas_search.hyperparameters import with_learned
from nas_search.mixed_space import SETTINGS, MixedSpace, Range, named, settle, training_settings
from nas_search.model_file import load_model
from nas_search.optimizers import SGD
from nas_search.runs import run_search
from nas_search.schedules import Cosine
from nas_search.state import SearchState
from nas_search.surrogate import Hamming, WeisfeilerLehman, suggest
from nas_search.training import TrainState
from nas_spaces import Architecture, ArchitectureError, InputError, UnknownSpaceError, darts, nas_bench_201
from nas_spaces.costs import operation_costs, places
from nas_spaces.latency import LatencyTable
from nas_spaces.testing import check_space

SPACE = MixedSpace(
    nas_bench_201(), {"learning_rate": Range(0.01, 1.0, True, 3), "weight_decay": SETTINGS["weight_decay"]}
)


@pytest.mark.parametrize("space", [SPACE, MixedSpace(darts(), tuple(SETTINGS))], ids=lambda space: space.name)
def test_it_obeys_the_laws_of_every_space(space: MixedSpace) -> None:
    check_space(space, samples=5)


def test_an_architecture_carries_its_settings() -> None:
    base = nas_bench_201().sample(torch.Generator().manual_seed(0))
    a = SPACE.join(base, (1, 15))
    assert str(a) == f"{base}@learning_rate=0.1,weight_decay=0.01"
    assert SPACE.split(a)[0] == base
    assert training_settings(SPACE, a) == pytest.approx({"learning_rate": 0.1, "weight_decay": 0.01})
    assert training_settings(SPACE.base, base) == {}
    assert SPACE.positions(a) == [0.5, 1.0]
    assert SPACE.size == 15_625 * 3 * 16
    assert SPACE.table_text(a) == str(base)
    assert SPACE.distance(a, SPACE.join(base, (2, 15))) == 0.5


def test_neighbours_are_a_step_away() -> None:
    base = nas_bench_201().sample(torch.Generator().manual_seed(0))
    near = list(SPACE.neighbors(SPACE.join(base, (0, 7))))
    assert len(near) == 24 + 1 + 2  # the lowest learning rate has one level beside it
    assert SPACE.join(base, (1, 7)) in near
    assert SPACE.join(base, (2, 7)) not in near


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "|none~0|",
            "is no architecture of nas_bench_201.learning_rate.weight_decay: expected one of nas_bench_201, then",
        ),
        ("x@learning_rate=0.1", "given was 'learning_rate=0.1'"),
        ("x@learning_rate=0.2,weight_decay=0.01", "given was 'learning_rate=0.2,weight_decay=0.01'"),
        ("x@learning_rate=0.1,weight_decay=0.01", "x"),
    ],
)
def test_what_does_not_parse(text: str, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        SPACE.parse(text)


def test_bad_ranges_and_levels_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"ranges from 1.0 to 0.5 in 16 levels; expected low < high"):
        Range(1.0, 0.5)
    with pytest.raises(ConfigError, match=r"in even ratios begins at 0.0; expected a number above 0"):
        Range(0.0, 0.5, logarithmic=True)
    with pytest.raises(
        ConfigError, match=r"from 0.1 to 0.1000001 in 16 levels, and some are the same in the six digits"
    ):
        Range(0.1, 0.1000001)
    with pytest.raises(ConfigError, match=r"settings .'momentum'. of a mixed space; expected some of learning_rate"):
        MixedSpace(nas_bench_201(), ("momentum",))
    with pytest.raises(
        ArchitectureError, match=r"levels .0, 16. of learning_rate, weight_decay; expected 0 to .2, 15."
    ):
        SPACE.join(nas_bench_201().architecture([0] * 6), (0, 16))
    with pytest.raises(InputError, match="has no supernet"):
        SPACE.supernet()


def test_a_mixed_space_has_a_name_that_it_is_found_by() -> None:
    space = named("nas-bench-201+weight_decay+learning-rate")
    assert isinstance(space, MixedSpace)
    assert space.name == "nas_bench_201+weight_decay+learning_rate"
    assert space.settings == {name: SETTINGS[name] for name in ("weight_decay", "learning_rate")}
    assert not isinstance(named("nas_bench_201"), MixedSpace)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        (
            "nas_bench_201+dropout",
            ConfigError,
            r"settings \['dropout'\] of a mixed space; expected some of learning_rate",
        ),
        ("nas_bench_201+", ConfigError, r"settings \[''\] of a mixed space"),
        ("darts+weight_decay+weight-decay", ConfigError, "has a setting twice"),
        ("nas_bench+weight_decay", UnknownSpaceError, "did you mean 'nas_bench_201'"),
    ],
)
def test_names_of_no_space_are_refused(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        named(name)


def test_a_finished_search_is_read_back_and_goes_on(data: ImageData, small: dict[str, Any], tmp_path: Path) -> None:
    """Its result has the architecture and the settings apart."""
    space = MixedSpace(nas_bench_201(), ("learning_rate",))
    method = methods.random_search(evaluator=NetworkCost())
    first = search(space, data, method, **small, out=tmp_path)
    again = search(space, data, method, **small, out=tmp_path, resume=True)
    for read in (SearchResult.load(tmp_path, space), SearchResult.load(tmp_path), again):
        assert read.architecture == first.architecture
        assert read.hyperparameters == first.hyperparameters
        assert read.candidates == first.candidates


def test_a_trained_network_is_read_back_with_the_space_that_was_searched(tmp_path: Path) -> None:
    config = RunConfig(
        space="nas_bench_201+learning_rate", method="random_search", data="fake:1x8x8", epochs=1, batch_size=16, channels=4,
        cells=1, train_epochs=1, device="cpu", settings={"candidate_epochs": 1},
    )  # fmt: skip
    run_search(config, tmp_path / "run")
    write_bundle(tmp_path / "run", tmp_path / "found.zip", space=named(config.space))
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    networks = [load_model(tmp_path / "run" / "model.pt", space) for space in (named(config.space), None)]
    assert torch.equal(*(network.eval()(images) for network in networks))
    again = run_search(config, tmp_path / "run", resume=True)
    assert again["architecture"] == str(load_bundle(tmp_path / "found.zip", space=named(config.space)).architecture)


def test_training_uses_the_settings(monkeypatch: pytest.MonkeyPatch, data: ImageData, small: dict[str, Any]) -> None:
    space = MixedSpace(nas_bench_201(), tuple(SETTINGS))
    settings = small | {"seed": 0, "device": torch.device("cpu")}
    state = SearchState(space, data, methods.random_search(), **settings)
    seen: list[Any] = []

    def make(*arguments: Any, **named: Any) -> TrainState:
        seen.append(named)
        return TrainState(*arguments, **named)

    monkeypatch.setattr("nas_search.evaluation.train_and_validate.TrainState", make)
    base = nas_bench_201().sample(torch.Generator().manual_seed(0))
    architecture = space.join(base, (0, 15, 5))
    assert 0 <= TrainAndValidate(1)(architecture, state) <= 1
    (given,) = seen
    assert given["optimizer"].learning_rate == Cosine(SETTINGS["learning_rate"].values[0])
    assert given["optimizer"].weight_decay == pytest.approx(1e-2)
    assert given["policy"].stages == randaugment(1, 10, before=state.policy.decide().stages).decide().stages
    TrainAndValidate(1)(space.join(base, (0, 15, 0)), state)
    assert seen[1]["policy"].stages == state.policy.decide().stages
    assert (
        NetworkCost()(architecture, state)
        == nas_bench_201().count(base, image=(1, 8, 8), classes=4, channels=4, cells=1).parameters
    )


def test_a_latency_table_is_a_cost(data: ImageData, small: dict[str, Any]) -> None:
    space, settings = nas_bench_201(), small | {"seed": 0, "device": torch.device("cpu")}
    state = SearchState(space, data, methods.random_search(), **settings)
    sizes: dict[str, Any] = {"image": (1, 8, 8), "classes": 4, "channels": 4, "cells": 1}
    table = LatencyTable({place.key: 0.5 for place in places(space, **sizes)})
    architecture = space.architecture([3, 1, 0, 2, 4, 0])
    expected = operation_costs(space, measure=table, **sizes).of(space.weights(architecture))
    assert NetworkCost(table)(architecture, state) == float(expected) > 0
    twice = LatencyTable({key: 2 * seconds for key, seconds in table.seconds.items()})
    assert NetworkCost(twice)(architecture, state) == 2 * float(expected)


def test_the_process_learns_from_both_parts() -> None:
    """Half of the score is the first edge's, half is the learning rate's, which is best in the middle of its range."""
    space = MixedSpace(nas_bench_201(), ("learning_rate",))

    def worth(a: Architecture) -> float:
        return (a.options[0] == (3,)) - 4 * (space.positions(a)[0] - 0.5) ** 2

    generator = torch.Generator().manual_seed(0)
    observed = [(a, worth(a)) for a in (space.sample(generator) for _ in range(50))]
    pool = [space.sample(generator) for _ in range(200)]
    for kernel in (Hamming(), WeisfeilerLehman()):
        chosen = suggest(space, observed, pool, count=2, kernel=kernel, generator=generator)
        assert all(abs(space.positions(a)[0] - 0.5) < 0.25 for a in chosen), kernel
        assert chosen[0].options[0] == (3,)


@pytest.mark.parametrize("name", ["random_search", "regularized_evolution", "local_search", "bayesian_optimization"])
def test_every_black_box_method_searches_it(name: str, data: ImageData, small: dict[str, Any]) -> None:
    make = getattr(methods, name)
    more = {
        "bayesian_optimization": {"initial": 2, "pool": 20},
        "regularized_evolution": {"population": 2, "tournament": 1},
    }
    method = make(evaluator=lambda a, state: -abs(SPACE.positions(a)[0] - 0.5), **more.get(name, {}))
    result = search(SPACE, data, method, **small | {"epochs": 4})
    assert nas_bench_201().parse(str(result.architecture)) == result.architecture
    assert set(result.hyperparameters) == {"learning_rate", "weight_decay", "schedule"}


def test_what_was_found_is_taken_apart_for_the_training(data: ImageData, small: dict[str, Any], tmp_path: Path) -> None:
    space = MixedSpace(nas_bench_201(), tuple(SETTINGS))
    method = methods.random_search(evaluator=lambda a, state: space.positions(a)[2])
    result = search(space, data, method, **small | {"epochs": 5}, out=tmp_path)
    again = SearchResult.load(tmp_path)
    assert (again.architecture, again.policy, again.hyperparameters) == (
        result.architecture,
        result.policy,
        result.hyperparameters,
    )
    assert result.architecture.space == "nas_bench_201"
    first = again.candidates[0]
    assert again.candidates == result.candidates
    assert (first.architecture, first.score) == (result.architecture, result.metrics["selected_accuracy"])
    assert first.hyperparameters.items() >= {name: result.hyperparameters[name] for name in ("learning_rate",)}.items()
    assert len(result.policy.stages) == len(data.policy.stages) + 1
    trained = with_learned(SGD(), result.hyperparameters)
    assert trained.learning_rate(0.0) == result.hyperparameters["learning_rate"]
    assert trained.learning_rate(1.0) == pytest.approx(0.0, abs=1e-12)
    assert settle(nas_bench_201(), result.architecture, Policy()) == (result.architecture, Policy(), {})
