import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_augment import Policy
from nas_search import ConfigError, Interrupted
from nas_search.config import RunConfig
from nas_search.data_sources import fake
from nas_search.loop import drive
from nas_search.model_file import load_model
from nas_search.optimizers import SGD
from nas_search.protocols import PROTOCOLS, EpochDecay, EveryEpoch, protocol
from nas_search.roles import Event
from nas_search.runs import run_search, run_training
from nas_search.schedules import Constant, Cosine, ExponentialCosine
from nas_search.training import TrainState

SEARCH = RunConfig(
    space="darts", method="random_search", data="fake:3x8x8", epochs=1, train_epochs=0, batch_size=32, channels=2,
    cells=2, device="cpu", settings={"candidate_epochs": 1},
)  # fmt: skip


def test_the_presets_are_the_papers() -> None:
    darts, imagenet, bench = (PROTOCOLS[name] for name in ("darts-cifar", "darts-imagenet", "nas-bench-201"))
    assert (darts.epochs, darts.batch_size, darts.channels, darts.cells) == (600, 96, 36, 20)
    assert (darts.auxiliary, darts.cutout, darts.drop_path, darts.clip) == (0.4, 16, 0.2, 5)
    assert (darts.momentum, darts.weight_decay, darts.nesterov) == (0.9, 3e-4, False)
    assert (imagenet.epochs, imagenet.batch_size, imagenet.channels, imagenet.cells) == (250, 128, 48, 14)
    assert (imagenet.weight_decay, imagenet.label_smoothing, imagenet.auxiliary, imagenet.clip) == (3e-5, 0.1, 0.4, 5)
    assert (bench.epochs, bench.batch_size, bench.channels, bench.cells) == (200, 256, 16, 5)
    assert (bench.momentum, bench.weight_decay, bench.nesterov, bench.clip) == (0.9, 5e-4, True, 0)


def test_learning_rates_follow_the_formulas() -> None:
    for epoch in (0, 1, 299, 599):
        progress = (epoch + 0.7) / 600
        rate = PROTOCOLS["darts-cifar"].optimizer().learning_rate(progress)
        assert rate == pytest.approx(0.025 * (1 + math.cos(math.pi * epoch / 600)) / 2)
    for epoch in range(250):
        rate = PROTOCOLS["darts-imagenet"].optimizer().learning_rate(epoch / 250)
        assert rate == pytest.approx(0.1 * 0.97**epoch)
    bench = PROTOCOLS["nas-bench-201"].optimizer().learning_rate
    assert bench(0.3) == pytest.approx(0.05 * (1 + math.cos(0.3 * math.pi)))
    assert EveryEpoch(Cosine(1.0), 4)(0.49) == Cosine(1.0)(0.25)
    assert EpochDecay(1.0, 0.5, 4)(0.76) == 0.125


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.main, self.side = nn.Linear(3, 10), nn.Linear(3, 10)
        self.told: list[float] = []

    def drop_path(self, probability: float) -> None:
        self.told.append(probability)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        features = images.mean(dim=(2, 3))
        return (self.main(features), self.side(features)) if self.training else self.main(features)


def state(make: Any = Pair, **changes: Any) -> TrainState:
    settings: dict[str, Any] = {"epochs": 4, "batch_size": 64, "seed": 0, "device": torch.device("cpu")}
    data = fake("3x8x8", count=128)
    optimizer = SGD(Constant(0.0), momentum=0.0, weight_decay=0.0, nesterov=False)
    return TrainState(make, data.train, policy=Policy(), optimizer=optimizer, **settings | changes)


def test_the_loss_is_that_of_both_classifiers_with_smoothed_targets() -> None:
    training = state(label_smoothing=0.1, auxiliary=0.4)
    images, labels = training.batches[0]
    with torch.no_grad():
        both = training.network(images)
    terms = []
    for logits in both:
        logs = logits.log_softmax(dim=1)
        target = torch.full_like(logs, 0.1 / 10)
        target[torch.arange(len(labels)), labels] += 0.9
        terms.append(-(target * logs).sum(dim=1).mean())
    torch.testing.assert_close(training.advance()["train_loss"], terms[0] + 0.4 * terms[1])


