"""Rankings: the product of independent rows by enumeration, the order of scores, and what each selector says."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nas_search import ImageData, Method, methods
from nas_search.evaluation import SupernetAccuracy
from nas_search.ranking import by_score, most_probable
from nas_search.relaxations import Softmax, SparseCode
from nas_search.roles import Relaxation
from nas_search.samplers import Categorical
from nas_search.selection import BeforeStop, BestEvaluated, BestSampled, Derive
from nas_search.state import SearchState
from nas_spaces import Choices, SearchSpace, darts, nas_bench_201


def make(data: ImageData, small: dict[str, Any], method: Method) -> SearchState:
    return SearchState(nas_bench_201(), data, method, **small | {"seed": 0, "device": torch.device("cpu")})


def test_the_most_probable_are_those_of_an_enumeration() -> None:
    weights = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    weights[3, 1] = 0.0  # what is impossible is left out
    mask = torch.ones(4, 3, dtype=torch.bool)
    mask[1, 2] = False
    rows = [[value / sum(row) for value in row] for row in (weights * mask).double().tolist()]
    products = {
        options: math.prod(rows[row][option] for row, option in enumerate(options))
        for options in itertools.product(range(3), repeat=4)
    }
    expected = sorted(((options, p) for options, p in products.items() if p), key=lambda entry: -entry[1])
    found = most_probable(weights, mask, 100)
    assert [options for options, _ in found] == [options for options, _ in expected]
    assert [p for _, p in found] == pytest.approx([p for _, p in expected])
    assert sum(p for _, p in found) == pytest.approx(1.0)
    assert len(found) == 3 * 2 * 3 * 2
    assert most_probable(weights, mask, 5) == found[:5]


def test_scores_rank_each_architecture_once_the_first_of_equals_first() -> None:
    texts = [str(architecture) for architecture in itertools.islice(nas_bench_201(), 4)]
    scored = [(texts[0], 0.1), (texts[1], 0.7), (texts[2], 0.7), (texts[0], 0.9), (texts[3], math.nan)]
    ranking = by_score(nas_bench_201(), scored, "test")
    assert [(str(architecture), score) for architecture, score in ranking.entries] == [
        (texts[0], 0.9),
        (texts[1], 0.7),
        (texts[2], 0.7),
    ]


def test_what_is_derived_is_the_most_probable(data: ImageData, small: dict[str, Any]) -> None:
    state = make(data, small, methods.gdas())
    with torch.no_grad():
        state.outer_parameters()["relaxation.logits"].normal_(generator=torch.Generator().manual_seed(3))
    ranking = Derive().rank(state)
    assert ranking.of == "probability under HardGumbel"
    assert len(ranking.entries) == 20
    assert ranking.entries[0][0] == Derive()(state)
    assert state.relaxation is not None
    table = state.relaxation.probabilities()
    for architecture, probability in ranking.entries:
        taken = math.prod(float(table[row, option]) for row, (option,) in enumerate(architecture.options))
        assert probability == pytest.approx(taken, rel=1e-5)


@pytest.mark.parametrize(
    ("relaxation", "space", "reason"),
    [
        (Softmax, darts(), "rule by which darts derives"),
        (SparseCode, nas_bench_201(), "SparseCode has no independent rows"),
        (lambda choices: None, nas_bench_201(), "has no relaxation"),
    ],
    ids=["rule", "codes", "none"],
)
def test_where_nothing_ranks_the_reason_is_said(
    relaxation: Callable[[Choices], Relaxation | None], space: SearchSpace, reason: str
) -> None:
    state = SimpleNamespace(relaxation=relaxation(space.choices), space=space, method=methods.darts())
    ranking = Derive().rank(state)  # type: ignore[arg-type]
    assert ranking.entries == ()
    assert reason in ranking.of


def test_a_search_that_was_stopped_ranks_nothing(data: ImageData, small: dict[str, Any]) -> None:
    state = make(data, small, replace(methods.darts(), selector=BeforeStop(2), stop=lambda history: bool(history)))
    assert len(BeforeStop(2).rank(state).entries) == 20
    state.history.append({})
    assert "was stopped" in BeforeStop(2).rank(state).of


def test_what_costs_too_much_is_not_ranked(data: ImageData, small: dict[str, Any]) -> None:
    state = make(data, small, methods.random_search())
    space = nas_bench_201()
    dear, cheap = space.architecture([3] * 6), space.architecture([1] * 6)
    state.archive = [(str(dear), 0.9), (str(cheap), 0.5)]
    selector = BestEvaluated(lambda architecture, _: 100.0 if architecture == dear else 1.0, limit=10)
    assert selector.rank(state).entries == ((cheap, 0.5),)
    assert BestEvaluated().rank(state).of.startswith("score by TrainAndValidate(epochs=")


def test_a_relaxation_can_be_made_to_score_what_it_draws(data: ImageData, small: dict[str, Any]) -> None:
    selector = BestSampled(4, SupernetAccuracy(8), Categorical())
    state = make(data, small, replace(methods.darts(), selector=selector))
    found = selector(state)
    ranking = selector.rank(state)
    assert ranking.entries[0] == (found, max(score for _, score in state.archive))
    assert {str(architecture) for architecture, _ in ranking.entries} == {text for text, _ in state.archive}
    assert ranking.of == "score by SupernetAccuracy(images=8)"
