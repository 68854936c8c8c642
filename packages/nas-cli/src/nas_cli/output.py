"""What is printed: a progress bar or plain lines while a run goes on, and the result at its end."""

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, Task, TaskID

    from nas_search.roles import Event, Observer

__all__ = [
    "OutOfMemoryError",
    "counted",
    "is_out_of_memory",
    "notices",
    "print_json",
    "print_search",
    "progress",
    "remembering",
    "resumable",
]


@contextmanager
def progress(*, quiet: bool, verbose: bool = False) -> Iterator["list[Observer]"]:
    """Observers that show how a run goes, on stderr: a bar on a terminal, a line per epoch elsewhere, nothing if quiet.

    If verbose there is a line for every epoch everywhere, with all that is recorded of it.
    """
    with notices(quiet):
        yield from _observers(quiet, verbose)


def _observers(quiet: bool, verbose: bool) -> Iterator["list[Observer]"]:
    if quiet:
        yield []
    elif verbose:
        yield [_everything]
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        with Progress(*_columns(console.width), console=console) as bars:
            yield [_Bar(bars)]
    else:
        yield [_Lines()]


def _columns(width: int) -> "tuple[ProgressColumn, ...]":
    """What a bar says; where the terminal is narrow the figures are cut, and neither the count nor the time that is left."""
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column
    from rich.text import Text

    class Figures(ProgressColumn):
        def render(self, task: "Task") -> Text:
            return Text(task.fields["figures"], no_wrap=True, overflow="ellipsis")

    def whole() -> Column:
        return Column(no_wrap=True)

    return (
        TextColumn("[bold]{task.description}", table_column=whole()),
        BarColumn(bar_width=28 if width > 110 else 8, table_column=whole()),
        MofNCompleteColumn(table_column=whole()),
        TimeRemainingColumn(table_column=whole()),
        Figures(table_column=Column(no_wrap=False)),
    )


@contextmanager
def notices(quiet: bool) -> Iterator[None]:
    """What our libraries log of long preparations, such as the decoding of images or the reading of a table, on stderr."""
    handler, logs = _Echo(), [logging.getLogger(name) for name in ("nas_search", "nas_spaces")]
    before = [log.level for log in logs]
    for log in () if quiet else logs:
        log.addHandler(handler)
        log.setLevel(logging.INFO)
    try:
        yield
    finally:
        for log, level in zip(logs, before, strict=True):
            log.removeHandler(handler)
            log.setLevel(level)


