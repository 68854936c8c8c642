from dataclasses import replace
from typing import Any

import pytest
import torch

from nas_search import ConfigError, ImageData, methods, search
from nas_search.recovery import AllFrozen, RecoverCodes
from nas_search.relaxations import SparseCode
from nas_search.state import Batch, SearchState
from nas_search.updates import OuterStep
from nas_spaces import darts, mobile, nas_bench_201


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


def test_one_stage_ends_when_all_nodes_are_frozen(data: ImageData, small: dict[str, Any]) -> None:
    space = darts()
    result = search(space, data, methods.ista(1, freeze=10.0), **small | {"epochs": 5})
    assert [record["frozen"] for record in result.history] == [1.0]
    assert AllFrozen()(result.history)
    assert not AllFrozen()([])
    assert not AllFrozen()([{"frozen": 0.75}])
    result = search(space, data, methods.ista(1, freeze=0.0), **small)
    assert [record["frozen"] for record in result.history] == [0.0, 0.0]
    assert "valid_loss" not in result.history[0]


def test_two_stages_never_freeze(data: ImageData, small: dict[str, Any]) -> None:
    result = search(nas_bench_201(), data, methods.ista(freeze=10.0), **small)
    assert [record["frozen"] for record in result.history] == [0.0, 0.0]


def test_what_makes_no_sense_is_refused(data: ImageData, small: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="stages of ista is 3; expected 1"):
        methods.ista(3)
    with pytest.raises(ConfigError, match="choose among the edges that enter a node"):
        search(mobile(), data, methods.ista(), **small)
    state, batch = make(data, small, replace(methods.darts(), updates=(RecoverCodes(), OuterStep())))
    with pytest.raises(ConfigError, match="'darts' recovers codes; give it the relaxation SparseCode"):
        RecoverCodes()(state, batch)
