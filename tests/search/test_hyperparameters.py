"""Learned hyper-parameters: their gradients against autograd through torch's own arithmetic, their ranges, and resuming."""

import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from nas_hypergrad import FirstOrder
from nas_search import ConfigError, ImageData, Interrupted, Method, SearchResult, methods, search
from nas_search.batches import Batch
from nas_search.estimators import OneStep
from nas_search.hyperparameters import Hyperparameters, LearnedHyperparameters, Range, hypergradient, with_learned
from nas_search.optimizers import SGD, Adam, OptimizerSettings
from nas_search.roles import Event
from nas_search.schedules import Constant, Interpolated
from nas_search.state import SearchState
from nas_search.testing import check_method
from nas_search.updates import OuterStep, WeightStep
from nas_spaces import nas_bench_201
from nas_spaces.chain import ChainSpace, Ends, Layer, chain

RATE, DECAY, MOMENTUM = Range(0.07, 0.001, 1.0), Range(0.02, 0.001, 0.5), Range(0.8, 0.1, 0.99)
STILL = Adam(Constant(0.0), weight_decay=0.0)


def tanh_space() -> ChainSpace:
    """About 80 weights, smooth, without batch statistics."""

    def stem(in_channels: int, channels: int) -> tuple[nn.Module, int]:
        return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(4 * in_channels, channels), nn.Tanh()), channels

    operations: dict[str, Callable[[int, int, int], nn.Module]] = {
        "linear": lambda i, o, s: nn.Linear(i, o),
        "tanh": lambda i, o, s: nn.Sequential(nn.Linear(i, o), nn.Tanh()),
    }
    return chain([Layer(), Layer()], operations, ends=Ends(stem, nn.Linear))


def make(data: ImageData, method: Method) -> tuple[SearchState, Hyperparameters]:
    settings: dict[str, Any] = {"epochs": 4, "batch_size": 16, "seed": 0, "channels": 3}
    state = SearchState(tanh_space(), data, method, device=torch.device("cpu"), **settings)
    for module in (state.require_supernet(), state.normalize, state.relaxation):
        assert module is not None
        module.double()
    assert state.hyperparameters is not None
    return state, state.hyperparameters


def loss_of(state: SearchState, batch: Batch, weights: dict[str, Tensor]) -> Tensor:
    """The loss on the images of the next step, written from its definition."""
    images, labels = state.train[batch._train_position + 1]
    assert state.relaxation is not None
    choice = state.relaxation(None, 0.0)
    return F.cross_entropy(
        functional_call(state.require_supernet(), weights, (state.normalize(images), *choice)), labels
    )


