"""Every named method obeys the laws of `check_method`, and does what its paper says."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from covering import covering

from nas_hypergrad import FirstOrder
from nas_search import ConfigError, ImageData, Method, methods, search
from nas_search.data_sources import fake
from nas_search.describe import describe
from nas_search.evaluation import TableScore
from nas_search.roles import ChoiceWeights
from nas_search.state import SearchState
from nas_search.testing import check_method
from nas_spaces import Drawn, SearchSpace, Supernet, Table, darts, nas_bench_1shot1, nas_bench_101, nas_bench_201
from nas_spaces.allegro import allegro as allegro_space
from nas_spaces.amended import amended_s1, amended_s2
from nas_spaces.darts import darts as darts_space
from nas_spaces.mobile import mobile

AUTOENCODER = {"autoencoder_epochs": 1, "autoencoder_samples": 64, "latent": 4, "hidden": 8}
QUICK: dict[str, dict[str, Any]] = {
    **{name: {"samples": 10} for name in ("en2as", "enas", "random_nas", "setn")},
    "augment_only": {"network": str(nas_bench_201().architecture([3, 1, 2, 3, 1, 2]))},
    "daas": {"architectures": 2, "weight_architectures": 2},
    "e2nas": AUTOENCODER,
    "e2nas_r": AUTOENCODER,
}


# Sparse codes and a decoder's types are no independent rows; augment_only is given its architecture; a race of three epochs
# has begun its first rung, of the shortest budget, so that what it ranks is two candidates.
UNRANKED = ("augment_only", "dha", "e2nas", "e2nas_r", "ista", "sequential_dha")


@pytest.mark.parametrize("name", methods.__all__)
def test_every_method_obeys_the_laws(name: str, data: ImageData) -> None:
    result = check_method(getattr(methods, name)(**QUICK.get(name, {})), data=data)
    assert result.method == name
    assert (len(result.candidates) > 1) == (name not in UNRANKED), result.ranked_by


@pytest.mark.parametrize("name", methods.__all__)
def test_a_method_is_a_value(name: str) -> None:
    make = getattr(methods, name)
    assert describe(make()) == describe(make())
    assert " at 0x" not in describe(make())


def test_settings_of_darts_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="order of darts is 3; expected 1 .* or 2"):
        methods.darts(3)
    with pytest.raises(ConfigError, match="central_difference of darts is for order=2"):
        methods.darts(central_difference=True)


VARIANTS = {
    "second order": methods.darts(2),
    "second order by differences": methods.darts(2, central_difference=True),
    "implicit by differences": methods.idarts(2, terms=1, central_difference=True),
    "amended by differences": methods.amended_darts(central_difference=True),
    "stopped by curvature": methods.darts(2, stop_eigenvalue=0.75),
    "stopped by skips": methods.darts(2, stop_skips=6),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_variants_obey_the_laws(name: str) -> None:
    check_method(VARIANTS[name])


SMALL_SPACES: dict[str, tuple[SearchSpace, int | None]] = {"darts": (darts_space(), 3), "amended_s1": (amended_s1(), 3)}
LARGE_SPACES: dict[str, tuple[SearchSpace, int | None]] = {
    "allegro": (allegro_space(), 3),
    "amended_s2": (amended_s2(), None),
    "mobile": (mobile(), None),
}
OUTER = ("darts", "idarts", "amended_darts", "allegro")


def one_step_each(name: str, space: SearchSpace, cells: int | None, data: ImageData, small: dict[str, Any]) -> None:
    method = methods.darts(2) if name == "darts" else getattr(methods, name)()
    settings = small | {"cells": cells, "channels": 4, "epochs": 1, "batch_size": 4}
    result = search(space, data, replace(method, steps=1), **settings)
    assert space.parse(str(result.architecture)) == result.architecture


@pytest.mark.parametrize("space", SMALL_SPACES)
@pytest.mark.parametrize("name", OUTER)
def test_second_derivatives_on_every_space(name: str, space: str, data: ImageData, small: dict[str, Any]) -> None:
    one_step_each(name, *SMALL_SPACES[space], data, small)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "space"), covering(OUTER, LARGE_SPACES, 2))
def test_second_derivatives_on_every_large_space(name: str, space: str, data: ImageData, small: dict[str, Any]) -> None:
    one_step_each(name, *LARGE_SPACES[space], data, small)


def test_amended_darts_without_its_term_is_of_first_order(data: ImageData, small: dict[str, Any]) -> None:
    """A row of the paper's study."""
    first = replace(methods.amended_darts(), hypergradient=FirstOrder())
    found = [search(nas_bench_201(), data, method, **small) for method in (methods.amended_darts(0.0), first)]
    assert found[0].history[-1]["valid_loss"] == found[1].history[-1]["valid_loss"]
    assert (
        found[0].history[-1]["entropy"]
        != search(nas_bench_201(), data, methods.amended_darts(), **small).history[-1]["entropy"]
    )


def test_amended_darts_starts_with_equal_operations(data: ImageData, small: dict[str, Any]) -> None:
    method = replace(methods.amended_darts(architecture_learning_rate=0.0), steps=1)
    history = search(nas_bench_201(), data, method, **small | {"epochs": 1}).history
    assert history[0]["entropy"] == history[0]["uniform_entropy"]


