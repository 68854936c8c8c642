import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nas_augment import Policy
from nas_search import CheckpointError, ConfigError, Interrupted, RunFolderError
from nas_search.averaging import ExponentialAverage, NonMonotoneAverage, blend
from nas_search.config import RunConfig
from nas_search.data_sources import fake
from nas_search.evaluation import top1
from nas_search.loop import drive
from nas_search.model_file import load_model
from nas_search.optimizers import SGD
from nas_search.protocols import protocol
from nas_search.roles import Event
from nas_search.run_folder import Store
from nas_search.runs import run_evaluation, run_search, run_training
from nas_search.schedules import Constant
from nas_search.train_found import Weights
from nas_search.training import TrainState

DATA = fake("1x8x8", count=64, classes=4)


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4))


def make(**changes: Any) -> TrainState:
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 16, "seed": 0, "device": torch.device("cpu")}
    settings |= {"policy": Policy(), "optimizer": SGD(Constant(0.1))}
    return TrainState(network, DATA.train, **settings | changes)


def snapshots(state: TrainState) -> list[dict[str, torch.Tensor]]:
    """The network's weights and statistics after every step of a training."""
    taken: list[dict[str, torch.Tensor]] = []

    def take(event: Event) -> None:
        if event.kind == "step":
            taken.append(copy.deepcopy(state.network.state_dict()))

    drive(state, observers=[take])
    return taken


def test_the_exponential_average_is_its_recursion() -> None:
    state = make(averaging=ExponentialAverage(0.6))
    expected = copy.deepcopy(state.network.state_dict())
    for n, weights in enumerate(snapshots(state)):
        decay = min(0.6, (1 + n) / (10 + n))
        for name, value in weights.items():
            mixed = decay * expected[name] + (1 - decay) * value
            expected[name] = mixed if value.is_floating_point() else value
    assert state.average is not None
    for name, value in state.average.state_dict().items():
        torch.testing.assert_close(value, expected[name])
    # The running statistics among them, which are not those of the network.
    own, averaged = state.network.state_dict(), state.average.state_dict()
    assert not torch.allclose(own["1.1.running_mean"], averaged["1.1.running_mean"])
    assert averaged["1.1.num_batches_tracked"] == own["1.1.num_batches_tracked"] == 12


def test_averaging_does_not_change_the_training_and_is_what_is_judged() -> None:
    plain = make()
    drive(plain)
    state = make(averaging=ExponentialAverage(0.9), validate=lambda net: {"valid_accuracy": float(id(net))})
    drive(state)
    for name, value in plain.network.state_dict().items():
        assert torch.equal(value, state.network.state_dict()[name]), name
    assert state.evaluated is state.average
    assert state.history[0]["valid_accuracy"] == float(id(state.average))


def test_averaging_begins_when_the_loss_has_not_fallen_for_the_interval() -> None:
    def longhand(losses: list[float], n: int) -> int | None:  # Algorithm 1 of the paper, with L = 1
        logs = list[float]()
        for t, v in enumerate(losses):
            if t > n and v > min(logs[: t - n]):
                return t + 1
            logs.append(v)
        return None

    generator = torch.Generator().manual_seed(0)
    found = set()
    for _ in range(300):
        losses = torch.rand(8, generator=generator).tolist()
        for interval in (1, 2, 5):
            expected = longhand(losses, interval)
            assert NonMonotoneAverage(interval).begin(losses) == expected
            found.add(expected)
    assert {None, 3, 4, 7} <= found
    assert NonMonotoneAverage(1).begin([]) is None


def test_the_non_monotone_average_is_the_mean_of_the_weights_since_it_began() -> None:
    losses = iter([2.0, 1.0, 3.0, 1.0, 1.0])  # above the first, after the third epoch
    state = make(
        epochs=5,
        averaging=NonMonotoneAverage(1),
        validate=lambda _: {"valid_accuracy": 0.5, "valid_loss": next(losses)},
    )
    taken = snapshots(state)[12:]
    assert state.average is not None
    assert len(taken) == 8
    for name, value in state.average.named_parameters():
        torch.testing.assert_close(value, torch.stack([weights[name] for weights in taken]).mean(dim=0))


