"""Sweeps: what is planned, what is kept, what fails, and processes that die."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from here import Here

from nas_augment import Policy
from nas_search import ConfigError, Interrupted, RunFolderError, SearchResult
from nas_search.config import RunConfig
from nas_search.engines import LocalEngine, Outcome, RayEngine, Run, Task
from nas_search.runs import run_training
from nas_search.sweep import Plan, Trial, plan, run_sweep, summarize
from nas_search.sweep.trial import finished, run_trial
from nas_spaces import nas_bench_201

BASE = RunConfig(data="fake:1x8x8", epochs=2, train_epochs=0, batch_size=32, channels=4, cells=1, device="cpu")


class Pretend:
    """An engine that writes results in place of searching; trials named in `bad` fail."""

    def __init__(self, bad: tuple[str, ...] = ()) -> None:
        self.bad, self.ran = bad, list[str]()

    workers = 1

    @contextmanager
    def open(self, function: Callable[..., Any], *, fresh: bool = False) -> Iterator[Run]:
        assert fresh, "each trial has a process of its own"
        yield self._run

    def _run(self, tasks: Sequence[Task], stopping: Callable[[], bool]) -> Iterator[tuple[Task, Outcome]]:
        for task in tasks:
            self.ran.append(task.name)
            if task.name in self.bad:
                yield task, Outcome(error="ConfigError: no, thank you")
                continue
            file, folder = task.arguments
            config = RunConfig.from_toml(file)
            folder.mkdir()
            architecture = nas_bench_201().architecture([config.seed % 5] * 6)
            metrics = {"test_accuracy": 0.9 + config.seed / 100, "parameters": 1234567, "multiply_adds": 1}
            history = ({"epoch": 1, "train_loss": 1.0, "seconds": 2.0},)
            SearchResult(
                architecture, Policy(), history=history, method=config.method, metrics=metrics, seconds=2.0
            ).save(folder)
            (folder / "report.html").write_text("")
            yield task, Outcome()


def test_a_plan_is_every_method_with_every_seed_and_combination(tmp_path: Path) -> None:
    grid = {"architecture_learning_rate": (0.1, 0.2), "channels": (4, 8)}
    planned = plan(tmp_path, replace(BASE, seed=5), ["darts", "gdas"], 2, grid)
    assert len(planned.trials) == len({trial.name for trial in planned.trials}) == 16
    first = planned.trials[0]
    assert first.name == "darts-architecture_learning_rate=0.1-channels=4-seed5"
    assert (first.config.settings["architecture_learning_rate"], first.config.channels, first.config.seed) == (
        0.1,
        4,
        5,
    )
    assert {trial.config.seed for trial in planned.trials} == {5, 6}
    assert (
        planned.trials[-1].config
        == first.config.updated(
            {"method": "gdas", "architecture_learning_rate": 0.2, "channels": 8, "seed": 6}
        ).resolved()
    )


def test_what_cannot_be_planned_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a sweep of methods \[\] and 2 seeds has no run"):
        plan(tmp_path, BASE, [], 2)
    with pytest.raises(ConfigError, match="method 'gdas' is given twice"):
        plan(tmp_path, BASE, ["gdas", "gdas"], 1)
    with pytest.raises(ConfigError, match="unknown key 'learing_rate'; did you mean 'learning_rate'"):
        plan(tmp_path, BASE, ["gdas"], 1, {"learing_rate": (1.0,)})
    with pytest.raises(ConfigError, match="unknown policy 'cutot'; did you mean 'cutout'"):
        plan(tmp_path, BASE, ["gdas"], 1, {"policy": ("cutot",)})
    with pytest.raises(ConfigError, match=r"a grid of 'seed': a sweep has its own seeds \(--seeds\)"):
        plan(tmp_path, BASE, ["gdas"], 1, {"seed": (1, 2)})
    with pytest.raises(
        ConfigError, match="two trials would be called 'gdas-data=npz_a_b.npz-seed0', and share a folder"
    ):
        plan(tmp_path, BASE, ["gdas"], 1, {"data": ("npz:a/b.npz", "npz:a_b.npz")})


def test_a_sweep_that_was_killed_before_it_had_a_plan_begins_again(tmp_path: Path) -> None:
    planned = plan(tmp_path / "s", BASE, ["gdas"], 1)
    (planned.root / "logs").mkdir(parents=True)
    planned.lock.touch()
    with planned.claimed():
        pass
    assert (planned.root / "sweep.json").exists()


def test_a_sweep_is_run_once_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plan(tmp_path / "s", BASE, ["gdas"], 1)
    monkeypatch.setattr("nas_search.files._PATIENCE", 0.0)
    with planned.claimed(), pytest.raises(RunFolderError, match="is in use: another process is writing there"):
        run_sweep(planned, Pretend(()))
    other = plan(tmp_path / "s", BASE, ["darts"], 1)
    planned.folder(planned.trials[0]).mkdir()
    with pytest.raises(RunFolderError, match="holds another sweep"), other.claimed():
        pass
    assert not other.config_file(other.trials[0]).exists()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="was started by torchrun, in several: start it without"):
        run_sweep(planned, Pretend(()))


def test_one_that_fails_does_not_stop_the_others_and_what_is_done_is_not_repeated(drawn: None, tmp_path: Path) -> None:
    planned = plan(tmp_path / "s", BASE, ["gdas", "random_nas"], 2)
    engine, told = Pretend(("gdas-seed1",)), list[str]()
    rows = run_sweep(planned, engine, lambda row: told.append(row.trial.name))
    assert [row.status for row in rows] == ["done", "failed", "done", "done"]
    assert told == [trial.name for trial in planned.trials]
    table = list(csv.DictReader(planned.table.read_text().splitlines()))
    assert [row["status"] for row in table] == ["done", "failed", "done", "done"]
    assert table[1]["error"] == "ConfigError: no, thank you"
    assert float(table[3]["test_accuracy"]) == pytest.approx(0.91)
    assert table[3]["parameters"] == "1234567"
    assert "4 runs" not in (tmp_path / "s" / "report.html").read_text()
    again = Pretend()
    rows = run_sweep(plan(tmp_path / "s", BASE, ["gdas", "random_nas"], 2), again)
    assert again.ran == ["gdas-seed1"]
    assert [row.status for row in rows] == ["done"] * 4
    darts, random = summarize(rows)
    assert (darts["name"], darts["done"], random["failed"]) == ("gdas", 2, 0)
    assert darts["test_accuracy"] == pytest.approx(0.905)
    assert darts["test_accuracy_sd"] == pytest.approx(0.01 / 2**0.5)


def test_the_folder_of_another_sweep_is_left_alone(tmp_path: Path) -> None:
    run_sweep(plan(tmp_path / "s", BASE, ["gdas"], 1), Pretend())
    with pytest.raises(RunFolderError, match="holds another sweep, of other methods, seeds or settings"):
        run_sweep(plan(tmp_path / "s", BASE, ["gdas"], 2), Pretend())
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "mine.txt").write_text("keep")
    with pytest.raises(RunFolderError, match="exists and holds other files"):
        run_sweep(plan(tmp_path / "t", BASE, ["gdas"], 1), Pretend())
    assert [path.name for path in (tmp_path / "t").iterdir()] == ["mine.txt"]


def test_a_sweep_of_which_no_trial_has_begun_is_replaced(tmp_path: Path) -> None:
    wrong = plan(tmp_path / "s", replace(BASE, data="npz:nosuch.npz"), ["gdas"], 1)
    (row,) = run_sweep(wrong, Pretend(("gdas-seed0",)))
    assert row.status == "failed"
    (tmp_path / "s" / "mine.txt").write_text("keep")
    right = plan(tmp_path / "s", BASE, ["gdas"], 1)
    with pytest.raises(RunFolderError, match="holds another sweep"):
        run_sweep(right, Pretend())
    (tmp_path / "s" / "mine.txt").unlink()
    (row,) = run_sweep(right, Pretend())
    assert row.status == "done"
    assert RunConfig.from_toml(right.config_file(row.trial)).data == BASE.data


def test_a_device_that_is_not_there_is_refused_before_the_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown device 'tpu'"):
        run_sweep(plan(tmp_path / "s", replace(BASE, device="tpu"), ["gdas"], 1), LocalEngine(1))
    assert not (tmp_path / "s").exists()


def test_a_damaged_result_is_a_failure_and_the_other_trials_run(tmp_path: Path) -> None:
    planned = plan(tmp_path / "s", BASE, ["gdas"], 3)
    run_sweep(planned, Pretend(("gdas-seed2",)))
    for trial, content in zip(planned.trials, ("{", '{"metrics": 3}'), strict=False):
        (planned.folder(trial) / "result.json").write_text(content)
    told, again = list[str](), Pretend()
    rows = run_sweep(planned, again, lambda row: told.append(row.status))
    assert again.ran == ["gdas-seed2"]
    assert told == [row.status for row in rows] == ["failed", "failed", "done"]
    assert rows[0].error.endswith(f"Delete {planned.folder(planned.trials[0])} to run the trial again.")


@pytest.mark.parametrize(
    ("method", "own", "later", "left_out"),
    [("gdas", 1, 2, True), ("gdas", 0, 2, True), ("gdas", 1, 1, False), ("dha", 1, 1, True)],
)
def test_figures_of_a_training_that_is_not_the_trials_own_are_left_out(
    method: str, own: int, later: int, left_out: bool, tmp_path: Path
) -> None:
    planned = plan(tmp_path / "s", replace(BASE, epochs=1, train_epochs=own), [method], 1)
    (before,) = run_sweep(planned, Here())
    assert before.figures is not None
    assert not before.remark
    run_training(planned.folder(before.trial), epochs=later)
    (after,) = run_sweep(planned, Here())
    trained = {"test_accuracy", "parameters"} if left_out else set[str]()
    assert after.figures == {name: value for name, value in before.figures.items() if name not in trained}
    assert after.status == "done"
    assert after.remark.startswith("trained otherwise since") == left_out
    (row,) = csv.DictReader(planned.table.read_text().splitlines())
    assert row["remark"] == after.remark


@pytest.mark.skipif(sys.platform != "linux", reason="asks for signals")
def test_a_sweep_is_stopped_by_signals_that_its_engine_would_handle(tmp_path: Path) -> None:
    class Handling(Pretend):
        """As Ray does."""

        @contextmanager
        def open(self, function: Callable[..., Any], *, fresh: bool = False) -> Iterator[Run]:
            before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
            yield self._run
            signal.signal(signal.SIGTERM, before)

        def _run(self, tasks: Sequence[Task], stopping: Callable[[], bool]) -> Iterator[tuple[Task, Outcome]]:
            os.kill(os.getpid(), signal.SIGTERM)
            return iter(()) if stopping() else super()._run(tasks, stopping)

    with pytest.raises(Interrupted, match="after 0 of 1 trials"):
        run_sweep(plan(tmp_path / "s", BASE, ["gdas"], 1), Handling())


def _process_of(trial: Trial, parent: int) -> int:
    """That an engine runs a trial in: a child of the process that has the engine, of the name of the trial."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                name, _, fields = (folder / "stat").read_text().rpartition(")")
            except OSError:
                continue
            if (trial.name.encode() in words and int(fields.split()[1]) == parent) or "(ray::random" in name:
                return int(folder.name)
    raise AssertionError("the trial's process was not found")


