"""What is shown of long steps."""

import io
import logging
import re
import sys
from collections.abc import Iterator

import pytest
from terminals import terminal

from nas_cli.output import _columns, _Left, _Lines, counted, notices
from nas_search.roles import Event


def test_the_time_left_is_that_of_those_that_ended_now() -> None:
    seconds: Iterator[float] = iter([0.0, 60.0, 180.0])
    left = _Left(5, before=2, clock=lambda: next(seconds))
    assert [left() for _ in range(5)] == [
        "1 of 5",
        "2 of 5",
        "3 of 5, about 2 min left",
        "4 of 5, about 2 min left",
        "5 of 5",
    ]


def test_lines_say_how_many_and_nothing_is_said_if_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (False, True):
        with counted("sweep", 2, 0, quiet=quiet) as tell:
            tell("gdas-seed0  99.00 %")
            tell("gdas-seed1  98.00 %")
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"gdas-seed0  99.00 %  \(1 of 2, about \d+ s left\)", first)
    assert second == "gdas-seed1  98.00 %  (2 of 2)"


def test_a_terminal_has_the_lines_above_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal() as (stderr, shown):
        monkeypatch.setattr(sys, "stderr", stderr)
        with counted("sweep", 2, 0) as tell:
            tell("gdas-seed0  [not a mark]")
    text = shown.decode()
    assert "gdas-seed0  [not a mark]" in text
    assert re.search(r"1 of 2, about \d+ s left", text)


@pytest.mark.parametrize("width", [40, 80, 100, 160])
def test_a_bar_keeps_the_count_and_the_time_on_a_narrow_terminal(width: int) -> None:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(width=width, force_terminal=True, record=True, file=io.StringIO())
    bars = Progress(*_columns(width), console=console)
    figures = "train loss 2.272  train acc 15.2%  valid loss 2.301  valid acc 14.1%  860 img/s"
    bars.add_task("search", total=528, completed=132, figures=figures)
    console.print(bars.get_renderable())
    (line,) = filter(str.strip, console.export_text().splitlines())
    assert "132/528" in line
    assert "-:--:--" in line
    assert ("860 img/s" in line) == (width == 160)
    assert len(line.rstrip()) <= width


def test_notices_of_a_library_are_shown_and_the_loggers_left_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("nas_spaces.anything")
    before = logging.getLogger("nas_spaces").level
    for quiet in (False, True):
        with notices(quiet):
            log.info("reading a table: 30 %%")
    assert capsys.readouterr().err == "reading a table: 30 %%\n"
    assert logging.getLogger("nas_spaces").level == before


def test_a_line_of_an_epoch_says_how_long_the_run_still_takes(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    tell = _Lines(clock=lambda: now)
    for _ in ("what was found", "the random architecture, as another run of the same name"):
        for position in range(1, 7):  # three epochs of two steps, 30 seconds each
            now += 30
            tell(Event("step", "train", (position - 1) // 2, 3, 2 - position % 2, 2, {}, None))  # type: ignore[arg-type]
            if position % 2 == 0:
                tell(Event("epoch", "train", position // 2, 3, 0, 2, {"train_loss": 1.0}, None))  # type: ignore[arg-type]
    run = ["train epoch 1/3  train loss 1.000  about 2 min left", "train epoch 2/3  train loss 1.000  about 1 min left"]
    assert capsys.readouterr().err.splitlines() == [*run, "train epoch 3/3  train loss 1.000"] * 2
