from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nas_search import ConfigError, ImageData, methods, search
from nas_search.batches import Batch
from nas_search.model_file import load_model
from nas_search.recovery import RecoverCodes, TrainAnew
from nas_search.relaxations import SparseCode
from nas_search.roles import Event
from nas_search.state import SearchState
from nas_search.text_sources import fake_text
from nas_search.updates import OuterStep
from nas_spaces import SearchSpace, darts, darts_rnn, nas_bench_1shot1, nas_bench_201


def make(data: ImageData, small: dict[str, Any], method: Any) -> tuple[SearchState, Batch]:
    state = SearchState(nas_bench_201(), data, method, **small | {"seed": 0, "device": torch.device("cpu")})
    return state, Batch(state.train, state.valid, 0)


def test_codes_are_recovered_in_the_last_step_of_an_epoch(data: ImageData, small: dict[str, Any]) -> None:
    state, batch = make(data, small, methods.ista())
    assert isinstance(state.relaxation, SparseCode)
    with torch.no_grad():
        state.relaxation.measurements.normal_(generator=torch.Generator().manual_seed(1))
    before = state.relaxation.codes.clone()
    assert RecoverCodes()(state, batch) == {}
    assert torch.equal(state.relaxation.codes, before)
    state.step = state.steps - 1
    assert RecoverCodes()(state, batch)["frozen"] == 0
    assert not torch.equal(state.relaxation.codes, before)


def test_a_second_stage_within_an_epoch_has_the_codes_of_then_and_keeps_the_limits(
    data: ImageData, small: dict[str, Any]
) -> None:
    most = 5000.0
    method = methods.sequential_dha(max_parameters=most)
    state, batch = make(data, small | {"epochs": 1}, method)
    assert isinstance(state.relaxation, SparseCode)
    with torch.no_grad():
        state.relaxation.measurements.normal_(generator=torch.Generator().manual_seed(1))
    (anew,) = (update for update in method.updates if isinstance(update, TrainAnew))
    state.step = state.steps - 1
    anew(state, batch)
    settled = state.space.discretize(state.relaxation.probabilities())
    assert state.space.count(settled, image=(1, 8, 8), classes=4, channels=4, cells=1).parameters <= most


def test_one_stage_searches_until_all_nodes_are_frozen(data: ImageData, small: dict[str, Any]) -> None:
    result = search(darts(), data, methods.ista(1, freeze=0.0), **small)
    assert [record["frozen"] for record in result.history] == [0.0, 0.0]
    assert "valid_loss" not in result.history[0]


@pytest.mark.parametrize("space", [darts(), nas_bench_201()], ids=lambda space: space.name)
def test_one_stage_trains_on_when_the_search_is_over(
    space: SearchSpace, data: ImageData, small: dict[str, Any], tmp_path: Path
) -> None:
    """From the termination on the measurements rest and the weights move; the network at the end is the supernet."""
    kept: dict[int, dict[str, torch.Tensor]] = {}
    states: list[SearchState] = []

    def note(event: Event) -> None:
        assert isinstance(event.state, SearchState)
        states.append(event.state)
        if event.kind == "epoch":
            modules = event.state.require_supernet(), event.state.relaxation
            kept[event.epoch] = {
                f"{index}.{name}": value.detach().clone()
                for index, module in enumerate(modules)
                if module is not None
                for name, value in module.state_dict().items()
            }

    settings = small | {"epochs": 3, "cells": {"darts": 3}.get(space.name, 1)}
    result = search(space, data, methods.ista(1, freeze=10.0), out=tmp_path, observers=(note,), **settings)
    assert [record["frozen"] for record in result.history] == [1.0] * 3
    assert len({record["architecture"] for record in result.history}) == 1
    first, last = (kept[epoch] for epoch in (min(kept), max(kept)))
    moved = {name for name in first if not torch.equal(first[name], last[name])}
    assert moved
    assert all(name.startswith("0.") for name in moved)

    state = states[-1]
    assert state.relaxation is not None
    assert result.network is not None
    images = data.train.images[:16]
    with torch.no_grad():
        torch.testing.assert_close(load_model(tmp_path / "model.pt", space)(images), result.network(images))
        expected = state.require_supernet()(state.normalize(images), *state.relaxation(None, 1.0))
        result.network.train()  # with the statistics of these images, as the supernet has them
        torch.testing.assert_close(result.network(images), expected, rtol=1e-4, atol=1e-5)


def test_a_space_without_networks_to_inherit_is_refused_before_the_search(small: dict[str, Any]) -> None:
    given = darts_rnn(), fake_text(8, count=400, time=4)
    with pytest.raises(ConfigError, match=r"no network can be taken out of a supernet of darts_rnn.*inherit=false"):
        search(*given, methods.ista(1), **small)
    method = replace(methods.ista(1, inherit=False, freeze=10.0), steps=2)
    result = search(*given, method, **small)
    assert result.network is None
    assert result.history[-1]["frozen"] == 1.0


def test_two_stages_never_freeze(data: ImageData, small: dict[str, Any]) -> None:
    result = search(nas_bench_201(), data, methods.ista(freeze=10.0), **small)
    assert result.network is None
    assert [record["frozen"] for record in result.history] == [0.0, 0.0]


def test_what_makes_no_sense_is_refused(data: ImageData, small: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="stages of ista is 3; expected 1"):
        methods.ista(3)
    with pytest.raises(ConfigError, match="choose among the edges that enter a node"):
        search(nas_bench_1shot1(3), data, methods.ista(), **small)
    state, batch = make(data, small, replace(methods.darts(), updates=(RecoverCodes(), OuterStep())))
    with pytest.raises(ConfigError, match="'darts' recovers codes; give it the relaxation SparseCode"):
        RecoverCodes()(state, batch)
