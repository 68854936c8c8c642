"""Kendall's tau against its definition, and the ranking quality of a supernet as an observer records it."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from nas_search import ConfigError, ImageData, SearchResult, methods, search
from nas_search.evaluation import (
    RankCorrelation,
    SupernetAccuracy,
    TableScore,
    TrainAndValidate,
    kendall_tau,
    rank_correlation,
)
from nas_search.optimizers import SGD
from nas_search.schedules import Constant
from nas_search.state import SearchState
from nas_spaces import Architecture, Table, nas_bench_201


def longhand(first: list[float], second: list[float]) -> float:
    """``(C - D) / sqrt((P - T1) (P - T2))`` over all pairs."""
    pairs = list(itertools.combinations(zip(first, second, strict=True), 2))
    signs = [(math.copysign(1, a - c) * (a != c), math.copysign(1, b - d) * (b != d)) for (a, b), (c, d) in pairs]
    agreement = sum(x * y for x, y in signs)
    return agreement / math.sqrt(sum(x != 0 for x, _ in signs) * sum(y != 0 for _, y in signs))


@pytest.mark.parametrize("levels", [3, 10, 1000])
def test_tau_is_that_of_its_definition_with_ties_and_without(levels: int) -> None:
    generator = torch.Generator().manual_seed(levels)
    for count in (2, 5, 40):
        first, second = (torch.randint(levels, (count,), generator=generator).double().tolist() for _ in range(2))
        if min(len(set(first)), len(set(second))) == 1:
            continue
        tau = kendall_tau(first, second)
        assert tau == pytest.approx(longhand(first, second), abs=1e-12)
        assert tau == pytest.approx(float(stats.kendalltau(first, second).statistic), abs=1e-12)


def test_equal_rankings_have_one_and_opposite_ones_minus_one() -> None:
    assert kendall_tau([0.1, 0.2, 0.9], [10.0, 11.0, 12.0]) == pytest.approx(1.0)
    assert kendall_tau([0.1, 0.2, 0.9], [3.0, 2.0, 1.0]) == pytest.approx(-1.0)


def test_scores_that_do_not_rank_have_no_tau() -> None:
    assert kendall_tau([0.5, 0.5, 0.5], [1.0, 2.0, 3.0]) is None
    for first, second in (([1.0], [1.0]), ([1.0, 2.0], [1.0])):
        with pytest.raises(ConfigError, match="needs two or more, the same number"):
            kendall_tau(first, second)
    with pytest.raises(ConfigError, match="a score is NaN"):
        kendall_tau([1.0, math.nan], [1.0, 2.0])


def convolutions(architecture: Architecture, state: SearchState) -> float:
    return str(architecture).count("nor_conv_3x3") + 0.01 * str(architecture).count("skip")


def table() -> Table:
    texts = [str(a) for a in nas_bench_201()]
    scores = np.array([10.0 * text.count("nor_conv_3x3") + text.count("skip") for text in texts])
    return Table(np.array(texts), {"cifar10_valid": scores, "cifar10_test": scores})


def test_a_search_records_it_at_its_end(data: ImageData, small: dict[str, Any], tmp_path: Any) -> None:
    observer = RankCorrelation(TableScore(table()), samples=30, supernet=convolutions)
    result = search(
        nas_bench_201(), data, methods.random_nas(samples=2), **small, observers=(observer,), out=tmp_path / "run"
    )
    assert "kendall_tau" not in result.history[0]
    assert result.history[1]["kendall_tau"] == result.metrics["kendall_tau"]
    assert result.metrics["kendall_tau"] > 0.9
    assert SearchResult.load(tmp_path / "run").metrics["kendall_tau"] == result.metrics["kendall_tau"]


def test_it_changes_nothing_of_the_search(data: ImageData, small: dict[str, Any]) -> None:
    """Not even with a reference that trains networks, after every epoch."""
    train = TrainAndValidate(1, SGD(Constant(0.05)))

    def reference(architecture: Architecture, state: SearchState) -> float:
        return train(architecture, state) + convolutions(architecture, state)  # so that they never are all equal

    def supernet(architecture: Architecture, state: SearchState) -> float:
        return SupernetAccuracy()(architecture, state) + torch.rand((), generator=state.generator).item()

    observer = RankCorrelation(reference, samples=3, supernet=supernet, every=1)
    method = methods.random_nas(samples=5)
    plain = search(nas_bench_201(), data, method, **small)
    watched = search(nas_bench_201(), data, method, **small, observers=(observer,))
    assert all("kendall_tau" in record for record in watched.history)
    assert watched.architecture == plain.architecture
    for ours, theirs in zip(watched.history, plain.history, strict=True):
        assert ours["train_loss"] == theirs["train_loss"]
        assert ours.keys() - theirs.keys() == {"kendall_tau"}
    assert watched.metrics["selected_accuracy"] == plain.metrics["selected_accuracy"]


def test_it_stands_alone(data: ImageData, small: dict[str, Any]) -> None:
    state = SearchState(
        nas_bench_201(), data, methods.random_nas(), **small | {"seed": 0, "device": torch.device("cpu")}
    )
    architectures = RankCorrelation(convolutions, samples=20).architectures(state)
    assert len(set(architectures)) == 20
    assert rank_correlation(architectures, state, convolutions, convolutions) == pytest.approx(1.0)
    against = rank_correlation(architectures, state, convolutions, lambda a, s: -convolutions(a, s))
    assert against == pytest.approx(-1.0)
    shared = rank_correlation(architectures, state, convolutions)
    assert shared is not None
    assert -1 <= shared <= 1
    assert state.images == 0


def test_each_that_is_trained_has_a_seed_of_its_own(data: ImageData, small: dict[str, Any]) -> None:
    state = SearchState(
        nas_bench_201(), data, methods.random_nas(), **small | {"seed": 0, "device": torch.device("cpu")}
    )
    state.candidate, seen = 7, []

    def reference(architecture: Architecture, state: SearchState) -> float:
        seen.append(state.candidate)
        return float(len(seen))

    rank_correlation(RankCorrelation(reference, 4).architectures(state), state, reference, SupernetAccuracy(8))
    assert seen == [0, 1, 2, 3]
    assert state.candidate == 7


def test_a_score_that_is_the_same_for_all_is_not_recorded(data: ImageData, small: dict[str, Any]) -> None:
    observer = RankCorrelation(convolutions, samples=5, supernet=lambda a, s: 0.5)
    result = search(nas_bench_201(), data, methods.random_nas(samples=2), **small, observers=(observer,))
    assert "kendall_tau" not in result.metrics


def test_what_cannot_be_is_refused(data: ImageData, small: dict[str, Any]) -> None:
    refused: list[dict[str, Any]] = [{"samples": 1}, {"every": 0}]
    for settings in refused:
        with pytest.raises(ConfigError, match="expected 2 or more, and 1 or more epochs"):
            RankCorrelation(convolutions, **settings)
    method = methods.random_search(candidate_epochs=1)
    with pytest.raises(ConfigError, match="needs a supernet"):
        search(nas_bench_201(), data, method, **small, observers=(RankCorrelation(convolutions, samples=2),))
