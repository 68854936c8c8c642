"""Runs that are killed, or that find the disk full or not theirs to write on, go on to the result that they would have had."""

import ctypes
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from nas_search import RunFolderError
from nas_search.run_folder import RunFolder

KILLED = -9
BASE: dict[str, Any] = {
    "space": "nas_bench_201", "data": "fake:1x8x8", "epochs": 4, "train_epochs": 1, "batch_size": 32, "channels": 4, "cells": 1,
    "seed": 3, "device": "cpu",
}  # fmt: skip
METHODS: dict[str, dict[str, Any]] = {
    "darts": {"order": 2},
    "daas": {"architectures": 2, "weight_architectures": 2},
    "dha": {},
    "en2as": {},
    "nsas": {"strategy": "archive", "constraints": 2},
    "e2nas": {"autoencoder_epochs": 1, "autoencoder_samples": 64, "hidden": 4},
    "bayesian_optimization": {"initial": 2, "pool": 20, "candidate_epochs": 1},
    "enas": {},
}
TIMINGS = {"seconds", "images_per_second", "peak_memory_mib"}
# Both name the folder of the run, or tell timings.
APART = {"config.toml", "report.html", ".lock"}


class Forks:
    """Runs in processes of their own, see ``forked_runs.py``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("forked_runs.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, cwd=folder,
            preexec_fn=_no_privileges,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def run(self, **job: Any) -> tuple[int, float, str]:
        """How a job ended, the seconds that it took, and what it printed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.count += 1
        log = self.folder / f"{self.count}.log"
        self.process.stdin.write(json.dumps({"log": str(log), **job}, default=str) + "\n")
        self.process.stdin.flush()
        ended = json.loads(self.process.stdout.readline())
        return ended["status"], ended["seconds"], log.read_text()

    def done(self, **job: Any) -> tuple[float, str]:
        """A job that has to succeed."""
        status, seconds, printed = self.run(**job)
        assert status == 0, printed
        return seconds, printed


def _no_privileges() -> None:
    """Not even the superuser may write where the permissions say no: PR_CAPBSET_DROP of CAP_DAC_OVERRIDE."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    forks = Forks(tmp_path_factory.mktemp("forks"))
    yield forks
    assert forks.process.stdin is not None
    forks.process.stdin.close()
    assert forks.process.wait(timeout=60) == 0
    assert forks.process.stdout is not None
    forks.process.stdout.close()


def untimed(value: Any) -> Any:
    """Without what tells how long something took."""
    if isinstance(value, dict):
        return {key: untimed(item) for key, item in value.items() if key not in TIMINGS}
    return [untimed(item) for item in value] if isinstance(value, list | tuple) else value


def content(run: Path) -> dict[str, Any]:
    """Everything that a run wrote, without timings, by the names of the files."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in run.rglob("*") if path.is_file() and path.name not in APART):
        name = str(path.relative_to(run))
        if path.suffix == ".pt":
            record = torch.load(path, weights_only=True)
            found[name] = untimed({key: value for key, value in record.items() if key != "fingerprint"})
        elif path.suffix == ".npz":
            found[name] = path.read_bytes()
        else:
            text = path.read_text()
            found[name] = untimed(
                [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)
            )
    return found