OPTIMIZERS: dict[str, OptimizerSettings] = {
    "momentum": SGD(Constant(0.3), nesterov=False, clip=None),
    "nesterov, clipped": SGD(Constant(0.3), nesterov=True, clip=0.05),
    "adam": Adam(Constant(0.3)),
}


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("groups", [("",), ("", "body.head")])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_hypergradients_equal_autograd_through_the_optimiser_step(
    kind: str, groups: tuple[str, ...], log: bool, data: ImageData
) -> None:
    learned = LearnedHyperparameters(
        learning_rate=RATE,
        weight_decay=DECAY,
        momentum=None if kind == "adam" else MOMENTUM,
        log=log,
        groups=groups,
        optimizer=STILL,
    )
    method = replace(methods.darts(), weights=OPTIMIZERS[kind], hyperparameters=learned)
    state, hyper = make(data, method)
    weights = state.require_supernet()
    for position in range(2):  # so that there are buffers
        WeightStep()(state, Batch(state.train, state.valid, position))
    before = {name: value.detach().clone() for name, value in weights.named_parameters()}
    optimizer = state.weight_optimizer
    assert optimizer is not None
    held = {
        name: {k: v.clone() for k, v in optimizer.state[value].items()} for name, value in weights.named_parameters()
    }
    batch = Batch(state.train, state.valid, 2)
    WeightStep()(state, batch)
    learned.update(state, batch)

    # The same step, with torch's arithmetic as its documentation has it, as a graph of the hyper-parameters.
    eta = {name: value.detach().clone().requires_grad_() for name, value in hyper.named_parameters()}
    values = {name.removeprefix("raw."): raw.exp() if log else raw for name, raw in eta.items()}
    after = {}
    for name, parameter in weights.named_parameters():
        group = max((i for i, prefix in enumerate(groups) if name.startswith(prefix)), key=lambda i: len(groups[i]))
        rate, decay = values["learning_rate"][group], values["weight_decay"][group]
        assert parameter.grad is not None
        g = parameter.grad + decay * before[name]
        if kind == "adam":
            first = 0.5 * held[name]["exp_avg"] + 0.5 * g
            second = 0.999 * held[name]["exp_avg_sq"] + 0.001 * g * g
            direction = (first / (1 - 0.5**3)) / ((second / (1 - 0.999**3)).sqrt() + 1e-8)
        else:
            buffer = values["momentum"][group] * held[name]["momentum_buffer"] + g
            direction = g + values["momentum"][group] * buffer if "nesterov" in kind else buffer
        after[name] = before[name] - rate * direction
        torch.testing.assert_close(after[name].detach(), parameter.detach(), rtol=0, atol=1e-12)
    expected = torch.autograd.grad(loss_of(state, batch, after), list(eta.values()))
    for (name, parameter), value in zip(hyper.named_parameters(), expected, strict=True):
        assert value.abs().min() > 0
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, value, rtol=1e-10, atol=1e-14, msg=name)


def test_the_closed_form_of_sgd(data: ImageData) -> None:
    """``dL/dlr = - <v, buffer>`` and ``dL/ddecay = - lr <v, theta>``."""
    learned = LearnedHyperparameters(learning_rate=RATE, weight_decay=DECAY, log=False, optimizer=STILL)
    state, hyper = make(data, replace(methods.darts(), weights=OPTIMIZERS["momentum"], hyperparameters=learned))
    for position in range(2):
        WeightStep()(state, Batch(state.train, state.valid, position))
    before = {name: value.detach().clone() for name, value in state.require_supernet().named_parameters()}
    WeightStep()(state, Batch(state.train, state.valid, 2))
    taken, optimizer = hyper.last, state.weight_optimizer
    assert taken is not None
    assert optimizer is not None
    parameters = dict(state.require_supernet().named_parameters())
    vector = {name: torch.sin(value.detach()) for name, value in parameters.items()}
    grads = hypergradient(hyper, taken, vector)
    buffers = {name: optimizer.state[value]["momentum_buffer"] for name, value in parameters.items()}
    rate = -sum((vector[name] * buffers[name]).sum() for name in vector)
    decay = -RATE.start * sum((vector[name] * before[name]).sum() for name in vector)
    torch.testing.assert_close(grads["raw.learning_rate"], torch.as_tensor(rate)[None], rtol=1e-12, atol=0)
    torch.testing.assert_close(grads["raw.weight_decay"], torch.as_tensor(decay)[None], rtol=1e-12, atol=0)


@pytest.mark.parametrize("examples", ["train", "valid", "same"])
def test_the_loss_is_that_of_the_images_that_are_asked_for(examples: Any, data: ImageData) -> None:
    learned = LearnedHyperparameters(examples=examples, optimizer=STILL)
    state, _ = make(data, replace(methods.darts(), hyperparameters=learned))
    batch = Batch(state.train, state.valid, 3)
    WeightStep()(state, batch)
    loss = learned.update(state, batch)["hyperparameter_loss"]
    images, labels = {"train": state.train[4], "valid": state.valid[3], "same": state.train[3]}[examples]
    assert state.relaxation is not None
    with torch.no_grad():
        logits = state.require_supernet()(state.normalize(images), *state.relaxation(None, 0.0))
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels))


