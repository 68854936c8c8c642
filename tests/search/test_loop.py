"""The loop: interruption, resumption, broken losses, full disks."""

import errno
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from nas_augment import Policy
from nas_search import (
    CheckpointError,
    ConfigError,
    ImageData,
    Interrupted,
    Method,
    NonFiniteError,
    RunFolderError,
    methods,
    search,
)
from nas_search.diagnostics import OperationWeights
from nas_search.roles import ChoiceWeights, Event
from nas_search.run_folder import RunFolder, Store
from nas_spaces import darts, nas_bench_201

SPACE = nas_bench_201()
AUTOENCODER = {"autoencoder_epochs": 1, "autoencoder_samples": 64, "latent": 4, "hidden": 8}
QUICK: dict[str, dict[str, Any]] = {
    "augment_only": {"network": str(SPACE.architecture([3, 1, 2, 3, 1, 2]))},
    "e2nas": AUTOENCODER,
    "e2nas_r": AUTOENCODER,
}


@pytest.fixture(autouse=True)
def _signals_are_not_ignored() -> Iterator[None]:
    """A shell starts background jobs with SIGINT ignored; the tests are about a process that can be interrupted."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def stop_at(epoch: int, step: int, number: int = signal.SIGINT) -> Any:
    def observer(event: Event) -> None:
        if (event.kind, event.epoch, event.step) == ("step", epoch, step):
            os.kill(os.getpid(), number)

    return observer


def content(out: Path) -> dict[str, Any]:
    """The state of the last checkpoint without its timings."""
    state = torch.load(out / "checkpoints" / "last.pt", weights_only=True)["state"]
    state.pop("seconds")
    timings = ("seconds", "images_per_second")
    state["history"] = [{key: value for key, value in line.items() if key not in timings} for line in state["history"]]
    return state


def assert_same(a: Any, b: Any) -> None:
    """Equal bit for bit, through dictionaries and lists."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b


@pytest.mark.parametrize("name", methods.__all__)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_search_stopped_in_the_middle_of_an_epoch_resumes_bit_for_bit(
    name: str, number: int, data: ImageData, small: dict[str, Any], tmp_path: Path
) -> None:
    method = getattr(methods, name)(**QUICK.get(name, {}))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    expected = search(SPACE, data, method, out=whole, **small)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    # An epoch of a black-box method is one step, so it can only stop between epochs; the others stop in the middle of one.
    at = (0, 1) if method.steps == 1 else (1, 1)
    with pytest.raises(Interrupted, match=r"stopped in epoch 2 of 2, after step \d of the search; saved in .*last\.pt"):
        search(SPACE, data, method, out=parts, observers=(stop_at(*at, number),), **small)
    assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    assert len(RunFolder(parts).read_events()) == 1
    result = search(SPACE, data, method, out=parts, resume=True, **small)
    assert result.architecture == expected.architecture
    assert_same(content(parts), content(whole))
    assert [line["epoch"] for line in RunFolder(parts).read_events()] == [1, 2]


def test_a_second_signal_interrupts_at_once(data: ImageData, small: dict[str, Any], tmp_path: Path) -> None:
    def twice(event: Event) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        search(SPACE, data, methods.gdas(), out=tmp_path / "run", observers=(twice,), **small)


def test_a_search_without_a_folder_leaves_signals_alone(data: ImageData, small: dict[str, Any]) -> None:
    with pytest.raises(KeyboardInterrupt):
        search(SPACE, data, methods.gdas(), observers=(stop_at(0, 1),), **small)


def test_a_search_runs_outside_of_the_main_thread(data: ImageData, small: dict[str, Any], tmp_path: Path) -> None:
    results: list[Any] = []
    thread = threading.Thread(
        target=lambda: results.append(search(SPACE, data, methods.gdas(), out=tmp_path / "run", **small))
    )
    thread.start()
    thread.join()
    assert len(results) == 1


