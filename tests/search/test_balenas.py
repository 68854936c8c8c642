from typing import Any

import pytest
import torch

from nas_search import ConfigError, ImageData, methods, search
from nas_search.state import SearchState
from nas_spaces import darts, mobile, nas_bench_201


def test_second_order_differs_from_the_first(data: ImageData, small: dict[str, Any]) -> None:
    first, second, again = (
        search(nas_bench_201(), data, methods.balenas(order, samples=2), **small | {"epochs": 1}).history[0]
        for order in (1, 2, 2)
    )
    assert first["valid_loss"] != second["valid_loss"] == again["valid_loss"]


def test_the_deviation_is_recorded_and_shrinks(data: ImageData, small: dict[str, Any]) -> None:
    history = search(nas_bench_201(), data, methods.balenas(), **small).history
    assert 1.0 > history[0]["deviation"] > history[-1]["deviation"] > 0


def test_gates_are_driven_open_in_the_darts_space(data: ImageData, small: dict[str, Any]) -> None:
    """With a large weight the depth term is all that moves the gates, whatever the images say."""
    method = methods.balenas(depth=1e3, architecture_learning_rate=0.1)
    state = SearchState(darts(), data, method, **small | {"seed": 0, "device": torch.device("cpu")})
    before = state.outer_parameters()["relaxation.gates"].detach().clone()
    state.advance()
    moved = state.outer_parameters()["relaxation.gates"].detach() - before
    torch.testing.assert_close(moved, torch.full_like(moved, 0.1), rtol=1e-2, atol=0)


def test_what_makes_no_sense_is_refused(data: ImageData, small: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"order of balenas is 3; expected 1 .* or 2"):
        methods.balenas(3)
    with pytest.raises(ConfigError, match=r"depth of balenas is -1\.0; expected 0"):
        methods.balenas(depth=-1.0)
    with pytest.raises(ConfigError, match="depth gates stand on edges between nodes"):
        search(mobile(), data, methods.balenas(depth=0.05), **small)
