"""DHA: the order of its updates, its variants, its limits and what it ends with."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nas_search import ConfigError, ImageData, SearchResult, methods, search
from nas_search.adversarial import AdversarialStep
from nas_search.bundle import load_bundle
from nas_search.config import RunConfig
from nas_search.evaluation import top1
from nas_search.export import export_run
from nas_search.hyperparameters import LearnedHyperparameters
from nas_search.model_file import load_model
from nas_search.recovery import Limit, RecoverCodes, TrainAnew
from nas_search.relaxations import SparseCode
from nas_search.runs import run_search, run_training
from nas_search.schedules import Interpolated
from nas_search.state import SearchState
from nas_search.updates import JointStep, Until
from nas_spaces import nas_bench_201
from nas_spaces.costs import places
from nas_spaces.latency import LatencyTable

LEARN = {
    "NAS + DA": ("architecture", "augmentation"),
    "NAS + HPO": ("architecture", "hyperparameters"),
    "all": ("architecture", "augmentation", "hyperparameters"),
}


def make(data: ImageData, small: dict[str, Any], method: Any) -> SearchState:
    return SearchState(nas_bench_201(), data, method, seed=0, **small | {"device": torch.device("cpu")})


def test_the_updates_are_in_the_order_of_algorithm_1() -> None:
    method = methods.dha()
    assert [type(update) for update in method.updates] == [AdversarialStep, JointStep, RecoverCodes]
    assert isinstance(method.hyperparameters, LearnedHyperparameters)
    assert method.sequence[-1] == method.hyperparameters.update
    assert method.train_share == 1.0


@pytest.mark.parametrize("make_method", [methods.dha, methods.sequential_dha])
@pytest.mark.parametrize("variant", LEARN)
def test_variants_learn_what_they_say_and_nothing_else(
    make_method: Any, variant: str, data: ImageData, small: dict[str, Any]
) -> None:
    learn = LEARN[variant]
    result = search(nas_bench_201(), data, make_method(learn), **small | {"epochs": 4})
    assert bool(result.hyperparameters) is ("hyperparameters" in learn)
    stage = [type(stage).__name__ for stage in result.policy.stages]
    assert ("SubPolicies" in stage) is ("augmentation" in learn)
    assert ("augmented_loss" in result.history[-1]) is ("augmentation" in learn)
    if make_method is methods.sequential_dha:
        assert "augmented_loss" not in result.history[1]
        assert "hyperparameter_loss" not in result.history[1]
        assert [("frozen" in record) for record in result.history] == [True, True, False, False]
        if result.hyperparameters:
            rates = result.hyperparameters["schedule"]["learning_rate"]
            assert rates[0] == rates[1] == rates[2] != rates[3]
        assert result.history[1]["architecture"] == result.history[3]["architecture"]


def test_the_second_stage_of_a_sequence_has_new_weights_and_the_same_codes(
    data: ImageData, small: dict[str, Any]
) -> None:
    state = make(data, small | {"epochs": 2}, methods.sequential_dha())
    for _ in range(state.steps):
        state.advance()
        state.step += 1
    state.close_epoch()
    assert isinstance(state.relaxation, SparseCode)
    weights, codes = state.require_supernet().state_dict(), state.relaxation(None, 0.0)
    trained = {name: value.clone() for name, value in weights.items()}
    assert not state.relaxation.frozen.all()
    anew = TrainAnew(0.5)
    anew(state, None)  # type: ignore[arg-type]
    assert state.relaxation.frozen.all()
    assert torch.equal(state.relaxation(None, 0.0).weights, codes.weights)
    assert any(not torch.equal(trained[name], value) for name, value in state.require_supernet().state_dict().items())
    assert state.weight_optimizer is not None
    assert not state.weight_optimizer.state
    again = {name: value.clone() for name, value in state.require_supernet().state_dict().items()}
    state.advance()
    anew(state, None)  # type: ignore[arg-type]
    assert any(not torch.equal(again[name], value) for name, value in state.require_supernet().state_dict().items())


@pytest.mark.parametrize("name", ["parameters", "multiply_adds"])
def test_what_is_found_is_within_the_limit(name: Any, data: ImageData, small: dict[str, Any]) -> None:
    space, sizes = nas_bench_201(), {"classes": 4, "channels": 4, "cells": 1}
    few = small | {"epochs": 1}
    free = search(space, data, replace(methods.dha(), steps=1), **few)
    whole = getattr(space.count(free.architecture, image=(1, 8, 8), **sizes), name)
    limited = search(space, data, replace(methods.dha(**{f"max_{name}": 0.8 * whole}), steps=1), **few)
    assert getattr(space.count(limited.architecture, image=(1, 8, 8), **sizes), name) <= 0.8 * whole
    sequential = methods.sequential_dha(**{f"max_{name}": 0.8 * whole})
    assert sequential.updates[1] == Until(0.5, RecoverCodes(1e-3, (Limit(name, 0.8 * whole),)))


def test_a_latency_is_limited_too(data: ImageData, small: dict[str, Any]) -> None:
    space = nas_bench_201()
    sizes: dict[str, Any] = {"image": (1, 8, 8), "classes": 4, "channels": 4, "cells": 1}
    table = LatencyTable({place.key: 1.0 if "conv" in place.name else 0.1 for place in places(space, **sizes)})
    free, found = (
        search(space, data, replace(methods.dha(limits=limits), steps=1), **small | {"epochs": 1}).architecture
        for limits in (None, (Limit(table, 9.0),))
    )
    taken, spent = zip(
        *(
            (place, space.weights(each)[place.row, place.option] * table(place))
            for each in (free, found)
            for place in places(space, **sizes)
        ),
        strict=True,
    )
    half = len(taken) // 2
    assert 0 < sum(spent[half:]) <= 9.0 < sum(spent[:half])


def test_a_limit_that_cannot_be_met_is_refused_before_the_search(
    data: ImageData, small: dict[str, Any], tmp_path: Path
) -> None:
    for most, match in ((100.0, "what every network of nas_bench_201 has costs"), (0.0, None)):
        method = methods.dha(max_parameters=most)
        if match is None:
            assert method.updates[-1] == RecoverCodes(1e-3)
            continue
        with pytest.raises(ConfigError, match=match):
            search(nas_bench_201(), data, method, out=tmp_path / "run", **small)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match=r"limit of parameters is -1\.0; expected a number above 0"):
        Limit("parameters", -1.0)


def test_the_network_at_the_end_is_the_supernet(data: ImageData, small: dict[str, Any]) -> None:
    """With the batch statistics of the same images it gives the same logits."""
    kept: list[SearchState] = []
    result = search(nas_bench_201(), data, methods.dha(), observers=(lambda event: kept.append(event.state),), **small)
    state, network = kept[-1], result.network
    assert network is not None
    assert state.relaxation is not None
    images = data.train.images[:16]
    with torch.no_grad():
        expected = state.require_supernet()(state.normalize(images), *state.relaxation(None, 1.0))
        network.train()
        torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-5)


def test_a_run_is_a_bundle(drawn: None, tmp_path: Path) -> None:
    """Architecture, policy, schedule and weights in the run folder; training from scratch takes all but the weights."""
    run = tmp_path / "run"
    config = RunConfig(
        method="dha", data="fake:1x8x8", epochs=2, train_epochs=0, batch_size=32, channels=4, cells=1, device="cpu",
        settings={"logarithmic": True, "hyperparameter_learning_rate": 0.1},
    )  # fmt: skip
    record = run_search(config, run)
    result, model = SearchResult.load(run), load_model(run / "model.pt")
    assert str(result.architecture) == record["architecture"]
    assert record["metrics"]["train_epochs"] == 2
    assert record["metrics"]["trained_in_search"]
    assert ", as trained in the search, classifies" in (run / "report.html").read_text()
    assert RunConfig.from_toml(run / "config.toml").train_learning_rate == -1
    from nas_search.data_sources import load_data

    data = load_data("fake:1x8x8")
    assert top1(model, data.test, torch.device("cpu")) == record["metrics"]["test_accuracy"]
    assert result.policy.to_torchvision() is not None
    assert json.loads((run / "result.json").read_text())["policy"] == json.loads(result.policy.to_json())
    schedule = result.hyperparameters["schedule"]

    trained = run_training(run, epochs=2)
    rates = [epoch["learning_rate"] for epoch in trained["history"]]
    assert rates == [Interpolated(tuple(schedule["learning_rate"]))(progress) for progress in (0.5, 1.0)]
    given = run_training(run, epochs=1, learning_rate=0.2, weight_decay=0.0)
    assert given["history"][0]["learning_rate"] == pytest.approx(0.0)  # a cosine from 0.2 at its end
    assert "trained_in_search" not in SearchResult.load(run).metrics
    # All of it in one file, from which the same training is made anew.
    bundle = export_run(run, "bundle", tmp_path / "found.zip")
    assert load_bundle(bundle).hyperparameters == result.hyperparameters
    assert load_bundle(bundle).policy == result.policy
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "unpacked")
    again = run_training(tmp_path / "unpacked", epochs=2)
    assert [epoch["train_loss"] for epoch in again["history"]] == [e["train_loss"] for e in trained["history"]]
    assert load_bundle(tmp_path / "unpacked").hyperparameters == result.hyperparameters


def test_a_learning_rate_that_is_given_is_not_the_learned_one(tmp_path: Path) -> None:
    config = RunConfig(
        method="dha", data="fake:1x8x8", epochs=1, train_epochs=1, batch_size=32, channels=4, device="cpu",
        train_learning_rate=0.3,
    )  # fmt: skip
    assert config.resolved().train_learning_rate == 0.3
    assert replace(config, method="gdas", train_learning_rate=-1).resolved().train_learning_rate == 0.05
    run_search(config, tmp_path / "run")
    assert run_search(RunConfig.from_toml(tmp_path / "run" / "config.toml"), tmp_path / "again")


@pytest.mark.parametrize(
    ("make_method", "match"),
    [
        (lambda: methods.dha(("augmentation",)), "expected the architecture and any others"),
        (lambda: methods.dha(("architecture", "loss")), "expected the architecture and any others"),
        (lambda: methods.sequential_dha(("architecture",)), "which is no sequence"),
        (lambda: methods.sequential_dha(share=1.0), "share is 1.0; expected a part of the run"),
        (lambda: methods.dha(("architecture",), cutout=0.2), "cutout changes nothing.*add 'augmentation' to learn"),
        (
            lambda: methods.dha(("architecture", "augmentation"), logarithmic=True),
            "logarithmic changes nothing.*add 'hyperparameters' to learn",
        ),
        (lambda: methods.dha(learning_rate=0.1), "expects 0 <= low <= start <= high"),
        (lambda: TrainAnew(2.0), "training starts anew at 2.0"),
        (lambda: LearnedHyperparameters(start=-1.0), "learning starts at -1.0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(make_method: Any, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make_method()


def test_settings_of_a_tuple_are_lists_in_a_configuration(tmp_path: Path) -> None:
    config = RunConfig(method="dha", data="digits").resolved()
    assert config.settings["learn"] == ["architecture", "augmentation", "hyperparameters"]
    assert (config.settings["logarithmic"], config.settings["architecture_learning_rate"]) == (True, 0.01)
    (tmp_path / "config.toml").write_text(config.to_toml())
    assert RunConfig.from_toml(tmp_path / "config.toml") == config == config.resolved()