def test_a_killed_search_goes_on_from_the_last_epoch(data: ImageData, small: dict[str, Any], tmp_path: Path) -> None:
    class Killed(BaseException):
        """What no handler saves after."""

    def kill(event: Event) -> None:
        if event.epoch == 1 and event.step == 1:
            raise Killed

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    search(SPACE, data, methods.gdas(), out=whole, **small)
    with pytest.raises(Killed):
        search(SPACE, data, methods.gdas(), out=parts, observers=(kill,), **small)
    events = RunFolder(parts).events
    events.write_text(events.read_text() + '{"epoch": 2, "train_lo')  # the line that was being written
    search(SPACE, data, methods.gdas(), out=parts, resume=True, **small)
    assert_same(content(parts), content(whole))
    assert [line["epoch"] for line in RunFolder(parts).read_events()] == [1, 2]


def test_saving_takes_a_hundredth_of_the_time_at_most(
    data: ImageData, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock by which a save takes 1 second and an epoch 30: the 2nd to the 4th end less than 99 seconds after a save."""
    now, lines = [0.0], list[int]()

    def clock() -> float:
        now[0] += 1
        return now[0]

    def epoch_ends(event: Event) -> None:
        if event.kind == "epoch":
            now[0] += 30
            lines.append(len(RunFolder(tmp_path / "run").read_events()))  # of those before

    monkeypatch.setattr("nas_search.run_folder.time", SimpleNamespace(monotonic=clock))
    search(SPACE, data, methods.gdas(), out=tmp_path / "run", observers=(epoch_ends,), **(small | {"epochs": 7}))
    assert lines == [0, 1, 1, 1, 1, 5, 5]
    assert content(tmp_path / "run")["epoch"] == len(RunFolder(tmp_path / "run").read_events()) == 7


def test_a_slow_save_is_waited_for_ten_minutes_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 60.0, 659.0, 661.0, 661.0, 662.0])  # a save looks twice, whether one is due once
    saves: list[int] = []
    monkeypatch.setattr("nas_search.run_folder.time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr("nas_search.run_folder.save_checkpoint", lambda *_: saves.append(1))
    store, state = Store(tmp_path / "last.pt", {}), SimpleNamespace(state_dict=dict)
    for count in (1, 1, 2):
        store.save_if_due(state)  # type: ignore[arg-type]
        assert len(saves) == count


def test_resuming_a_finished_search_gives_its_result_again(
    data: ImageData, small: dict[str, Any], tmp_path: Path
) -> None:
    method = methods.random_nas(samples=5)
    first = search(SPACE, data, method, out=tmp_path / "run", **small)
    again = search(SPACE, data, method, out=tmp_path / "run", resume=True, **small)
    assert (first.architecture, first.metrics) == (again.architecture, again.metrics)


def test_a_signal_in_the_last_step_stops_after_it(data: ImageData, small: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match=r"stopped after the last epoch, 2 of 2 of the search; saved in"):
        search(SPACE, data, methods.gdas(), out=tmp_path / "run", observers=(stop_at(1, 2),), **small)
    result = search(SPACE, data, methods.gdas(), out=tmp_path / "run", resume=True, **small)
    assert result.architecture == search(SPACE, data, methods.gdas(), **small).architecture


def test_a_search_killed_before_its_first_checkpoint_can_be_started_again(
    data: ImageData, small: dict[str, Any], tmp_path: Path
) -> None:
    def kill(event: Event) -> None:
        raise RuntimeError("power failure")

    with pytest.raises(RuntimeError, match="power"):
        search(SPACE, data, methods.gdas(), out=tmp_path / "run", observers=(kill,), **small)
    search(SPACE, data, methods.gdas(), out=tmp_path / "run", **small)


def test_the_remedy_for_a_damaged_checkpoint_works(data: ImageData, small: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    expected = search(SPACE, data, methods.gdas(), out=out, **small)
    (out / "checkpoints" / "last.pt").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="delete it, and --resume starts the run from the beginning"):
        search(SPACE, data, methods.gdas(), out=out, resume=True, **small)
    (out / "checkpoints" / "last.pt").unlink()
    assert search(SPACE, data, methods.gdas(), out=out, resume=True, **small).architecture == expected.architecture
    assert [line["epoch"] for line in RunFolder(out).read_events()] == [1, 2]


def test_a_checkpoint_that_lacks_a_part_is_refused(data: ImageData, small: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    search(SPACE, data, methods.gdas(), out=out, **small)
    record = torch.load(out / "checkpoints" / "last.pt", weights_only=True)
    del record["state"]["modules"]["supernet"]
    torch.save(record, out / "checkpoints" / "last.pt")
    with pytest.raises(CheckpointError, match="lacks parts of a checkpoint"):
        search(SPACE, data, methods.gdas(), out=out, resume=True, **small)


def test_a_folder_of_another_run_is_not_touched(data: ImageData, small: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    search(SPACE, data, methods.gdas(), out=out, **small)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(RunFolderError, match=r"holds another run; go on with it by --resume, or choose another folder"):
        search(SPACE, data, methods.gdas(), out=out, **small)
    with pytest.raises(
        CheckpointError, match=r"another configuration: seed was 0, is 1\. Resume with the old settings"
    ):
        search(SPACE, data, methods.gdas(), out=out, resume=True, **small | {"seed": 1})
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"epochs": 3}, "epochs"),
        ({"batch_size": 8}, "batch_size"),
        ({"channels": 8}, "channels"),
        ({"cells": 2}, "cells"),
    ],
)
def test_another_configuration_is_named(
    changes: dict[str, Any], key: str, data: ImageData, small: dict[str, Any], tmp_path: Path
) -> None:
    search(SPACE, data, methods.gdas(), out=tmp_path / "run", **small)
    with pytest.raises(CheckpointError, match=f"{key} was"):
        search(SPACE, data, methods.gdas(), out=tmp_path / "run", resume=True, **small | changes)
    with pytest.raises(CheckpointError, match="method was"):
        search(SPACE, data, methods.gdas(temperature=5.0), out=tmp_path / "run", resume=True, **small)
    other = replace(data, test=data.test._replace(images=data.test.images.flip(0)))
    with pytest.raises(CheckpointError, match="data was"):
        search(SPACE, other, methods.gdas(), out=tmp_path / "run", resume=True, **small)


def test_nothing_to_resume_is_said(data: ImageData, small: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="holds no run to resume; leave out --resume"):
        search(SPACE, data, methods.gdas(), out=tmp_path / "run", resume=True, **small)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="holds other files; choose another folder"):
        search(SPACE, data, methods.gdas(), out=tmp_path, **small)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def broken_after(steps: int) -> Method:
    """A method whose loss is NaN from some step on."""
    taken = [0]

    def loss(evaluate: Any, choice: ChoiceWeights, state: Any) -> Tensor:
        taken[0] += 1
        value: Tensor = evaluate(choice)
        return value * torch.nan if taken[0] > steps else value

    return replace(methods.gdas(), loss=loss)


def test_a_loss_that_becomes_nan_stops_the_run_and_keeps_the_checkpoint(
    data: ImageData, small: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    # Two steps an epoch: the fourth is the second of epoch 2.
    with pytest.raises(
        NonFiniteError, match=r"epoch 2, step 2 of the search at learning rate 0\.0\d+; the last good checkpoint is"
    ):
        search(SPACE, data, broken_after(3), out=out, **small)
    assert content(out)["epoch"] == 1
    assert all(torch.isfinite(value).all() for value in content(out)["modules"]["supernet"].values())


def test_a_loss_that_is_nan_at_once_has_no_checkpoint_to_name(
    data: ImageData, small: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(NonFiniteError, match="epoch 1, step 1 .*; no checkpoint yet"):
        search(SPACE, data, broken_after(0), out=tmp_path / "run", **small)
    assert not (tmp_path / "run" / "checkpoints" / "last.pt").exists()


def test_a_full_disk_keeps_the_checkpoint_before(data: ImageData, small: dict[str, Any], tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    out, whole = tmp_path / "run", tmp_path / "whole"
    search(SPACE, data, methods.gdas(), out=whole, **small)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(event: Event) -> None:
        if event.kind == "epoch" and event.epoch == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))

    try:
        with pytest.raises(
            RunFolderError, match=r"cannot write .*last\.pt .*; what was there before is intact\. Free space"
        ) as caught:
            search(SPACE, data, methods.gdas(), out=out, observers=(fill,), **small)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EFBIG
    assert content(out)["epoch"] == 1
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == [".lock", "last.pt"]
    search(SPACE, data, methods.gdas(), out=out, resume=True, **small)
    assert_same(content(out), content(whole))


def test_the_global_random_state_is_left_alone(data: ImageData, small: dict[str, Any]) -> None:
    state = torch.random.get_rng_state()
    search(SPACE, data, methods.gdas(), **small)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("name", ["epochs", "batch_size", "channels", "cells"])
def test_sizes_below_one_are_refused(name: str, data: ImageData, small: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{name} is 0; expected . or more"):
        search(SPACE, data, methods.gdas(), **small | {name: 0})


def test_a_seed_that_could_not_be_repeated_is_refused(data: ImageData, small: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"seed is -1; expected 0 or more, and less than 2\*\*63"):
        search(SPACE, data, methods.gdas(), **small | {"seed": -1})


@pytest.mark.parametrize("steps", [0, -1])
def test_an_epoch_without_steps_is_refused(data: ImageData, small: dict[str, Any], steps: int) -> None:
    with pytest.raises(ConfigError, match=f"method 'gdas' has steps={steps}; expected 1 or more, or None"):
        search(SPACE, data, replace(methods.gdas(), steps=steps), **small)


def test_an_update_that_forgets_its_figures_is_named(data: ImageData, small: dict[str, Any]) -> None:
    class Forgetful:
        def __call__(self, state: Any, batch: Any) -> Any:
            return None

    method = methods.gdas()
    with pytest.raises(ConfigError, match="update Forgetful of method 'gdas' returned None; expected its figures"):
        search(SPACE, data, replace(method, updates=(*method.updates, Forgetful())), **small)


def test_what_an_observer_adds_and_no_file_can_hold_is_named(data: ImageData, small: dict[str, Any]) -> None:
    def observer(event: Event) -> None:
        if event.kind == "epoch":
            event.record["extra"] = torch.ones(2)

    with pytest.raises(ConfigError, match=r"observer observer added 'extra', Tensor .* \.item\(\) or \.tolist\(\)"):
        search(SPACE, data, methods.gdas(), observers=(observer,), **small)


def test_a_number_that_is_not_finite_is_in_no_file(data: ImageData, small: dict[str, Any]) -> None:
    """``NaN`` is no JSON, and other readers of ``events.jsonl`` stop at it."""

    def observer(event: Event) -> None:
        event.record["extra"] = math.nan

    with pytest.raises(ConfigError, match=r"observer observer added 'extra', float nan, .* None in place of a number"):
        search(SPACE, data, methods.gdas(), observers=(observer,), **small)


@pytest.mark.parametrize("selected", [None, "|none~0|", darts().sample(torch.Generator())], ids=str)
def test_a_selector_that_gives_no_architecture_is_named(
    selected: object, data: ImageData, small: dict[str, Any]
) -> None:
    def selector(state: Any) -> Any:
        return selected

    with pytest.raises(ConfigError, match="the selector selector of method 'gdas' gave what is no architecture of the"):
        search(SPACE, data, replace(methods.gdas(), selector=selector), **small)


@pytest.mark.parametrize(
    "made",
    [
        lambda outer: {},
        lambda outer: None,
        lambda outer: dict.fromkeys(outer, torch.ones(3)),
        lambda outer: dict.fromkeys(outer, torch.ones(6, 5, dtype=torch.float64)),
        lambda outer: dict.fromkeys(outer, torch.ones(6, 5).numpy()),
    ],
)
def test_a_hypergradient_that_gives_something_else_is_named(
    made: Callable[[Any], Any], data: ImageData, small: dict[str, Any]
) -> None:
    method = replace(methods.darts(), hypergradient=lambda problem, inner, outer: made(outer))
    with pytest.raises(ConfigError, match=r"hypergradient of method 'darts' gave .*expected a dictionary .*\(6, 5\)"):
        search(SPACE, data, method, **small)


@dataclass(frozen=True)
class Own:
    """A stage of somebody's own, which has no place in a file."""

    numbers: int = 1

    def apply(self, images: Tensor, draw: Tensor) -> Tensor:
        """No image is changed."""
        return images


def test_a_policy_that_no_file_can_hold_is_refused_before_the_search(
    data: ImageData, small: dict[str, Any], tmp_path: Path
) -> None:
    own = replace(data, policy=Policy((Own(),)))
    with pytest.raises(ConfigError, match=r"stage of type Own has no place in a file.* Search without a folder"):
        search(SPACE, own, methods.darts(), **small, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert search(SPACE, own, methods.darts(), **small).policy.stages == (Own(),)


def test_an_edge_that_weighs_nothing_has_an_entropy(data: ImageData, small: dict[str, Any]) -> None:
    """Where a softmax over edges is saturated, the probabilities of an edge are all zero."""
    method = methods.pc_darts(parts=2, architecture_learning_rate=1e6)
    result = search(SPACE, data, method, observers=(OperationWeights(),), **small)
    assert all(math.isfinite(record["entropy"]) for record in result.history)
    assert sum(result.history[-1]["operation_weights"]["cell"].values()) < 1


def test_a_loss_that_is_no_scalar_is_named(data: ImageData, small: dict[str, Any]) -> None:
    def many(evaluate: Any, choice: ChoiceWeights, state: Any) -> Tensor:
        return evaluate(choice) * torch.ones(3)

    with pytest.raises(ConfigError, match=r"loss function of method 'gdas' has the shape \(3,\); expected a scalar"):
        search(SPACE, data, replace(methods.gdas(), loss=many), **small)


def test_a_sampler_that_gives_weights_alone_is_named(data: ImageData, small: dict[str, Any]) -> None:
    def sampler(state: Any) -> Any:
        return torch.ones(6, 5)

    with pytest.raises(ConfigError, match=r"is to evaluate a Tensor; expected ChoiceWeights\(weights, drawn\)"):
        search(SPACE, data, replace(methods.random_nas(), sampler=sampler), **small)


def test_a_regularizer_may_be_a_number(data: ImageData, small: dict[str, Any]) -> None:
    """As one that has not begun yet may return."""

    def none(weights: Tensor, progress: float, outer: Any) -> Any:
        return 0.0

    plain, constant = (
        search(SPACE, data, replace(methods.darts(), regularizers=regularizers), **small)
        for regularizers in ((), (none,))
    )
    assert plain.history[-1]["valid_loss"] == constant.history[-1]["valid_loss"]


def test_observers_see_every_step_and_what_they_add_is_kept(data: ImageData, small: dict[str, Any]) -> None:
    seen: list[tuple[str, int, int]] = []

    def observer(event: Event) -> None:
        seen.append((event.kind, event.epoch, event.step))
        if event.kind == "epoch":
            event.record["extra"] = 7

    result = search(SPACE, data, methods.gdas(), observers=(observer,), **small)
    assert seen == [("step", 0, 1), ("step", 0, 2), ("epoch", 1, 0), ("step", 1, 1), ("step", 1, 2), ("epoch", 2, 0)]
    assert [record["extra"] for record in result.history] == [7, 7]