def test_drop_path_grows_linearly_with_the_epoch() -> None:
    training = state(drop_path=0.2)
    drive(training)
    network = training.network[1]  # type: ignore[index]
    assert network.told == pytest.approx([0.0] * 2 + [0.05] * 2 + [0.1] * 2 + [0.15] * 2)
    with pytest.raises(ConfigError, match=r"drop_path is 0.2, and Linear has no method .*--set drop_path=0"):
        state(lambda: nn.Linear(8, 10), drop_path=0.2)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("searched") / "run"
    run_search(replace(SEARCH, data="fake:3x32x32", epochs=1), folder)
    return folder


TINY = {"epochs": 2, "batch_size": 64, "channels": 2, "cells": 2}


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_a_preset_trains_and_what_it_saves_is_read_again(name: str, searched: Path) -> None:
    own = {"darts-cifar": {"cutout": 4}, "darts-imagenet": {"auxiliary": 0}}  # which needs images of 224 x 224
    values = TINY | own.get(name, {})
    record = run_training(searched, protocol=protocol(name, values))
    assert record["protocol"]["channels"] == 2
    assert record == json.loads((searched / "train.json").read_text())
    assert load_model(searched / "model.pt")(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_a_stopped_preset_resumes_bit_for_bit(searched: Path) -> None:
    chosen = protocol("darts-cifar", TINY | {"drop_path": 0.5})
    whole = run_training(searched, protocol=chosen)
    weights = load_model(searched / "model.pt").state_dict()

    def stop(event: Event) -> None:
        if event.kind == "step" and event.epoch == 1 and event.step == 2:
            raise Interrupted("enough")

    with pytest.raises(Interrupted):
        run_training(searched, protocol=chosen, observers=[stop])
    again = run_training(searched, protocol=chosen, resume=True)
    assert again["history"][-1]["train_loss"] == whole["history"][-1]["train_loss"]
    for key, value in load_model(searched / "model.pt").state_dict().items():
        assert torch.equal(value, weights[key]), key


def test_a_protocol_keeps_the_annealing_of_the_method(tmp_path: Path) -> None:
    """AllegroNAS trains by DARTS' protocol with Eq. 8; a protocol with a factor of its own, that of ImageNet, has no cosine."""
    run_search(replace(SEARCH, method="allegro", settings={}, epochs=1), tmp_path / "run")
    chosen = protocol("quick", {"epochs": 3, "batch_size": 16})
    rates = [epoch["learning_rate"] for epoch in run_training(tmp_path / "run", protocol=chosen)["history"]]
    assert rates == pytest.approx([ExponentialCosine(0.05)((epoch + 1) / 3) for epoch in range(3)])
    step = replace(chosen, every_epoch=True).optimizer(ExponentialCosine).learning_rate
    assert [step(progress) for progress in (0.0, 0.3, 0.4)] == [ExponentialCosine(0.05)(x) for x in (0, 0, 1 / 3)]
    decay = replace(chosen, decay=0.5).optimizer(ExponentialCosine).learning_rate
    assert [decay(epoch / 3) for epoch in range(3)] == pytest.approx([0.05, 0.025, 0.0125])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown preset 'darts'; there are darts-cifar.* did you mean 'darts-"):
        protocol("darts")
    with pytest.raises(ConfigError, match="unknown setting 'drop'; .*drop_path|unknown setting 'drop' of a training"):
        protocol("quick", {"drop": 1})
    for key, value in (("drop_path", 1.0), ("cutout", -1), ("epochs", "many"), ("stem", "wide"), ("batch_size", 1)):
        with pytest.raises(ConfigError, match=key):
            protocol("quick", {key: value})


def test_a_space_without_the_second_classifier_is_refused(tmp_path: Path) -> None:
    run_search(replace(SEARCH, space="nas_bench_201", cells=1), tmp_path / "run")
    with pytest.raises(ConfigError, match="auxiliary is 0.4, which networks of nas_bench_201 do not have"):
        run_training(tmp_path / "run", protocol=protocol("darts-cifar", TINY))