def _runs(process: int) -> bool:
    """Whether it has not ended; one for which nobody waits may stay as a zombie."""
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


def _when_it_has_saved(planned: Plan, trial: Trial, then: Callable[[], None]) -> threading.Thread:
    """A thread that does something as soon as a trial has saved a checkpoint."""
    saved = planned.folder(trial) / "checkpoints" / "last.pt"

    def wait() -> None:
        deadline = time.monotonic() + 300
        while not saved.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        then()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_killed_worker_is_taken_up_again_and_a_failure_is_told(engine: str, tmp_path: Path) -> None:
    config = replace(BASE, epochs=25)
    planned = plan(tmp_path / "s", config, ["random_nas"], 1)
    bad = Trial("bad-seed0", replace(config, data="npz:nowhere.npz"))
    planned = Plan(planned.root, (*planned.trials, bad))
    if engine == "ray":
        pytest.importorskip("ray")
        chosen: LocalEngine | RayEngine = RayEngine(2)
    else:
        chosen = LocalEngine(2)
    first = planned.trials[0]
    killer = _when_it_has_saved(planned, first, lambda: os.kill(_process_of(first, os.getpid()), signal.SIGKILL))
    good, failed = run_sweep(planned, chosen)
    killer.join()
    assert failed.status == "failed"
    assert "nowhere.npz" in failed.error
    assert good.status == "done", good.error

    alone = tmp_path / "alone"
    run_trial(good.trial.config, alone)

    def found(folder: Path) -> object:
        record = json.loads((folder / "result.json").read_text())
        return record["architecture"], record["metrics"]

    assert found(planned.folder(good.trial)) == found(alone)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks for signals and sessions of processes")