def assert_same(a: Any, b: Any, where: str) -> None:
    """Equal bit for bit, through dictionaries and lists."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}/{index}")
    elif isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype, where
        assert torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0)), where
    else:
        assert a == b or (a != a and b != b), f"{where}: {a!r} is not {b!r}"


def killed(forks: Forks, parts: Path, job: dict[str, Any], events: int, seconds: float, kills: int, seed: str) -> None:
    """Kill a run again and again, in turn between two steps and at any moment, and let it go on after each."""
    generator = random.Random(seed)
    done = 0
    while done < kills:
        steps, moment = generator.randint(1, events), generator.random() * seconds
        status, _, printed = forks.run(**job, **({"seconds": moment} if done % 2 else {"steps": steps}))
        if status != KILLED:  # it had less left than that: it begins anew
            assert status == 0, printed
            shutil.rmtree(parts)
            seconds *= 0.8
        done += status == KILLED


def search_survives(forks: Forks, name: str, folder: Path, kills: int) -> None:
    """A search that is killed ends with what it would have ended with."""
    config = {**BASE, "method": name, "settings": METHODS[name]}
    whole, parts = folder / "whole", folder / "parts"
    seconds, printed = forks.done(config=config, out=whole, cache=folder / "cache-whole")
    job = {"config": config, "out": parts, "cache": folder / "cache-parts"}
    killed(forks, parts, job, int(printed.split()[-2]), seconds, kills, name)
    forks.done(**job)
    assert_same(content(parts), content(whole), name)


@pytest.mark.parametrize(
    "name", [name if name == "darts" else pytest.param(name, marks=pytest.mark.slow) for name in METHODS]
)
def test_a_search_that_is_killed_goes_on_bit_for_bit(name: str, forks: Forks, tmp_path: Path) -> None:
    search_survives(forks, name, tmp_path, kills=2)


@pytest.mark.nightly
@pytest.mark.parametrize("name", METHODS)
def test_a_search_that_is_killed_many_times_goes_on_bit_for_bit(name: str, forks: Forks, tmp_path: Path) -> None:
    search_survives(forks, name, tmp_path, kills=8)


def arguments(config: dict[str, Any]) -> list[str]:
    return [text for key, value in config.items() for text in (f"--{key.replace('_', '-')}", str(value))]


@pytest.mark.slow
def test_the_command_line_and_a_training_that_are_killed_go_on_bit_for_bit(forks: Forks, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    start = ["search", *arguments({**BASE, "method": "gdas"}), "--out"]
    seconds, _ = forks.done(argv=[*start, str(whole)])
    generator = random.Random(0)
    kills = 0
    while kills < 2:
        again = (
            ["search", "--out", str(parts), "--resume"] if (parts / "config.toml").exists() else [*start, str(parts)]
        )
        status, _, printed = forks.run(argv=again, seconds=generator.random() * seconds * 0.8)
        assert status in (KILLED, 0), printed
        if status == 0:
            shutil.rmtree(parts)
        kills += status == KILLED
    again = ["search", "--out", str(parts), "--resume"] if (parts / "config.toml").exists() else [*start, str(parts)]
    forks.done(argv=again)
    assert_same(content(parts), content(whole), "search")
    train = ["train", "--epochs", "8"]
    seconds, _ = forks.done(argv=[*train, str(whole)])
    kills, retrain = 0, parts / "checkpoints" / "retrain.pt"
    while kills < 3:
        more = ["--resume"] if retrain.exists() else []
        status, _, printed = forks.run(argv=[*train, str(parts), *more], seconds=generator.random() * seconds * 0.8)
        assert status in (KILLED, 0), printed
        if status == 0:
            retrain.unlink()
        kills += status == KILLED
    forks.done(argv=[*train, str(parts), *(["--resume"] if retrain.exists() else [])])
    assert_same(content(parts), content(whole), "train")


def test_what_a_kill_leaves_half_written_does_not_stand_in_the_way(forks: Forks, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    (parts / "checkpoints").mkdir(parents=True)
    half = [parts / ".config.toml.1.tmp", parts / "checkpoints" / ".last.pt.1.tmp"]
    for path in half:
        path.write_bytes(b"half")
    folder = RunFolder(parts)
    with folder.claimed(resume=False):
        pass
    assert not any(path.exists() for path in half)
    (parts / "mine.txt").write_text("x")
    with pytest.raises(RunFolderError, match="holds other files"), folder.claimed(resume=False):
        pass


def test_a_full_disk_leaves_the_checkpoint_and_says_what_to_do(forks: Forks, tmp_path: Path) -> None:
    config = {**BASE, "method": "gdas"}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    _, printed = forks.done(config=config, out=whole)
    events = int(printed.split()[-2])
    before = b""
    folder = RunFolder(parts)
    # 20 bytes are too few for any file, 3,000 for checkpoints and models, 40,000 for the report or nothing.
    places = [*((steps, 3000) for steps in (1, events // 3, events // 2, events - 1)), (events, 20)]
    for steps, size in places:
        status, _, printed = forks.run(config=config, out=parts, steps=steps, file_size=size)
        if folder.last.exists():
            before = before or folder.last.read_bytes()
            assert "state" in torch.load(folder.last, weights_only=True)
        if status:
            assert "RunFolderError: cannot write" in printed
            assert "File too large" in printed
            assert "Free space" in printed
    # Of a method whose configuration is long: what is printed goes into a file too.
    none = ["search", "--out", str(tmp_path / "none"), *arguments({**BASE, "method": "daas"})]
    status, _, printed = forks.run(argv=none, file_size=500)
    assert status == 1
    assert "nascli: cannot write" in printed
    assert "Free space" in printed
    forks.done(config=config, out=parts)
    assert_same(content(parts), content(whole), "gdas")


def test_a_folder_that_is_read_only_is_said_and_left_as_it_was(forks: Forks, tmp_path: Path) -> None:
    config = {**BASE, "method": "gdas"}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    _, printed = forks.done(config=config, out=whole)
    assert forks.run(config=config, out=parts, steps=int(printed.split()[-2]) // 2)[0] == KILLED
    before = content(parts)
    folders = (parts / "checkpoints", parts)
    for folder in folders:
        folder.chmod(0o555)
    try:
        status, _, printed = forks.run(argv=["search", "--out", str(parts), "--resume"])
        assert status == 1
        assert "Permission denied" in printed
        assert "choose" in printed
        assert_same(content(parts), before, "gdas")
    finally:
        for folder in folders:
            folder.chmod(0o755)
    forks.done(argv=["search", "--out", str(parts), "--resume"])
    assert_same(content(parts), content(whole), "gdas")
