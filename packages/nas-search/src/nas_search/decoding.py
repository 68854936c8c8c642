"""Decoding images by worker processes: what is wrong with an image, and what became of a worker, is told."""

import signal
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nas_search.data import Examples
from nas_search.errors import DataError, LoaderError

__all__ = ["Failed", "Workers", "decoded", "explained"]


class Failed(NamedTuple):
    """What went wrong in a worker, which cannot raise in another process."""

    reason: str


@dataclass(frozen=True)
class Workers:
    """Processes that decode, and what is to be done about one that fails.

    Args:
        count: 0 for none but this one.
        timeout: seconds after which a batch that does not come is an error.
        if_stuck: the remedy then, in a sentence.
        if_dead: the remedy where one died.
    """

    count: int
    timeout: float
    if_stuck: str
    if_dead: str


def decoded(data: Dataset[Any], keys: Iterable[list[Any]], workers: Workers) -> Generator[Examples, None, None]:
    """Batches of images, in the order of their keys; closing the generator ends the workers.

    Args:
        data: for a key the image and its label, or what is wrong with it (`Failed`).
        keys: those of each batch.
        workers: who decodes.

    Raises:
        DataError: an image is damaged.
        LoaderError: a worker died, or gives no sign of life.
    """
    loader = DataLoader(
        data,
        batch_sampler=keys,
        num_workers=workers.count,
        collate_fn=_stacked,
        timeout=workers.timeout if workers.count else 0,
        worker_init_fn=_obey,
        generator=torch.Generator(),  # else the global one would be drawn from
    )
    batches = iter(loader)
    with explained(workers):
        while True:
            try:
                batch = next(batches, None)
            except (RuntimeError, OSError, EOFError) as error:
                if workers.count and "DataLoader" not in str(error):
                    # What goes wrong with an image is told in its place: this is a connection to a worker whose death the
                    # system has not reported yet.
                    raise RuntimeError(f"DataLoader worker exited unexpectedly: {error}") from error.with_traceback(
                        None
                    )
                raise
            if batch is None:
                return
            if isinstance(batch, Failed):
                raise DataError(batch.reason)
            yield batch


@contextmanager
def explained(workers: Workers | None) -> Iterator[None]:
    """Say what to do where a worker process of a loader died or gave no sign of life; None where there are none.

    torch raises where it notices, which may be in the middle of a step.

    Raises:
        LoaderError: with the remedy.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if workers is None or isinstance(error, LoaderError) or "DataLoader" not in text:
            raise
        error = error.with_traceback(None)  # whose frames would keep the other workers alive
        if "timed out" in text:
            raise LoaderError(
                f"no batch came from the {workers.count} workers in {workers.timeout:g} seconds: the disk hangs, or they are "
                f"too slow. {workers.if_stuck}"
            ) from error
        if "exited unexpectedly" in text:
            # A closed connection shows it before the system reports the death, at which torch raises once more, wherever that is.
            with suppress(RuntimeError):
                time.sleep(3)
        raise LoaderError(
            f"a worker that decodes images died ({text.splitlines()[0][:120]}): out of memory or of shared memory, or killed. "
            f"{workers.if_dead}"
        ) from error


def _stacked(items: list[tuple[Tensor, int] | Failed]) -> Examples | Failed:
    pairs = []
    for item in items:
        if isinstance(item, Failed):
            return item
        pairs.append(item)
    return Examples(torch.stack([image for image, _ in pairs]), torch.tensor([label for _, label in pairs]))


def _obey(_: int) -> None:
    """A worker leaves Ctrl-C to the process that it works for, which finishes its step first, and ends when that says so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