class _Echo(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(record.getMessage(), err=True)


@contextmanager
def counted(what: str, total: int, before: int, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """What to tell of each thing that ends, of several that take long: its line, then how many there are and the time left.

    On stderr: the lines, and on a terminal a bar that stays below them.

    Args:
        what: their name.
        total: how many there are.
        before: how many of them had ended before; they are told too, and say nothing of the time that the others take.
        quiet: show nothing.
    """
    if quiet:
        yield lambda line: None
        return
    left = _Left(total, before)
    if not sys.stderr.isatty():
        yield lambda line: click.echo(f"{line}  ({left()})", err=True)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(f"[bold]{what}"), BarColumn(bar_width=28), TextColumn("{task.description}"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bars:
        task = bars.add_task(f"0 of {total}", total=total)

        def tell(line: str) -> None:
            bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
            bars.update(task, advance=1, description=left())

        yield tell


class _Left:
    """How many of several things have ended, and how long the others take if they take as long."""

    def __init__(self, total: int, before: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.before, self.clock = total, before, clock
        self.begun, self.done = clock(), 0

    def __call__(self) -> str:
        """Note that one more has ended."""
        from nas_spaces.countdown import duration

        self.done += 1
        told = f"{self.done} of {self.total}"
        now = self.done - self.before
        if now < 1 or self.done == self.total:
            return told
        return f"{told}, about {duration((self.clock() - self.begun) / now * (self.total - self.done))} left"


@contextmanager
def resumable(again: str, begun: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Say how to go on when a run is interrupted: the command `again`, or the same one where no run was `begun`."""
    from nas_search import Interrupted

    try:
        yield
    except (Interrupted, KeyboardInterrupt) as error:
        if not begun():  # an autoencoder's training that comes first is saved too, and says so
            before = str(error) or "interrupted before the run began."
            raise Interrupted(f"{before} Repeat the same command.") from error
        saved = str(error) or "interrupted; what was saved last is whole."
        raise Interrupted(f"{saved} Go on with: {again}") from error


class OutOfMemoryError(MemoryError):
    """Memory ran out in a command that says which of its settings lower it."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, of the host or of a GPU: torch has no class of its own for the host's."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or ("memory" in text and ("alloc" in text or "out of" in text))


@contextmanager
def remembering(remedy: str) -> Iterator[None]:
    """Say what of a command's own settings takes less memory, where it ran out."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(f"out of memory: {remedy}") from error


class _Bar:
    """One bar per run: steps, loss, accuracy, images per second, time left."""

    def __init__(self, bars: "Progress") -> None:
        self.bars = bars
        self.tasks: dict[tuple[str, int], TaskID] = {}
        self._runs = 0
        self._last = 0

    def __call__(self, event: "Event") -> None:
        position = event.epoch * event.steps + event.step
        if position < self._last:
            self._runs += 1  # a second run of the same name starts from the beginning
        self._last = position
        key = (event.run, self._runs)
        if key not in self.tasks:
            self.tasks[key] = self.bars.add_task(event.run, total=event.epochs * event.steps, figures="")
        self.bars.update(self.tasks[key], completed=position, figures=_figures(event.record))


class _Lines:
    """One line per epoch, at most one a second except for the last, with the time that the run still takes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._printed = -1.0
        # Of the run that goes on: where and when it was first seen, which is later than 0 where it was resumed.
        self._run, self._first, self._last, self._start = "", 0, 0, 0.0

    def __call__(self, event: "Event") -> None:
        now = self._clock()
        position = event.epoch * event.steps + event.step
        if event.run != self._run or position < self._last:
            self._run, self._first, self._start = event.run, position, now
        self._last = position
        if event.kind != "epoch":
            return
        if now - self._printed >= 1 or event.epoch == event.epochs:
            self._printed = now
            left = self._left(now, event.epochs * event.steps - position, position - self._first)
            click.echo(f"{event.run} epoch {event.epoch}/{event.epochs}  {_figures(event.record)}{left}", err=True)

    def _left(self, now: float, steps: int, done: int) -> str:
        from nas_spaces.countdown import duration

        seconds = (now - self._start) / max(1, done) * steps
        return f"  about {duration(seconds)} left" if steps and seconds >= 1 else ""


def _everything(event: "Event") -> None:
    if event.kind == "epoch":
        shown = "  ".join(
            f"{key} {value:.6g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in event.record.items()
            if isinstance(value, str | int | float)
        )
        click.echo(f"{event.run} epoch {event.epoch}/{event.epochs}  {shown}", err=True)


def _figures(record: Mapping[str, Any]) -> str:
    shown = []
    for part in ("train", "valid"):
        if f"{part}_loss" in record:
            shown.append(f"{part} loss {record[f'{part}_loss']:.3f}")
        if f"{part}_accuracy" in record:
            shown.append(f"{part} acc {100 * record[f'{part}_accuracy']:.1f}%")
        if f"{part}_perplexity" in record:
            shown.append(f"{part} ppl {record[f'{part}_perplexity']:.4g}")
    if "images_per_second" in record:
        unit = "seq/s" if "train_perplexity" in record else "img/s"
        shown.append(f"{record['images_per_second']:,.0f} {unit}")
    return "  ".join(shown)


def print_json(record: Mapping[str, Any]) -> None:
    """The one JSON object on stdout that ``--json`` promises."""
    click.echo(json.dumps(record, allow_nan=False))


def print_search(record: Mapping[str, Any]) -> None:
    """What a search found, what is to be said about it, and what to do next."""
    from nas_search.reports.augmentation import augmentation
    from nas_search.reports.remarks import remarks, trained_alike

    metrics = record["metrics"]
    lines = [("architecture", record["architecture"])]
    lines.append(("augmentation", augmentation(record["policy"])))
    if learned := {name: value for name, value in record["hyperparameters"].items() if name != "schedule"}:
        lines.append(
            ("training", ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in learned.items()))
        )
    if "stopped_after" in metrics:
        lines.append(("stopped early", f"after {metrics['stopped_after']} epochs"))
    if "test_accuracy" in metrics:
        on = f" on {metrics['train_data']}" if "train_data" in metrics else ""
        how = "as trained in the search" if metrics.get("trained_in_search") else f"trained from scratch{on}"
        lines.append(("test accuracy", f"{100 * metrics['test_accuracy']:.2f} %  ({how})"))
    if "test_perplexity" in metrics:
        beside = f", random one {metrics['random_test_perplexity']:.2f}" if "random_test_perplexity" in metrics else ""
        lines.append(("perplexity", f"{metrics['test_perplexity']:.2f}{beside}"))
    if "random_test_accuracy" in metrics:
        apart = "" if trained_alike(metrics) else ", not trained alike"
        shown = f"{100 * metrics['random_test_accuracy']:.2f} %  ({metrics['random_architecture']}{apart})"
        lines.append(("random one", shown))
    if "table_test" in metrics:
        table = f"{metrics['table_test']:.2f} % on {metrics['table_dataset']}, rank {metrics['table_rank']:,}"
        lines.append(("table", f"{table} of {metrics['table_size']:,}, regret {metrics['table_regret']:.2f}"))
    if "parameters" in metrics:
        size = f"{metrics['parameters']:,} parameters, {metrics['multiply_adds'] / 1e6:.2f} M multiply-adds"
        lines.append(("size", size))
    lines.append(("search took", f"{record['seconds']:.1f} s"))
    lines.append(("report", record["report"] or "none: matplotlib is missing, see `nascli doctor`"))
    for label, text in lines:
        click.echo(f"{label:>14}  {text}")
    for remark in remarks(metrics):
        click.echo(f"        remark  {remark}")
    run = quote(record["run"])
    # torch.export needs nothing more to be installed, as ONNX does; the report is written already.
    trained = (Path(record["run"]) / "model.pt").exists()
    form = "bundle" if "test_perplexity" in metrics else "torch"
    following = (f"show {run}", f"train {run} --epochs 100", *([f"export {run} --format {form}"] if trained else []))
    click.echo("\nNext:  " + "   |   ".join(f"nascli {command}" for command in following))
