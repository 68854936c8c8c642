"""Engines: what calls return, what they print, and processes that fail or die."""

import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas_search import ConfigError
from nas_search.engines import LocalEngine, Outcome, RayEngine, Task


def outcomes(
    engine: LocalEngine, function: Callable[..., Any], *calls: tuple[Any, ...], fresh: bool = False
) -> list[Outcome]:
    tasks = [Task(f"call-{place}", call) for place, call in enumerate(calls)]
    with engine.open(function, fresh=fresh) as run:
        found = dict(run(tasks, lambda: False))
    return [found[task] for task in tasks]


def test_calls_return_and_raise_and_may_print() -> None:
    captured = 10

    class Unreadable:
        """What can be sent, and not be read."""

        def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
            return int, ("no number",)

    def work(number: int) -> object:
        print("in the way of the answers?", sys.stdin.read())
        os.write(1, b"neither")
        if number == 2:
            raise ValueError("no,\nthank you")
        if number == 3:
            return Unreadable()
        return captured * number, os.getpid()

    found = outcomes(LocalEngine(1), work, (0,), (1,), (2,), (3,), (4,))
    assert found[2] == Outcome(error="ValueError: no,")
    assert found[3].error.startswith("ValueError: invalid literal")
    values = [found[place].value for place in (0, 1, 4)]  # the next one comes
    assert [value for value, _ in values] == [0, 10, 40]
    (process,) = {process for _, process in values}  # it is used again
    assert process != os.getpid()
    (first, second) = outcomes(LocalEngine(1), lambda: os.getpid(), (), (), fresh=True)
    assert first.value != second.value


@pytest.mark.skipif(sys.platform != "linux", reason="asks for signals")
def test_a_killed_call_is_made_again_and_one_that_ends_is_told(tmp_path: Path) -> None:
    def die(times: int) -> int:
        if times == 0:
            os._exit(3)
        marks = sorted(tmp_path.glob(f"{times}-*"))
        if len(marks) < times:
            (tmp_path / f"{times}-{len(marks)}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return len(marks)

    once, twice, left = outcomes(LocalEngine(2), die, (1,), (2,), (0,))
    assert once == Outcome(1)
    assert twice == Outcome(error="killed by signal 9")
    assert left == Outcome(error="its process ended with status 3")


class _Deadly:
    """What cannot be read: the process that does is aborted."""

    def __reduce__(self) -> tuple[Callable[[], object], tuple[()]]:
        return os.abort, ()


def test_a_process_that_dies_while_it_reads_its_function_is_told() -> None:
    deadly, long = _Deadly(), bytes(1 << 20)  # longer than a pipe holds
    (found,) = outcomes(LocalEngine(1, retries=0), lambda: (deadly, long), ())
    assert found == Outcome(error="killed by signal 6")


def test_a_function_that_cannot_be_read_is_told() -> None:
    class Unreadable:
        def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
            return int, ("no number",)

    unreadable = Unreadable()
    found = outcomes(LocalEngine(1), lambda: unreadable, (), ())
    assert all(
        re.search(r"cannot be read in another process \(ValueError: invalid literal", each.error) for each in found
    )


def test_calls_end_when_they_are_asked_to(tmp_path: Path) -> None:
    def linger(mark: str) -> None:
        Path(mark).write_text(str(os.getpid()))
        time.sleep(600)

    asked: list[float] = []

    def started() -> bool:
        begun = len(list(tmp_path.iterdir())) == 2 and all(path.read_text() for path in tmp_path.iterdir())
        if begun:
            asked.append(time.monotonic())
        return begun

    tasks = [Task(f"call-{place}", (str(tmp_path / str(place)),)) for place in range(3)]
    with LocalEngine(2).open(linger) as run:
        assert list(run(tasks, started)) == []
    assert time.monotonic() - asked[0] < 60
    for path in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.read_text()), 0)


def test_what_cannot_be_sent_or_done_is_refused() -> None:
    lock = threading.Lock()
    with (
        pytest.raises(ConfigError, match="cannot be sent there .*lock"),
        LocalEngine(1).open(lambda: lock.locked()),
    ):
        pass
    with pytest.raises(ConfigError, match="workers is 0"):
        LocalEngine(0)


@pytest.mark.parametrize("gpus", [-1.0, 1.5, float("nan"), float("inf")])
def test_a_number_of_gpus_that_cannot_be_is_refused(gpus: float) -> None:
    with pytest.raises(ConfigError, match=f"gpus is {gpus:g}; expected 0 or more GPUs for each worker"):
        RayEngine(gpus=gpus)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_listens_is_told(scheme: str) -> None:
    pytest.importorskip("ray")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        address = f"{scheme}127.0.0.1:{unused.getsockname()[1]}"
        with (
            pytest.raises(ConfigError, match=f"no Ray cluster at '{address}' .*refused"),
            RayEngine(address=address).open(len),
        ):
            pass


@pytest.mark.slow
def test_ray_writes_logs_and_refuses_what_it_has_no_room_for(tmp_path: Path) -> None:
    pytest.importorskip("ray")

    def work(number: int) -> int:
        print("number", number)
        return 1 // number

    tasks = [Task(f"call-{number}", (number,), tmp_path / f"{number}.log") for number in (0, 1)]
    with RayEngine().open(work) as run:
        assert dict(run(tasks, lambda: False)) == {
            tasks[0]: Outcome(error="ZeroDivisionError: integer division or modulo by zero"),
            tasks[1]: Outcome(1),
        }
    assert (tmp_path / "1.log").read_text() == "number 1\n"
    assert re.match(r"number 0\nTraceback(.|\n)*ZeroDivisionError", (tmp_path / "0.log").read_text())
    with (
        pytest.raises(ConfigError, match=r"needs 1 CPU and 4096 GPU\(s\), and the machines"),
        RayEngine(gpus=4096).open(work),
    ):
        pass