def test_what_is_learned_is_what_the_next_step_takes(data: ImageData) -> None:
    """Steps of torch's own SGD with the values that the history says."""
    learned = LearnedHyperparameters(groups=("", "body.head"), optimizer=Adam(Constant(0.3), weight_decay=0.0))

    def train(state: SearchState, batch: Batch) -> Mapping[str, Tensor]:  # an update that does not say what it uses
        return WeightStep()(state, batch)

    state, hyper = make(data, replace(methods.darts(), updates=(train,), hyperparameters=learned))
    twin, _ = make(data, replace(methods.darts(), updates=(train,), hyperparameters=learned))
    optimizer = torch.optim.SGD(
        [
            {"params": [v for n, v in twin.require_supernet().named_parameters() if n.startswith("body.head") is last]}
            for last in (False, True)
        ],
        lr=1.0,
        momentum=0.9,
        nesterov=True,
    )
    seen = set()
    for step in range(4):
        for group, prefix in zip(optimizer.param_groups, ("", "body.head"), strict=True):
            group["lr"] = hyper.options()["lr"][prefix]
            group["weight_decay"] = hyper.options()["weight_decay"][prefix]
            seen.add(group["lr"])
        state.advance()
        state.step += 1
        images, labels = twin.train[step]
        assert twin.relaxation is not None
        twin.require_supernet().zero_grad()
        F.cross_entropy(twin.require_supernet()(twin.normalize(images), *twin.relaxation(None, 0.0)), labels).backward()
        torch.nn.utils.clip_grad_norm_(twin.require_supernet().parameters(), 5.0)
        optimizer.step()
        for mine, theirs in zip(
            state.require_supernet().parameters(), twin.require_supernet().parameters(), strict=True
        ):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)
    assert len(seen) == 7  # both groups start equal


def test_a_virtual_step_sees_the_learned_values(data: ImageData) -> None:
    learned = LearnedHyperparameters(learning_rate=RATE, weight_decay=DECAY, groups=("", "body.head"))
    state, _ = make(data, replace(methods.darts(2), hyperparameters=learned))
    step: Any = OneStep().at(state)
    assert step.inner_step.step.lr == {"": pytest.approx(0.07), "body.head": pytest.approx(0.07)}
    assert step.inner_step.step.weight_decay == {"": pytest.approx(0.02), "body.head": pytest.approx(0.02)}
    assert state.learning_rate == pytest.approx(0.07)


@pytest.mark.parametrize("log", [False, True])
def test_values_stay_in_their_ranges(log: bool, data: ImageData, small: dict[str, Any]) -> None:
    """At steps that would throw them far out, in either direction."""
    learned = LearnedHyperparameters(
        learning_rate=Range(0.05, 0.03, 0.06),
        weight_decay=Range(1e-3, 1e-3, 2e-3),
        momentum=Range(0.9, 0.5, 0.95),
        log=log,
        optimizer=SGD(Constant(1e4), momentum=0.0, weight_decay=0.0, clip=None),
    )
    result = search(nas_bench_201(), data, replace(methods.darts(), hyperparameters=learned), **small)
    for record in result.history:
        values = record["hyperparameters"]
        assert 0.03 <= values["learning_rate"] <= 0.06
        assert 1e-3 <= values["weight_decay"] <= 2e-3
        assert 0.5 <= values["momentum"] <= 0.95
        assert values["learning_rate"] in (0.03, 0.06)
    assert result.hyperparameters["learning_rate"] == result.history[-1]["learning_rate"]


def test_the_result_has_the_schedule(data: ImageData, small: dict[str, Any], tmp_path: Path) -> None:
    method = replace(methods.gdas(), hyperparameters=LearnedHyperparameters(groups=("", "body.classifier")))
    result = search(nas_bench_201(), data, method, out=tmp_path / "run", **small)
    learned = result.hyperparameters
    assert learned["schedule"]["learning_rate"][0] == 0.025
    assert len(learned["schedule"]["learning_rate"]) == small["epochs"] + 1
    assert learned["schedule"]["weight_decay"][-1] == learned["weight_decay"] != 3e-4
    assert learned["learning_rate"] == pytest.approx(
        (learned["learning_rate[]"] + learned["learning_rate[body.classifier]"]) / 2
    )
    assert learned["learning_rate[]"] != learned["learning_rate[body.classifier]"]
    assert json.loads((tmp_path / "run" / "result.json").read_text())["hyperparameters"] == learned
    assert SearchResult.load(tmp_path / "run").hyperparameters == learned


