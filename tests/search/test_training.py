import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nas_augment import Policy
from nas_augment.fixed import crop_and_flip
from nas_search import ConfigError, ImageData, Interrupted, RunFolderError
from nas_search.evaluation import perplexity, top1
from nas_search.loop import drive
from nas_search.model_file import load_model, save_model
from nas_search.optimizers import SGD
from nas_search.roles import Event
from nas_search.run_folder import Store
from nas_search.schedules import Cosine
from nas_search.text_sources import fake_text
from nas_search.training import TrainState
from nas_spaces import darts_rnn, nas_bench_201
from nas_spaces.published import DARTS_V2_RNN

SPACE = nas_bench_201()
ARCHITECTURE = SPACE.parse("|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|")
SIZES = {"classes": 4, "channels": 4, "cells": 1, "in_channels": 1}


def make(data: ImageData, **changes: Any) -> TrainState:
    settings: dict[str, Any] = {"epochs": 8, "batch_size": 16, "seed": 0, "device": torch.device("cpu")}
    return TrainState(
        lambda: SPACE.network(ARCHITECTURE, **SIZES),
        data.train,
        policy=crop_and_flip(1, 0.0).decide(),
        optimizer=SGD(Cosine(0.05)),
        **settings | changes,
    )


def test_training_learns_and_repeats(data: ImageData) -> None:
    state, again = make(data), make(data)
    drive(state)
    drive(again)
    state.network.eval()
    assert top1(state.network, data.test, state.device) > 0.8
    for mine, theirs in zip(state.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert state.history[-1]["train_loss"] < state.history[0]["train_loss"]


def test_equal_seeds_start_equal_and_the_global_state_is_not_touched(data: ImageData) -> None:
    before = torch.random.get_rng_state()
    first, second, other = make(data), make(data), make(data, seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    weights = [next(iter(state.network.parameters())) for state in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_stopped_training_resumes_bit_for_bit(data: ImageData, tmp_path: Path) -> None:
    whole = make(data, epochs=3)
    drive(whole)
    store = Store(tmp_path / "train.pt", {"a": "b"})

    def stop(event: Event) -> None:
        if event.kind == "epoch" and event.epoch == 2:
            raise Interrupted("enough")

    with pytest.raises(Interrupted):
        drive(make(data, epochs=3), observers=(stop,), store=store)
    resumed = make(data, epochs=3)
    assert store.restore(resumed)
    assert resumed.epoch == 1
    drive(resumed, store=store)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_a_saved_model_gives_the_same_logits_alone(data: ImageData, tmp_path: Path) -> None:
    state = make(data, epochs=1)
    drive(state)
    state.network.eval()
    build = {"space": SPACE.name, "architecture": str(ARCHITECTURE), **SIZES}
    save_model(tmp_path / "model.pt", state.network, build)
    model = load_model(tmp_path / "model.pt")
    assert not model.training
    with torch.no_grad():
        assert torch.equal(model(data.test.images), state.network(data.test.images))


def test_a_model_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with pytest.raises(RunFolderError, match="no trained network .*nascli train"):
        load_model(path)
    for content in (b"", b"junk" * 100):
        path.write_bytes(content)
        with pytest.raises(RunFolderError, match="is damaged or not a trained network"):
            load_model(path)
    ours = {"format": "nas-search-model", "version": 1}
    torch.save({**ours, "weights": {}, "build": {"space": "unknown"}}, path)
    with pytest.raises(RunFolderError, match="cannot be rebuilt: unknown search space"):
        load_model(path)
    torch.save({**ours, "version": 2, "weights": {}, "build": {}}, path)
    with pytest.raises(
        RunFolderError, match="it is 'nas-search-model' of version 2, expected 'nas-search-model' of version 1"
    ):
        load_model(path)
    torch.save(nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(RunFolderError, match="is damaged or not"):
        load_model(path)


def test_a_model_file_that_claims_a_huge_network_is_refused_before_it_is_built(data: ImageData, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    claimed = {"space": SPACE.name, "architecture": str(ARCHITECTURE), **SIZES, "channels": 10**6}
    save_model(path, make(data).network, claimed)  # its largest convolution alone would take 10^14 bytes
    with pytest.raises(RunFolderError, match=r"is damaged or not a trained network \(1\.\S+ is .*, expected"):
        load_model(path)


TEXT = fake_text(8, count=400, time=4)


def train_text(**changes: Any) -> TrainState:
    optimizer = SGD(Cosine(20.0), momentum=0.0, weight_decay=0.0, clip=0.25)
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 16, "seed": 0, "device": torch.device("cpu")}
    settings |= {"policy": Policy(), "optimizer": optimizer}
    return TrainState(
        lambda: darts_rnn().network(DARTS_V2_RNN, classes=TEXT.classes, channels=8), TEXT.train, **settings | changes
    )


def test_a_language_model_learns_and_its_perplexity_is_that_of_its_loss() -> None:
    state = train_text(epochs=10)
    drive(state)
    assert state.history[-1]["train_perplexity"] < 0.8 * state.history[0]["train_perplexity"] < TEXT.classes
    assert state.history[0]["train_perplexity"] == pytest.approx(math.exp(state.history[0]["train_loss"]))
    state.network.eval()
    assert perplexity(state.network, TEXT.test, state.device) < 0.7 * TEXT.classes


def test_a_saved_language_model_gives_the_same_logits_alone(tmp_path: Path) -> None:
    state = train_text()
    drive(state)
    state.network.eval()
    sizes = {"classes": TEXT.classes, "channels": 8, "cells": 1, "in_channels": 1}
    save_model(tmp_path / "m.pt", state.network, {"space": "darts_rnn", "architecture": str(DARTS_V2_RNN), **sizes})
    with torch.no_grad():
        model = load_model(tmp_path / "m.pt")
        assert torch.equal(model(TEXT.test.images), state.network(TEXT.test.images))


def test_tokens_are_not_trained_with_a_policy() -> None:
    with pytest.raises(ConfigError, match=r"tokens cannot be augmented by Policy\(stages=\(Crop"):
        train_text(policy=crop_and_flip().decide())
