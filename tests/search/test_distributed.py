"""Two processes on this machine, started by torchrun, against one."""

import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from nas_search import ConfigError, Interrupted, distributed
from nas_search.config import RunConfig
from nas_search.roles import Event
from nas_search.run_folder import RunFolder
from nas_search.runs import run_search
from nas_spaces.twice import batch_norm

SEARCH = [
    "search", "--data", "fake:1x8x8", "--method", "gdas", "--batch-size", "32", "--channels", "4",
    "--train-epochs", "0", "--device", "cpu",
]  # fmt: skip
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def torchrun(*arguments: str, restarts: int = 0) -> list[str]:
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", str(restarts)]
    return [sys.executable, "-m", *launch, *arguments]


@contextmanager
def with_another(*command: str) -> Iterator["subprocess.Popen[str]"]:
    """Be the first of two ranks; the second is the process of a command, as torchrun would start it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    ranks = [both | {"RANK": number, "LOCAL_RANK": number} for number in ("0", "1")]
    threads = torch.get_num_threads()
    with started([sys.executable, *command], **ranks[1]) as other, pytest.MonkeyPatch.context() as patch:
        for name, value in ranks[0].items():
            patch.setenv(name, value)
        patch.setattr(sys, "excepthook", sys.excepthook)  # a process group puts another one around it
        torch.set_num_threads(1)  # as the other one
        try:
            yield other
        finally:
            torch.set_num_threads(threads)
            other.kill()
            if torch.distributed.is_initialized():  # left so by an error
                torch.distributed.destroy_process_group()


def nascli(*arguments: str) -> int:
    """What ``nascli`` leaves with, called in this process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["nascli", *arguments])
        with pytest.raises(SystemExit) as left:
            runpy.run_module("nas_cli", run_name="__main__")
    for number, handler in handlers.items():
        signal.signal(number, handler)
    return int(left.value.code or 0)


def on_two_ranks(*arguments: str) -> None:
    """``nascli`` by this process and another one."""
    with with_another("-m", "nas_cli", *arguments) as other:
        assert nascli(*arguments) == 0
        _, printed = other.communicate(timeout=300)
    assert other.returncode == 0, printed


def largest_difference(a: Any, b: Any) -> float:
    """Between the numbers of two records that are the same otherwise."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        return max((largest_difference(a[key], b[key]) for key in a), default=0.0)
    if isinstance(a, list):
        return max((largest_difference(x, y) for x, y in zip(a, b, strict=True)), default=0.0)
    if isinstance(a, torch.Tensor):
        return float((a.double() - b.double()).abs().max()) if a.numel() else 0.0
    if isinstance(a, float):
        return abs(a - b)
    assert a == b
    return 0.0


def test_parts_divide_a_batch_and_what_cannot_be_divided_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert distributed.part(5) == slice(0, 5)
    monkeypatch.setattr(distributed, "size", lambda: 3)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    assert distributed.part(12) == slice(4, 8)
    for count in (13, 3):
        with pytest.raises(ConfigError, match=f"a batch of {count} cannot be divided among 3 ranks"):
            distributed.part(count)


def test_one_process_averages_nothing_and_agrees_with_itself() -> None:
    values = torch.ones(3)
    assert distributed.mean(values) is values
    assert distributed.reduction() is None
    assert distributed.agreed(True)
    assert not distributed.agreed(False)
    assert distributed.from_first("text") == "text"
    distributed.check_position(7)


@pytest.mark.slow
def test_two_ranks_compute_what_one_process_does_with_the_whole_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = str(Path(__file__).with_name("distributed_runs.py"))
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    # The script replaces it, here for the time of the test.
    monkeypatch.setattr("nas_spaces.nas_bench_201_supernet.batch_norm", batch_norm)
    monkeypatch.setattr(sys, "argv", [script, str(one)])
    runpy.run_path(script, run_name="__main__")
    with with_another(script, str(two)) as other:
        monkeypatch.setattr(sys, "argv", [script, str(two)])
        runpy.run_path(script, run_name="__main__")
        _, printed = other.communicate(timeout=300)
    assert other.returncode == 0, printed
    names = sorted(path.name for path in one.iterdir())
    assert len(names) == 8
    for name in names:
        a, b = (torch.load(folder / name, weights_only=True) for folder in (one, two))
        assert largest_difference(a, b) < 1e-5, name


def begun(process: "subprocess.Popen[str]", out: Path) -> None:
    """Wait until a run has saved its first epoch."""
    deadline = time.monotonic() + 300
    while not RunFolder(out).events.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def started(command: list[str], **variables: str) -> "subprocess.Popen[str]":
    environment = ENVIRONMENT | variables
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def ranks_of(process: "subprocess.Popen[str]") -> list[int]:
    """The processes that torchrun has started, by rank."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    found = {}
    for child in children:
        variables = dict(
            pair.split("=", 1) for pair in Path(f"/proc/{child}/environ").read_text().split("\0") if "=" in pair
        )
        if "LOCAL_RANK" in variables:
            found[int(variables["LOCAL_RANK"])] = int(child)
    return [found[rank] for rank in sorted(found)]


