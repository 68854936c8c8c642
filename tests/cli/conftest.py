"""Running ``nascli`` as a person does: arguments in; exit status, stdout and stderr out."""

import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pytest

from nas_cli.main import main


class Outcome(NamedTuple):
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


Nascli: TypeAlias = Callable[..., Outcome]


@pytest.fixture
def nascli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Nascli]:
    """Call ``nascli`` in an empty folder."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["nascli", *map(str, arguments)])
        status = 0
        try:
            main()
        except SystemExit as leave:
            status = int(leave.code or 0)
        return Outcome(status, *capsys.readouterr())

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished quick search, to be read and copied."""
    from nas_search.config import RunConfig
    from nas_search.runs import run_search

    run = tmp_path_factory.mktemp("finished") / "run"
    quick = RunConfig(data="fake:1x8x8", method="gdas", epochs=2, train_epochs=1, channels=4, device="cpu")
    run_search(quick, run)
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """The folder of a finished quick search, to do with what one likes."""
    return Path(shutil.copytree(finished, tmp_path / "run"))
