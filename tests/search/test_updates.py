import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from nas_hypergrad import FirstOrder, ProblemError
from nas_search import ConfigError, ImageData, catalog, methods
from nas_search.batches import Batch
from nas_search.state import SearchState
from nas_search.updates import EvaluateCandidate, OnFreshBatches, OuterStep, WeightStep
from nas_spaces import Architecture, nas_bench_201


def make(data: ImageData, small: dict[str, Any], method: Any) -> tuple[SearchState, Batch]:
    settings = small | {"seed": 0, "device": torch.device("cpu")}
    state = SearchState(nas_bench_201(), data, method, **settings)
    return state, Batch(state.train, state.valid, 0)


def test_a_weight_step_is_the_optimizer_step_of_the_cross_entropy(data: ImageData, small: dict[str, Any]) -> None:
    method = methods.darts()
    state, batch = make(data, small, method)
    other, _ = make(data, small, method)
    figures = WeightStep()(state, batch)
    images = other.normalize(other.policy(batch.train.images, generator=other.generator).images)
    assert other.relaxation is not None
    assert other.weight_optimizer is not None
    loss = F.cross_entropy(
        other.require_supernet()(images, other.relaxation(None, 0.0).weights.detach()), batch.train.labels
    )
    loss.backward()
    torch.nn.utils.clip_grad_norm_(other.require_supernet().parameters(), 5.0)
    other.weight_optimizer.step()
    torch.testing.assert_close(figures["train_loss"], loss.detach())
    for mine, theirs in zip(state.require_supernet().parameters(), other.require_supernet().parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert torch.equal(state.outer_parameters()["relaxation.logits"], other.outer_parameters()["relaxation.logits"])
    assert state.images == 16


def test_an_outer_step_moves_the_architecture_alone(data: ImageData, small: dict[str, Any]) -> None:
    state, batch = make(data, small, methods.darts(architecture_weight_decay=0.0))
    weights = {name: value.clone() for name, value in state.require_supernet().state_dict().items()}
    before = state.outer_parameters()["relaxation.logits"].detach().clone()
    assert state.relaxation is not None
    logits = state.require_supernet()(state.normalize(batch.valid.images), state.relaxation(None, 0.0).weights)
    (gradient,) = torch.autograd.grad(
        F.cross_entropy(logits, batch.valid.labels), state.outer_parameters()["relaxation.logits"]
    )
    figures = OuterStep()(state, batch)
    moved = state.outer_parameters()["relaxation.logits"].detach() - before
    # The first step of Adam is the sign of the gradient times the learning rate.
    torch.testing.assert_close(moved, -3e-4 * gradient / (gradient.abs() + 1e-8), rtol=1e-3, atol=1e-7)
    assert set(figures) == {"valid_loss", "valid_accuracy"}
    assert all(torch.equal(value, weights[name]) for name, value in state.require_supernet().state_dict().items())
    assert all(parameter.grad is None for parameter in state.require_supernet().parameters())


def test_an_outer_step_without_anything_to_learn_says_so(data: ImageData, small: dict[str, Any]) -> None:
    state, batch = make(data, small, methods.random_nas())
    with pytest.raises(ConfigError, match="nothing to learn"):
        OuterStep()(state, batch)


def test_a_path_without_any_operation_is_no_error(data: ImageData, small: dict[str, Any]) -> None:
    state, batch = make(data, small, methods.gdas())
    with torch.no_grad():
        state.outer_parameters()["relaxation.logits"][:, 0] = 50.0  # none, everywhere
    try:
        figures = OuterStep()(state, batch)
    except ProblemError as error:  # pragma: no cover - what this test guards against
        raise AssertionError("a path of none has a zero gradient, not none") from error
    assert torch.isfinite(figures["valid_loss"])
    WeightStep()(state, batch)


def test_a_candidate_is_scored_and_noted(data: ImageData, small: dict[str, Any]) -> None:
    scored: list[Architecture] = []

    def evaluate(architecture: Architecture, state: SearchState) -> float:
        scored.append(architecture)
        return 0.25

    method = replace(methods.random_search(), updates=(EvaluateCandidate(evaluate),))
    state, batch = make(data, small, method)
    figures = EvaluateCandidate(evaluate)(state, batch)
    assert state.archive == [(str(scored[0]), 0.25)]
    assert figures["valid_accuracy"].item() == 0.25


def test_parts_of_a_batch_are_the_train_batches_one_after_the_other(data: ImageData, small: dict[str, Any]) -> None:
    state, _ = make(data, small, methods.darts())
    seen = [part for step in range(4) for part in Batch(state.train, state.valid, step).split(3)]
    for position, part in enumerate(seen):
        assert torch.equal(part.train.images, state.train[position].images)
        assert torch.equal(part.valid.images, state.valid[position // 3].images)
    (_, nested), position = Batch(state.train, state.valid, 1).split(2)[1].split(2), 7
    assert torch.equal(nested.train.images, state.train[position].images)


def test_updates_on_fresh_batches_report_their_means(data: ImageData, small: dict[str, Any]) -> None:
    state, batch = make(data, small, methods.darts())
    seen: list[float] = []

    def update(state: SearchState, batch: Batch) -> dict[str, Any]:
        seen.append(batch.train.images.float().mean().item())
        return {"mean": torch.tensor(seen[-1]), f"only_{len(seen)}": torch.tensor(1.0)}

    figures = OnFreshBatches((update, update))(state, batch)
    assert seen == [state.train[position].images.float().mean().item() for position in (0, 1)]
    assert {name: value.item() for name, value in figures.items()} == {
        "mean": pytest.approx(sum(seen) / 2),
        "only_1": 1.0,
        "only_2": 1.0,
    }


def test_a_series_that_grows_is_a_figure_and_no_warning(data: ImageData, small: dict[str, Any]) -> None:
    shares = []
    for rate in (1e-4, 100.0):
        state, batch = make(data, small, replace(methods.idarts(terms=1, learning_rate=rate), updates=(OuterStep(),)))
        shares.append(OuterStep()(state, batch)["unconverged"].item())
    assert shares == [0.0, 1.0]


def test_a_series_that_grows_is_begun_anew_with_smaller_steps_if_the_settings_ask_for_it(
    data: ImageData, small: dict[str, Any]
) -> None:
    shares = []
    for halvings in (0, 40):
        method = catalog.method("idarts", {"terms": 1, "learning_rate": 100.0, "halvings": halvings})
        state, _ = make(data, small, replace(method, updates=(OuterStep(),)))
        batches = [Batch(state.train, state.valid, step) for step in range(4)]
        shares.append(sum(OuterStep()(state, batch)["unconverged"].item() for batch in batches) / 4)
    assert shares[0] == 1
    assert shares[1] < 1  # what is left is negative curvature
    with pytest.raises(ConfigError, match="halvings is -1; expected 0 or more"):
        methods.idarts(halvings=-1)


def test_other_warnings_of_an_estimator_are_passed_on(data: ImageData, small: dict[str, Any]) -> None:
    def warn(problem: Any, inner: Any, outer: Any) -> Any:
        warnings.warn("mind the gap", UserWarning, stacklevel=1)
        return FirstOrder()(problem, inner, outer)

    state, batch = make(data, small, replace(methods.darts(), hypergradient=warn))
    with pytest.warns(UserWarning, match="mind the gap"):
        assert "unconverged" not in OuterStep()(state, batch)