def test_blending_all_of_it_is_a_copy() -> None:
    one, other = network(), network()
    blend(one, other, 1.0)
    for name, value in other.state_dict().items():
        assert torch.equal(value, one.state_dict()[name])


@pytest.mark.parametrize(
    "averaging", [None, ExponentialAverage(0.9), NonMonotoneAverage(1)], ids=["none", "ema", "asgd"]
)
def test_best_weights_and_averages_resume_bit_for_bit(averaging: Any, tmp_path: Path) -> None:
    def state() -> TrainState:
        # Accuracies that rise and fall by the weights; losses that rise, so that the mean begins after the third epoch.
        def validate(net: nn.Module) -> dict[str, float]:
            weight = float(next(net.parameters()).detach().sum())
            return {"valid_accuracy": math.sin(40 * weight), "valid_loss": float(made.epoch)}

        made = make(epochs=6, averaging=averaging, validate=validate)
        return made

    whole = state()
    drive(whole)
    assert whole.best is not None
    assert 1 < whole.best["epoch"] < 6  # else nothing is tested

    for epoch, step in ((0, 2), (2, 4), (3, 1), (5, 3)):
        store = Store(tmp_path / f"{epoch}-{step}.pt", {})

        def stop(event: Event, at: tuple[int, int] = (epoch, step), store: Store = store) -> None:
            if event.kind == "step" and (event.epoch, event.step) == at:
                store.save(event.state)
                raise Interrupted("enough")

        with pytest.raises(Interrupted):
            drive(state(), observers=[stop])
        again = state()
        assert store.restore(again)
        drive(again)
        for which in ("best", "last"):
            for name, value in whole.trained(which).state_dict().items():
                assert torch.equal(value, again.trained(which).state_dict()[name]), (epoch, step, which, name)
        assert again.best is not None
        assert again.best["epoch"] == whole.best["epoch"]


def test_of_epochs_that_validate_alike_the_first_is_the_best() -> None:
    state = make(validate=lambda network: {"valid_accuracy": 0.5})
    drive(state)
    assert state.best is not None
    assert state.best["epoch"] == 1
    last, best = state.trained("last"), state.trained("best")
    assert not torch.equal(next(last.parameters()), next(best.parameters()))


def test_a_checkpoint_whose_best_weights_do_not_fit_is_refused(tmp_path: Path) -> None:
    state = make(epochs=1, validate=lambda _: {"valid_accuracy": 0.5})
    drive(state)
    store = Store(tmp_path / "x.pt", {})
    changes: list[dict[str, Any]] = [{"weights": {}}, {"epoch": "first"}, {"score": None}]
    for change in changes:
        saved = state.best
        assert saved is not None
        state.best = saved | change
        store.save(state)
        state.best = saved
        with pytest.raises(CheckpointError, match="lacks parts of a checkpoint"):
            store.restore(make(epochs=1))


SEARCH = RunConfig(
    method="random_search", data="fake:1x8x8", epochs=1, train_epochs=1, batch_size=32, channels=2, device="cpu",
    settings={"candidate_epochs": 1},
)  # fmt: skip


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("searched") / "run"
    run_search(SEARCH, folder)
    return folder


