"""Successive halving and Hyperband against their definition, and through the loop."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nas_search import ConfigError, ImageData, methods, search
from nas_search.halving import Bracket, EvaluateRungs, hyperband_brackets, successive_halving_bracket
from nas_search.roles import Evaluator, Event
from nas_search.state import SearchState
from nas_spaces import Architecture, nas_bench_201

SPACE = nas_bench_201()


def scored(asked: list[tuple[str, int]]) -> Any:
    """More convolutions are better; the budget is noted."""

    def at(budget: int) -> Evaluator:
        def score(architecture: Architecture, state: SearchState) -> float:
            asked.append((str(architecture), budget))
            return str(architecture).count("nor_conv_3x3") / 6

        return score

    return at


def test_the_brackets_of_the_paper() -> None:
    """Table 1 of Li et al. (2018): R = 81, eta = 3."""
    expected = [
        ((81, 27, 9, 3, 1), (1, 3, 9, 27, 81)),
        ((34, 11, 3, 1), (3, 9, 27, 81)),
        ((15, 5, 1), (9, 27, 81)),
        ((8, 2), (27, 81)),
        ((5,), (81,)),
    ]
    assert [(each.counts, each.budgets) for each in hyperband_brackets(81, 3)] == expected
    assert successive_halving_bracket(10, 2, 4) == Bracket((10, 2), (2, 8))
    assert Bracket((9, 3, 1), (1, 3, 9)).cost == 27


def test_a_race_lets_the_best_of_each_rung_go_on(data: ImageData, small: dict[str, Any]) -> None:
    asked: list[tuple[str, int]] = []
    method = methods.successive_halving(candidates=9, evaluator=scored(asked))
    result = search(SPACE, data, method, **small | {"epochs": 13 + 9})

    def convolutions(text: str) -> int:
        return text.count("nor_conv_3x3")

    first, second, third = asked[:9], asked[9:12], asked[12:13]
    assert [budget for _, budget in asked[:13]] == [1] * 9 + [3] * 3 + [9]
    best = sorted((text for text, _ in first), key=convolutions, reverse=True)
    assert [convolutions(text) for text, _ in second] == [convolutions(text) for text in best[:3]]
    assert third[0][0] == second[0][0] == str(result.architecture)
    assert [budget for _, budget in asked[13:]] == [1] * 9  # the next race begins
    assert {text for text, _ in asked[13:]} != {text for text, _ in first}
    assert [record["budget"] for record in result.history[:13]] == [1] * 9 + [3] * 3 + [9]


def test_the_result_is_of_the_longest_budget_that_was_reached(data: ImageData, small: dict[str, Any]) -> None:
    asked: list[tuple[str, int]] = []
    result = search(SPACE, data, methods.hyperband(evaluator=scored(asked)), **small | {"epochs": 11})
    (last,) = asked[-2:-1]
    assert asked[-1][1] == last[1] == 3
    assert {str(each.architecture) for each in result.candidates} == {text for text, _ in asked[-2:]}
    assert result.ranked_by == "score of the candidates of 3 epochs"
    assert str(result.architecture) == max(
        (text for text, _ in asked[-2:]), key=lambda text: text.count("nor_conv_3x3")
    )


def test_all_brackets_run_and_only_the_longest_budget_is_in_the_archive(data: ImageData, small: dict[str, Any]) -> None:
    asked: list[tuple[str, int]] = []
    method = methods.hyperband(evaluator=scored(asked))
    state = SearchState(SPACE, data, method, **small | {"epochs": 22, "seed": 0, "device": torch.device("cpu")})
    for _ in range(22):
        state.advance()
    assert [budget for _, budget in asked] == [1] * 9 + [3] * 3 + [9] + [3] * 5 + [9] + [9] * 3
    assert [text for text, _ in state.archive] == [text for text, budget in asked if budget == 9]
    assert len(state.memory["rungs"]) == 22


def test_candidates_are_really_trained_for_their_budget_and_a_stopped_race_goes_on(
    data: ImageData, small: dict[str, Any], tmp_path: Path
) -> None:
    method = methods.successive_halving(candidates=3, shortest=1, eta=3)
    settings = small | {"epochs": 4}
    whole = search(SPACE, data, method, **settings)

    class StopError(Exception):
        pass

    def stop(event: Event) -> None:
        if event.kind == "epoch" and event.epoch == 2:
            raise StopError

    with pytest.raises(StopError):
        search(SPACE, data, method, **settings, out=tmp_path, observers=(stop,))
    resumed = search(SPACE, data, method, **settings, out=tmp_path, resume=True)
    assert resumed.architecture == whole.architecture
    assert [r["valid_accuracy"] for r in resumed.history] == [r["valid_accuracy"] for r in whole.history]


def test_bad_races_are_refused() -> None:
    with pytest.raises(ConfigError, match="candidates is 0; expected 1 or more"):
        methods.successive_halving(candidates=0)
    with pytest.raises(ConfigError, match="eta is 1; expected 2 or more"):
        methods.hyperband(eta=1)
    with pytest.raises(ConfigError, match=r"eta is 2\.5; expected a whole number"):
        methods.successive_halving(eta=2.5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="budgets that rise while counts fall"):
        Bracket((3, 9), (1, 3))
    with pytest.raises(ConfigError, match="one candidate and one epoch at least"):
        Bracket((3, 0), (1, 3))


def test_a_race_may_have_brackets_of_its_own(data: ImageData, small: dict[str, Any]) -> None:
    asked: list[tuple[str, int]] = []
    method = replace(methods.hyperband(), updates=(EvaluateRungs(scored(asked), (Bracket((4, 1), (12, 200)),)),))
    search(SPACE, data, method, **small | {"epochs": 5})
    assert [budget for _, budget in asked] == [12] * 4 + [200]