@pytest.mark.parametrize("examples", ["train", "valid", "same"])
def test_of_several_weight_steps_the_last_one_is_learned_from(examples: Any, data: ImageData) -> None:
    """With two of them and a hypergradient a search step takes three train batches."""
    learned = LearnedHyperparameters(examples=examples, optimizer=STILL)
    state, _ = make(data, replace(methods.idarts(inner_steps=2), hyperparameters=learned))
    for step in range(2):
        state.step = step
        for update in state.method.updates:
            update(state, Batch(state.train, state.valid, step))
        last = 3 * step + 1
        images, labels = {"train": state.train[last + 1], "valid": state.valid[step], "same": state.train[last]}[
            examples
        ]
        assert state.relaxation is not None
        with torch.no_grad():
            logits = state.require_supernet()(state.normalize(images), *state.relaxation(None, 0.0))
        loss = learned.update(state, Batch(state.train, state.valid, step))["hyperparameter_loss"]
        torch.testing.assert_close(loss, F.cross_entropy(logits, labels))


def test_a_sampler_that_learns_from_what_it_draws_is_asked_once_a_weight_step(data: ImageData) -> None:
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 16, "seed": 0, "channels": 4, "cells": 1}
    archives = []
    for learned in (None, LearnedHyperparameters(optimizer=STILL)):
        method = replace(methods.en2as(), hyperparameters=learned)
        state = SearchState(nas_bench_201(), data, method, device=torch.device("cpu"), **settings)
        state.advance()
        state.step = 1
        state.advance()
        archives.append(repr(state.memory))
    assert archives[0] == archives[1]


@pytest.mark.parametrize("name", ["setn", "gdas"])
def test_the_loss_is_that_of_the_path_that_is_drawn_next(name: str, data: ImageData) -> None:
    learned = LearnedHyperparameters(optimizer=STILL)
    state, _ = make(data, replace(getattr(methods, name)(), hyperparameters=learned))
    batch = Batch(state.train, state.valid, 0)
    WeightStep()(state, batch)
    with state.unchanged():
        choice = state.method.sampler(state)
    assert choice.drawn is not None
    loss = learned.update(state, batch)["hyperparameter_loss"]
    with torch.no_grad():
        logits = state.require_supernet()(state.normalize(state.train[1].images), *choice)
    torch.testing.assert_close(loss, F.cross_entropy(logits, state.train[1].labels))


@pytest.mark.parametrize("name", ["gdas", "random_nas", "enas"])
def test_any_method_learns_them_and_obeys_the_laws(name: str) -> None:
    """With its resuming, bit for bit."""
    make_method = getattr(methods, name)
    method = make_method() if name == "gdas" else make_method(samples=3)
    result = check_method(replace(method, hyperparameters=LearnedHyperparameters()))
    assert result.hyperparameters["schedule"]["learning_rate"][0] != result.hyperparameters["learning_rate"]


def test_a_search_that_is_stopped_within_an_epoch_goes_on_as_if_it_were_not(
    data: ImageData, small: dict[str, Any], tmp_path: Path
) -> None:
    method = replace(
        methods.darts(2),
        hyperparameters=LearnedHyperparameters(momentum=Range(0.9, 0.5, 0.99), groups=("", "body.stem")),
    )
    whole = search(nas_bench_201(), data, method, **small)

    def stop(event: Event) -> None:
        if (event.kind, event.epoch, event.step) == ("step", 1, 1):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="in epoch 2 of 2, after step 1"):
        search(nas_bench_201(), data, method, out=tmp_path / "run", observers=(stop,), **small)
    resumed = search(nas_bench_201(), data, method, out=tmp_path / "run", resume=True, **small)
    assert resumed.hyperparameters == whole.hyperparameters