def test_a_sweep_that_is_stopped_or_killed_stops_its_trials_and_goes_on(tmp_path: Path) -> None:
    config = replace(BASE, epochs=400)
    planned = plan(tmp_path / "s", config, ["random_nas"], 1)
    (trial,) = planned.trials
    stopper = _when_it_has_saved(planned, trial, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted, match="stopped the sweep in .* after 0 of 1 trials"):
        run_sweep(planned, LocalEngine(1))
    stopper.join()
    assert not finished(planned.folder(trial), trial.config)

    program = (
        "from nas_search.sweep import plan, run_sweep; from nas_search.engines import LocalEngine\n"
        "from nas_search.config import RunConfig\n"
        f"run_sweep(plan({str(tmp_path / 's')!r}, {config!r}, ['random_nas'], 1), LocalEngine(1))\n"
    )
    saved = planned.folder(trial) / "checkpoints" / "last.pt"
    before = saved.stat().st_mtime_ns
    sweep = subprocess.Popen([sys.executable, "-c", program])
    while saved.stat().st_mtime_ns == before:
        assert sweep.poll() is None
        time.sleep(0.05)
    left = _process_of(trial, sweep.pid)
    sweep.kill()
    sweep.wait()
    deadline = time.monotonic() + 120
    while _runs(left):  # it saves and ends by itself
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not finished(planned.folder(trial), trial.config)


def test_a_trial_that_was_trained_on_other_data_since_is_not_run_again(tmp_path: Path) -> None:
    planned = plan(tmp_path / "s", replace(BASE, epochs=1, train_epochs=1), ["gdas"], 1)
    (before,) = run_sweep(planned, Here())
    run_training(planned.folder(before.trial), epochs=1, data="digits")
    again = Pretend()
    (after,) = run_sweep(planned, again)
    assert again.ran == []
    assert (after.status, "test_accuracy" in (after.figures or {})) == ("done", False)
    assert after.remark.startswith("trained otherwise since")
