"""E2NAS: its equations in the loop, checkpoints, spaces, and the settings that contradict each other."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nas_search import ConfigError, ImageData, Method, RunFolderError, methods, search
from nas_search.batches import Batch
from nas_search.config import RunConfig
from nas_search.exploration import Novelty, visited_paths
from nas_search.latent_space import LatentSpace
from nas_search.losses import Replay
from nas_search.objective import Objective
from nas_search.relaxations import Latent
from nas_search.runs import run_search
from nas_search.state import SearchState
from nas_search.testing import check_method
from nas_spaces import SearchSpace, amended_s1, darts, mobile, nas_bench_201
from nas_spaces.darts import darts as darts_space

TINY: dict[str, Any] = {"autoencoder_epochs": 1, "autoencoder_samples": 64, "latent": 4, "hidden": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("autoencoders")


def tiny(name: str, folder: Path, space: SearchSpace | None = None, **settings: Any) -> Method:
    file = folder / f"{(space or nas_bench_201()).name}.pt"
    return getattr(methods, name)(autoencoder=str(file), **{**TINY, **settings})


def begin(method: Method, data: ImageData, small: dict[str, Any]) -> SearchState:
    return SearchState(nas_bench_201(), data, method, seed=0, **small | {"device": torch.device("cpu")})


def test_the_point_moves_along_equation_4_7(folder: Path, data: ImageData, small: dict[str, Any]) -> None:
    """``(1 - gamma) grad L_valid + gamma grad L_N``, each taken alone on the same draw; gamma is 0.5 half-way."""
    state = begin(tiny("e2nas", folder), data, small)
    for _ in range(3):
        state.advance()
    state.epoch, state.step = 1, 0
    assert state.progress == 0.5
    assert len(visited_paths(state)) == 3
    objective = Objective(state, Batch(state.train, state.valid, 0))
    inner, outer = dict(state.require_supernet().named_parameters()), state.outer_parameters()
    (found,) = torch.autograd.grad(objective.outer_loss(inner, outer), list(outer.values()))
    (valid,) = torch.autograd.grad(objective.valid_loss(inner, outer), list(outer.values()))
    term = Novelty(lambda progress: 1.0).at(state)
    novelty = term(objective._choose(outer).weights, 0.5, outer)
    (away,) = torch.autograd.grad(novelty, list(outer.values()))
    torch.testing.assert_close(found, 0.5 * valid + 0.5 * away)
    assert min(valid.abs().max(), away.abs().max()) > 0


def test_a_step_trains_three_paths_and_remembers_the_first(
    folder: Path, data: ImageData, small: dict[str, Any]
) -> None:
    state = begin(tiny("e2nas", folder), data, small)
    paths: list[Any] = []
    state.require_supernet().register_forward_pre_hook(lambda _module, inputs: paths.append(inputs[2]))
    update = state.method.updates[0]
    for number, expected in enumerate((2, 3, 3)):
        paths.clear()
        update(state, Batch(state.train, state.valid, number))
        assert len(paths) == expected  # the first has no path before it, and what complements it is itself
        assert [list(options) for options in paths[0]] == visited_paths(state)[-1]
    assert [list(options) for options in paths[1]] == visited_paths(state)[-2]
    assert all({*a} <= {*b} | {*c} and not {*b} & {*c} for a, b, c in zip(*paths, strict=True))
    assert isinstance(state.method.loss, Replay)
    assert state.method.loss.beta == 0.5


def test_nothing_is_left_of_parts_that_are_off(folder: Path, data: ImageData, small: dict[str, Any]) -> None:
    method = tiny("e2nas", folder, exploration=0.0, epsilon=0.0)
    assert not method.regularizers
    state = begin(method, data, small)
    objective = Objective(state, Batch(state.train, state.valid, 0))
    inner, outer = dict(state.require_supernet().named_parameters()), state.outer_parameters()
    assert objective.outer_loss(inner, outer).item() == objective.valid_loss(inner, outer).item()
    search(nas_bench_201(), data, replace(method, steps=1), **small)


def test_the_regularised_method_adds_the_depth(folder: Path, data: ImageData, small: dict[str, Any]) -> None:
    plain, deep = tiny("e2nas", folder), tiny("e2nas_r", folder, depth=0.3)
    assert len(deep.regularizers) == len(plain.regularizers) + 1
    state = begin(deep, data, small)
    objective = Objective(state, Batch(state.train, state.valid, 0))
    inner, outer = dict(state.require_supernet().named_parameters()), state.outer_parameters()
    left = 1 - 1 / (1 + torch.tensor(-10.0).exp().item())
    found = objective.outer_loss(inner, outer) - left * objective.valid_loss(inner, outer)
    assert -0.9 <= found.item() < 0  # three connections between successive nodes at most


def test_the_search_does_not_depend_on_who_trained_the_autoencoder(
    tmp_path: Path, folder: Path, data: ImageData, small: dict[str, Any]
) -> None:
    """Made in this search, or read from a file: the initial point, the draws and the result are the same."""
    made = search(nas_bench_201(), data, tiny("e2nas", tmp_path), **small | {"epochs": 1})
    read = search(nas_bench_201(), data, tiny("e2nas", tmp_path), **small | {"epochs": 1})
    assert made.history[0]["valid_loss"] == read.history[0]["valid_loss"]
    assert made.architecture == read.architecture


def test_a_checkpoint_has_the_autoencoder(tmp_path: Path, data: ImageData, small: dict[str, Any]) -> None:
    """A search goes on bit for bit also where the file was lost in between and is made anew by another machine."""
    state = begin(tiny("e2nas", tmp_path), data, small)
    state.advance()
    saved = deepcopy(state.state_dict())
    other = begin(tiny("e2nas", tmp_path), data, small)
    assert isinstance(other.relaxation, Latent)
    with torch.no_grad():
        other.relaxation.autoencoder.logits.weight.mul_(0.5)
    other.load_state_dict(saved)
    other.epoch, other.step = state.epoch, state.step
    first, second = state.advance(), other.advance()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("space", [darts_space(), amended_s1()], ids=lambda space: space.name)
@pytest.mark.parametrize("name", ["e2nas", "e2nas_r"])
def test_cells_are_searched(
    name: str, space: SearchSpace, folder: Path, data: ImageData, small: dict[str, Any]
) -> None:
    settings = small | {"cells": 3, "channels": 4, "epochs": 1, "batch_size": 4}
    result = search(space, data, replace(tiny(name, folder, space), steps=2), **settings)
    assert space.parse(str(result.architecture)) == result.architecture


@pytest.mark.parametrize("space", [mobile(), darts(inputs=True)], ids=lambda space: space.name)
def test_other_spaces_are_refused(space: SearchSpace, folder: Path, data: ImageData, small: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"space '{space.name}' has no cells"):
        search(space, data, tiny("e2nas", folder, space), **small)


def test_the_released_gradient_is_an_option(folder: Path, data: ImageData, small: dict[str, Any]) -> None:
    method = tiny("e2nas", folder / "shortcut", latent=30, shortcut=True, exploration=0.0)
    assert search(nas_bench_201(), data, method, **small | {"epochs": 1}).method == "e2nas"
    with pytest.raises(ConfigError, match="latent points 30; .* set latent below 24"):
        search(nas_bench_201(), data, tiny("e2nas", folder / "shortcut", latent=30), **small)
    with pytest.raises(ConfigError, match="more latent coordinates than Lemma 2 allows; .*manifold=False"):
        tiny("e2nas", folder, latent=30, shortcut=True)


def test_a_shortcut_that_does_not_fit_is_refused_before_the_training(
    tmp_path: Path, data: ImageData, small: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="its 4 coordinates are no 30"):
        search(nas_bench_201(), data, tiny("e2nas", tmp_path, shortcut=True, exploration=0.0), **small)
    assert not list(tmp_path.iterdir())


def test_a_search_tells_its_observers_of_the_training(tmp_path: Path, data: ImageData, small: dict[str, Any]) -> None:
    """And refuses a folder that is taken before it."""
    runs: list[str] = []
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").touch()
    settings: dict[str, Any] = small | {"epochs": 1, "observers": [lambda event: runs.append(event.run)]}
    method = replace(tiny("e2nas", tmp_path), steps=1)
    with pytest.raises(RunFolderError, match="taken exists and holds other files"):
        search(nas_bench_201(), data, method, out=tmp_path / "taken", **settings)
    config = RunConfig(method="e2nas", data="fake:1x8x8", settings={**TINY, "autoencoder": str(tmp_path / "a.pt")})
    with pytest.raises(RunFolderError, match="taken exists and holds other files"):
        run_search(config, tmp_path / "taken", observers=settings["observers"])
    assert not runs
    search(nas_bench_201(), data, method, **settings)
    assert list(dict.fromkeys(runs)) == ["autoencoder", "search"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"exploration": -1.0}, "exploration is -1.0"),
        ({"epsilon": 1.5}, "epsilon 1.5"),
        ({"archive": 0}, "archive is 0"),
        ({"autoencoder_epochs": 0}, "autoencoder_epochs is 0"),
        ({"depth_samples": 0}, "depth_samples is 0"),
    ],
)
def test_bad_settings_are_named_as_they_were_given(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        methods.e2nas_r(**settings)


def test_a_run_shows_the_training_of_the_autoencoder_once(tmp_path: Path) -> None:
    settings = {**TINY, "autoencoder": str(tmp_path / "autoencoder.pt")}
    config = RunConfig(
        method="e2nas", data="fake:1x8x8", epochs=1, train_epochs=0, channels=4, settings=settings, device="cpu"
    )
    for turn, expected in enumerate(([("autoencoder", 1), ("search", 1)], [("search", 1)])):
        seen: list[tuple[str, int]] = []
        run_search(
            config,
            tmp_path / str(turn),
            observers=[lambda e, seen=seen: seen.append((e.run, e.epoch)) if e.kind == "epoch" else None],
        )
        assert seen == expected


def test_a_temperature_is_positive() -> None:
    with pytest.raises(ConfigError, match="temperature goes from 0.0"):
        methods.e2nas(temperature=0.0)
    assert LatentSpace().settings.latent == 0


@pytest.mark.slow
@pytest.mark.no_cover
def test_the_architecture_that_explains_the_labels_is_found(tmp_path: Path, small: dict[str, Any]) -> None:
    """As for DARTS and GDAS: ``none`` on every edge into the output would leave nothing to learn from."""
    from nas_search.data_sources import fake

    method = methods.e2nas(
        autoencoder=str(tmp_path / "autoencoder.pt"),
        autoencoder_epochs=8,
        autoencoder_samples=2000,
        architecture_learning_rate=0.05,
        learning_rate=0.1,
    )
    result = search(nas_bench_201(), fake("1x8x8", count=256, classes=4), method, **small | {"epochs": 12})
    assert [options for options in result.architecture.options[3:] if options != (0,)]


@pytest.mark.slow
def test_variants_obey_the_laws(tmp_path: Path) -> None:
    check_method(tiny("e2nas", tmp_path, exploration=0.0, epsilon=0.0))
    check_method(tiny("e2nas", tmp_path, manifold=False))