def test_parameters_that_had_no_gradient_do_not_count(data: ImageData) -> None:
    """On one path, the optimiser neither moves nor decays the weights of the others."""
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 16, "seed": 0, "channels": 4, "cells": 1}
    method = replace(methods.gdas(), hyperparameters=LearnedHyperparameters())
    state = SearchState(nas_bench_201(), data, method, device=torch.device("cpu"), **settings)
    WeightStep()(state, Batch(state.train, state.valid, 0))
    assert state.hyperparameters is not None
    assert state.hyperparameters.last is not None
    stepped = set(state.hyperparameters.last.inner)
    assert stepped == {n for n, v in state.require_supernet().named_parameters() if v.grad is not None}
    assert len(stepped) < len(list(state.require_supernet().parameters()))


def test_without_a_weight_step_there_is_nothing_to_learn_from(data: ImageData) -> None:
    method = replace(methods.darts(), updates=(OuterStep(),), hyperparameters=LearnedHyperparameters())
    state, hyper = make(data, method)
    before = hyper.values()
    assert "hyperparameter_loss" not in state.advance()
    assert hyper.values() == before


def test_a_training_goes_through_the_learned_values() -> None:
    learned = {"learning_rate": 0.1, "schedule": {"learning_rate": [0.3, 0.2, 0.1], "weight_decay": [0.0, 0.01]}}
    settings = with_learned(SGD(), learned)
    assert settings.learning_rate(0.25) == pytest.approx(0.25)
    assert settings.weight_decay == Interpolated((0.0, 0.01))
    assert settings.momentum == 0.9
    assert with_learned(SGD(), learned, only=("weight_decay",)).learning_rate == SGD().learning_rate
    with pytest.raises(ConfigError, match="are not those of a search, which have a `schedule`"):
        with_learned(SGD(), {"learning_rate": 0.1})
    with pytest.raises(ConfigError, match="are not those of a search"):
        with_learned(SGD(), {"schedule": {"learning_rate": 3.0}})


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"learning_rate": None, "weight_decay": None}, "no hyper-parameter is learned"),
        ({"learning_rate": Range(0.1, 0.0, 1.0)}, "range of learning_rate begins at 0"),
        ({"weight_decay": Range(0.1, 0.0, 1.0)}, "range of weight_decay begins at 0"),
        ({"momentum": Range(0.9, 0.1, 1.0)}, "momentum goes up to 1.0; expected a number below 1"),
        ({"examples": "test"}, "examples is 'test'; expected train, valid or same"),
        ({"groups": ()}, "expected different prefixes"),
        ({"groups": ("", "")}, "expected different prefixes"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        LearnedHyperparameters(**changes)


@pytest.mark.parametrize("numbers", [(0.1, 0.2, 0.3), (0.3, 0.1, 0.2), (0.1, -0.1, 0.2), (0.1, 0.1, float("inf"))])
def test_a_range_is_in_order(numbers: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match="expects 0 <= low <= start <= high"):
        Range(*numbers)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"hyperparameters": LearnedHyperparameters(groups=("body.layers",))}, "is in none of the groups"),
        (
            {"hyperparameters": LearnedHyperparameters(groups=("", "head"))},
            "no parameter of the supernet is in group 'head'",
        ),
        (
            {"weights": Adam(), "hyperparameters": LearnedHyperparameters(momentum=MOMENTUM)},
            "momentum cannot be learned of Adam",
        ),
    ],
)
def test_what_the_supernet_or_its_optimiser_lacks_is_refused(
    changes: dict[str, Any], match: str, data: ImageData
) -> None:
    with pytest.raises(ConfigError, match=match):
        make(data, replace(methods.darts(), **changes))


def test_a_black_box_method_has_no_optimiser_to_learn_of(
    data: ImageData, small: dict[str, Any], tmp_path: Path
) -> None:
    method = replace(methods.random_search(), hyperparameters=LearnedHyperparameters())
    with pytest.raises(ConfigError, match="learns hyper-parameters of the weights' optimiser, but trains no supernet"):
        search(nas_bench_201(), data, method, out=tmp_path / "run", **small)
    assert not (tmp_path / "run").exists()
    assert replace(method, hyperparameters=None).hypergradient == FirstOrder()
