"""Every named method obeys the laws of `check_method`, and does what its paper says."""

from typing import Any

import numpy as np
import pytest
import torch

from nas_search import ConfigError, ImageData, Method, methods, search
from nas_search.data_sources import fake
from nas_search.describe import describe
from nas_search.evaluation import TableScore
from nas_search.testing import check_method
from nas_spaces import Drawn, SearchSpace, Supernet, Table, darts, nas_bench_1shot1, nas_bench_101, nas_bench_201


@pytest.mark.parametrize("name", methods.__all__)
def test_every_method_obeys_the_laws(name: str) -> None:
    make = getattr(methods, name)
    method: Method = make(samples=10) if name == "random_nas" else make()
    result = check_method(method)
    assert result.method == name


@pytest.mark.parametrize("name", methods.__all__)
def test_a_method_is_a_value(name: str) -> None:
    make = getattr(methods, name)
    assert describe(make()) == describe(make())
    assert " at 0x" not in describe(make())


def test_second_order_is_refused_until_it_is_there() -> None:
    with pytest.raises(ConfigError, match="order of darts is 2"):
        methods.darts(2)


@pytest.mark.parametrize("name", ["darts", "gdas"])
def test_the_architecture_that_explains_the_labels_is_found(name: str, small: dict[str, Any]) -> None:
    """Labels that only a path through the cell can tell: an edge that is cut leaves nothing to learn from.

    The space's `none` on every edge into the output gives constant logits, so a search that minimises the validation loss
    must move away from it.
    """
    method = getattr(methods, name)(architecture_learning_rate=0.05, learning_rate=0.1)
    result = search(nas_bench_201(), fake("1x8x8", count=256, classes=4), method, **small | {"epochs": 12})
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