def test_an_epoch_of_idarts_has_as_many_outer_steps_as_darts_and_more_weight_steps(
    data: ImageData, small: dict[str, Any]
) -> None:
    counts = {}
    for method in (methods.darts(), methods.idarts(4)):
        state = SearchState(nas_bench_201(), data, method, seed=0, **small | {"device": torch.device("cpu")})
        before = state.steps
        state.advance()
        counts[method.name] = (before, state.images)
    assert counts == {"darts": (2, 16), "idarts": (2, 64)}


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "name", ["darts", "gdas", *(pytest.param(name, marks=SLOW) for name in ("allegro", "amended_darts", "idarts"))]
)
def test_the_architecture_that_explains_the_labels_is_found(name: str, small: dict[str, Any]) -> None:
    """Labels that only a path through the cell can tell: an edge that is cut leaves nothing to learn from.

    The space's `none` on every edge into the output gives constant logits, so a search that minimises the validation loss
    must move away from it.
    """
    method = getattr(methods, name)(architecture_learning_rate=0.05, learning_rate=0.1)
    count = 256 if name in ("darts", "gdas") else 128  # of second order, which is dearer and learns as much of less
    result = search(nas_bench_201(), fake("1x8x8", count=count, classes=4), method, **small | {"epochs": 12})
    into_output = [options for options in result.architecture.options[3:] if options != (0,)]
    assert into_output
    assert result.history[-1]["entropy"] < result.history[0]["entropy"] < torch.log(torch.tensor(5.0)) + 1e-6


SPACES = [nas_bench_101(), *(nas_bench_1shot1(number) for number in (1, 2, 3)), darts(inputs=True)]


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
@pytest.mark.parametrize(
    "method", [methods.darts(), methods.gdas(), methods.random_nas(samples=5)], ids=lambda m: m.name
)
def test_spaces_whose_rows_pick_none_or_several_run_in_the_same_loop(
    space: SearchSpace, method: Method, small: dict[str, Any]
) -> None:
    """Every drawn path has as many options of a row as the space picks, and the search ends with an architecture."""
    drawn: list[Drawn] = []
    make = space.supernet

    def watched(**sizes: Any) -> Supernet:
        supernet = make(**sizes)
        supernet.register_forward_pre_hook(lambda _module, inputs: drawn.extend(x for x in inputs[2:] if x is not None))
        return supernet

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(space, "supernet", watched)
        result = search(space, fake("3x8x8", count=64, classes=4), method, **small | {"epochs": 1})
    assert space.parse(str(result.architecture)) == result.architecture
    assert bool(drawn) == (method.name != "darts")
    if method.name == "gdas":
        assert all(tuple(map(len, path)) == space.choices.picks for path in drawn)


def test_random_search_trains_one_candidate_an_epoch(data: ImageData, small: dict[str, Any]) -> None:
    result = search(nas_bench_201(), data, methods.random_search(), **small | {"epochs": 4})
    assert len(result.history) == 4
    assert result.metrics["selected_accuracy"] == max(record["valid_accuracy"] for record in result.history)


def test_bayesian_optimization_goes_on_from_its_scores() -> None:
    check_method(methods.bayesian_optimization(initial=2, pool=10, candidate_epochs=1))
    check_method(methods.bayesian_optimization(initial=2, pool=10, candidate_epochs=1, cost="multiply_adds"))


def test_a_table_scores_candidates(data: ImageData, small: dict[str, Any]) -> None:
    space = nas_bench_201()
    texts = [str(a) for a in space]
    scores = np.array([100.0 * text.count("nor_conv_3x3") / 6 for text in texts])
    table = Table(np.array(texts), {"cifar10_valid": scores, "cifar10_test": scores})
    method = methods.regularized_evolution(population=5, evaluator=TableScore(table))
    assert describe(method) == describe(methods.regularized_evolution(population=5, evaluator=TableScore(table)))
    result = search(space, data, method, **small | {"epochs": 30})
    assert result.metrics["selected_accuracy"] == pytest.approx(table.query(result.architecture) / 100)
    assert table.rank(result.architecture) < 3000


def test_a_candidate_that_is_scored_twice_counts_by_its_better_score(data: ImageData, small: dict[str, Any]) -> None:
    space = nas_bench_201()
    best = space.architecture([3] * 6)
    scores = iter([0.9, 0.2, 0.1])
    method = methods.random_search(evaluator=lambda architecture, state: next(scores))
    method = replace(method, sampler=lambda state: ChoiceWeights(space.weights(best), best.options))
    result = search(space, data, method, **small | {"epochs": 3})
    assert result.metrics["selected_accuracy"] == 0.9
    assert [(each.architecture, each.score) for each in result.candidates] == [(best, 0.9)]


@pytest.mark.parametrize("name", ["random_search", "regularized_evolution", "local_search", "bayesian_optimization"])
def test_an_evaluator_from_the_command_line_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"evaluator of {name} is 'table'; expected a part"):
        getattr(methods, name)(evaluator="table")


def test_evolution_goes_on_from_its_archive() -> None:
    """With the default population three epochs are all random."""
    check_method(methods.regularized_evolution(population=2, tournament=2, candidate_epochs=1))