def test_best_and_last_weights_are_kept_and_the_test_part_chooses_nothing(searched: Path) -> None:
    values = {"epochs": 6, "learning_rate": 0.5, "valid_share": 0.25, "ema": 0.0}
    record = run_training(searched, protocol=protocol("quick", values))
    accuracies = [epoch["valid_accuracy"] for epoch in record["history"]]
    assert record["weights"] == "best"
    assert record["best_epoch"] == 1 + accuracies.index(max(accuracies))
    assert not [name for epoch in record["history"] for name in epoch if name.startswith("test")]
    # What validated was not trained on, and is of every class alike.
    train, valid = fake("1x8x8").split(0.75, SEARCH.seed)
    best, last = (load_model(searched / f"model-{which}.pt") for which in ("best", "last"))
    assert top1(best, valid, torch.device("cpu")) == max(accuracies)
    assert top1(last, valid, torch.device("cpu")) == accuracies[-1]
    assert torch.bincount(valid.labels).tolist() == [6] * 10
    assert len(train.labels) == 256 - 60
    assert record["test_accuracy"] == run_evaluation(searched, device="cpu", weights="best")["test_accuracy"]
    choices: tuple[Weights, ...] = ("best", "last")
    for weights in choices:
        again = run_training(searched, protocol=protocol("quick", values), weights=weights)
        assert again["weights"] == weights
        chosen = load_model(searched / "model.pt").state_dict()
        for name, value in load_model(searched / f"model-{weights}.pt").state_dict().items():
            assert torch.equal(value, chosen[name])


def test_testing_on_the_way_is_for_the_record_alone(searched: Path) -> None:
    plain = run_training(searched, epochs=4, valid_share=0.25, ema=0.9)
    record = run_training(searched, epochs=4, valid_share=0.25, ema=0.9, test_every=2)
    assert ["test_accuracy" in epoch for epoch in record["history"]] == [False, True, False, True]
    assert record["best_epoch"] == plain["best_epoch"]
    assert record["test_accuracy"] == plain["test_accuracy"]
    assert record["averaging"] == "ExponentialAverage(decay=0.9)"
    saved = load_model(searched / "model-last.pt")
    assert top1(saved, fake("1x8x8").test, torch.device("cpu")) == record["history"][-1]["test_accuracy"]


def test_without_a_validation_part_there_are_no_best_weights(searched: Path) -> None:
    run_training(searched, epochs=1, valid_share=0.25)
    record = run_training(searched, epochs=1)
    assert record["weights"] == "last"
    assert not list(searched.glob("model-*.pt"))  # of the training before
    with pytest.raises(ConfigError, match=r"nothing validates, .*--valid-share 0\.1, or take --weights last"):
        run_training(searched, epochs=1, weights="best")
    with pytest.raises(RunFolderError, match="has no best weights: nothing validated in its training"):
        run_evaluation(searched, weights="best")
    assert run_evaluation(searched, weights="last", device="cpu")["test_accuracy"] == record["test_accuracy"]


def test_a_language_model_is_averaged_and_validated_by_its_own_part(tmp_path: Path) -> None:
    run = tmp_path / "text"
    config = replace(SEARCH, space="darts_rnn", data="fake-text:8", channels=8, train_epochs=0)
    run_search(config, run)
    record = run_training(run, epochs=5, asgd=1)
    losses = [epoch["valid_loss"] for epoch in record["history"]]
    assert record["best_epoch"] == 1 + losses.index(min(losses))
    assert record["history"][0]["valid_perplexity"] == pytest.approx(math.exp(losses[0]))
    assert {epoch["learning_rate"] for epoch in record["history"]} == {20.0}
    assert record["averaging"] == "NonMonotoneAverage(interval=1)"
    assert record["test_perplexity"] == run_evaluation(run, device="cpu")["test_perplexity"]
    with pytest.raises(ConfigError, match=r"valid_share is 0\.1, and fake-text-8 has a validation part of its own"):
        run_training(run, epochs=1, valid_share=0.1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ema": 1.5}, "ema is 1.5; expected a decay above 0 and below 1"),
        ({"asgd": 0}, "asgd is 0; expected an interval of 1 epoch or more"),
        (
            {"asgd": 5},
            r"asgd begins when the validation loss of a text stops to fall, and the data are images; take ema",
        ),
        ({"asgd": 5, "ema": 0.9}, "two averages of the same weights; leave one out"),
        ({"valid_share": 1.0}, "valid_share is 1.0; expected 0 or more, below 1"),
        ({"test_every": -1}, "test_every is -1; expected a number of epochs"),
        ({"weights": "first"}, "weights is 'first'; expected best or last"),
    ],
)
def test_what_does_not_fit_is_refused(searched: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_training(searched, epochs=1, **values)