@pytest.mark.slow
def test_a_run_of_two_ranks_is_stopped_saved_once_and_goes_on_in_one_process_and_back(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [*SEARCH, "--epochs", "16", "--out", str(out)]
    process = started(torchrun("-m", "nas_cli", *command))
    begun(process, out)
    process.send_signal(signal.SIGTERM)
    _, printed = process.communicate(timeout=120)
    assert process.returncode != 0
    assert printed.count("nascli: stopped") == 1, printed
    assert "--resume" in printed
    first = len(RunFolder(out).read_events())

    def stop(event: Event) -> None:
        if event.kind == "epoch" and len(RunFolder(out).read_events()) > first:
            raise Interrupted("for the test")

    with pytest.raises(Interrupted):
        run_search(RunConfig.from_toml(RunFolder(out).config), out, resume=True, observers=[stop])
    assert len(RunFolder(out).read_events()) == first + 1
    on_two_ranks(*command, "--resume")
    assert [line["epoch"] for line in RunFolder(out).read_events()] == list(range(1, 17))
    assert RunFolder(out).read_result()["architecture"]


# The processes of one attempt come one after the other; after the restart one meets what the killed ones have left.
LATE = """
import os, runpy, time
import nas_search
if os.environ["RANK"] != os.environ["TORCHELASTIC_RESTART_COUNT"]:
    time.sleep(2)
runpy.run_module("nas_cli", run_name="__main__")
"""


@pytest.mark.slow
def test_a_rank_that_is_killed_ends_the_job_which_goes_on_by_hand_or_by_torchrun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_hand, by_itself = RunFolder(tmp_path / "by-hand"), RunFolder(tmp_path / "by-itself")
    command = [*SEARCH, "--epochs", "16", "--out", str(by_hand.root)]
    with with_another("-m", "nas_cli", *command) as other:
        killed: list[float] = []

        def kill() -> None:
            begun(other, by_hand.root)
            other.kill()
            killed.append(time.monotonic())

        killer = threading.Thread(target=kill)
        killer.start()
        assert nascli(*command) == 1
        killer.join()
        assert time.monotonic() - killed[0] < 60  # and not after the time-out of half an hour
    assert "nascli: rank 0 lost the others" in capsys.readouterr().err
    on_two_ranks(*command, "--resume")

    script = tmp_path / "late.py"
    script.write_text(LATE)
    process = started(torchrun(str(script), *SEARCH, "--epochs", "16", "--out", str(by_itself.root), restarts=1))
    begun(process, by_itself.root)
    os.kill(ranks_of(process)[0], signal.SIGKILL)  # the rank that saves
    _, printed = process.communicate(timeout=300)
    assert process.returncode == 0, printed

    states = []
    for folder in (by_hand, by_itself):
        assert [line["epoch"] for line in folder.read_events()] == list(range(1, 17))
        states.append(torch.load(folder.last, weights_only=True)["state"]["modules"])
    assert largest_difference(*states) == 0
