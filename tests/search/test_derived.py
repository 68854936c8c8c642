"""SETN: architectures drawn from the probabilities of a relaxation, and what its two steps train."""

from typing import Any

import pytest
import torch

from nas_search import ConfigError, ImageData, methods
from nas_search.batches import Batch
from nas_search.roles import ChoiceWeights
from nas_search.samplers import Categorical
from nas_search.state import SearchState
from nas_spaces import SearchSpace, darts, nas_bench_201


def begin(data: ImageData, small: dict[str, Any], space: SearchSpace | None = None, **settings: Any) -> SearchState:
    options = small | {"seed": 0, "device": torch.device("cpu")}
    return SearchState(space or nas_bench_201(), data, methods.setn(**settings), **options)


def test_each_option_is_drawn_with_its_probability(data: ImageData, small: dict[str, Any]) -> None:
    state = begin(data, small)
    logits = state.outer_parameters()["relaxation.logits"]
    with torch.no_grad():
        logits.copy_(torch.randn(logits.shape, generator=torch.Generator().manual_seed(3)))
    draws = 3000
    counts = sum((Categorical()(state).weights for _ in range(draws)), torch.zeros(logits.shape))
    expected = draws * logits.detach().softmax(dim=1)
    # Chi-squared with 24 degrees of freedom: above 51.2 once in a thousand.
    assert ((counts - expected).square() / expected).sum() < 51.2


def test_equal_probabilities_draw_uniformly_where_edges_compete(data: ImageData, small: dict[str, Any]) -> None:
    """The last node of a DARTS cell takes two of five edges, with one of seven operations each."""
    space = darts()
    state = begin(data, small, space)
    logits = state.outer_parameters()["relaxation.logits"]
    with torch.no_grad():
        logits.zero_()
    rows, draws = list(space.choices.nodes[3]), 1000
    counts = sum((Categorical()(state).weights[rows] for _ in range(draws)), torch.zeros(5, 8))
    assert torch.equal(counts[:, 0], torch.zeros(5))
    expected = 2 * draws / 35
    # 35 cells, of which two a draw: below the quantile of a thousandth with 34 degrees of freedom, 65.2.
    assert ((counts[:, 1:] - expected).square() / expected).sum() < 65.2


def test_weights_see_uniform_paths_and_logits_all_options(data: ImageData, small: dict[str, Any]) -> None:
    state = begin(data, small, architecture_learning_rate=1.0)
    logits = state.outer_parameters()["relaxation.logits"]
    with torch.no_grad():
        logits.copy_(100 * nas_bench_201().weights(nas_bench_201().architecture([0] * 6)))
    seen: list[ChoiceWeights] = []
    hook = state.require_supernet().register_forward_pre_hook(lambda _, args: seen.append(ChoiceWeights(*args[1:])))
    for _ in range(40):
        state.method.updates[0](state, next_batch(state))
    hook.remove()
    taken = sum((choice.weights for choice in seen), torch.zeros(6, 5))
    assert taken.min() > 0  # whatever the logits say
    assert all(choice.drawn is not None for choice in seen)
    seen.clear()
    with torch.no_grad():
        logits.zero_()
    state.require_supernet().register_forward_pre_hook(lambda _, args: seen.append(ChoiceWeights(*args[1:])))
    state.method.updates[1](state, next_batch(state))
    torch.testing.assert_close(seen[-1].weights.detach(), torch.full((6, 5), 0.2))
    assert seen[-1].drawn is None
    assert (logits != 0).any()


def next_batch(state: SearchState) -> Batch:
    return Batch(state.train, state.valid, 0)


def test_a_relaxation_is_needed(data: ImageData, small: dict[str, Any]) -> None:
    settings = small | {"seed": 0, "device": torch.device("cpu")}
    state = SearchState(nas_bench_201(), data, methods.random_nas(), **settings)
    with pytest.raises(ConfigError, match="'random_nas' draws from its relaxation's probabilities, but has none"):
        Categorical()(state)
