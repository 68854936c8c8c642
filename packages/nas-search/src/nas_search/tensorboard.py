"""The series of a run, live in TensorBoard (extra ``tensorboard``)."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nas_search.errors import ConfigError
from nas_search.roles import Event

__all__ = ["TensorBoard"]


class TensorBoard:
    """An observer that writes every number of an epoch's record, as soon as the epoch is over.

    The tag is the run (``search``, ``train``, ``train-random``) and the name of the figure, such as ``search/valid_accuracy``
    or ``search/operation_weights/cell/skip_connect``. A second run of the same name is ``train-2``. A resumed run goes on in the
    same folder, under the same tags.

    Args:
        folder: for the event files; look at them with ``tensorboard --logdir FOLDER``.

    Raises:
        ConfigError: tensorboard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            raise ConfigError('TensorBoard is not installed: pip install "nas-search[tensorboard]".') from error
        self._folder, self._summary, self._open = Path(folder), Summary, EventFileWriter
        self._writer: Any = None
        self._last: dict[str, tuple[int, int]] = {}  # of every name of a run: which of them it is, and its last epoch

    def __call__(self, event: Event) -> None:
        """See `Observer`."""
        if event.kind != "epoch":
            return
        from tensorboard.compat.proto.event_pb2 import Event as Line

        if self._writer is None:  # nothing is made before there is something to write
            self._writer = self._open(str(self._folder))
        number, last = self._last.get(event.run, (1, 0))
        number += event.epoch <= last
        self._last[event.run] = number, event.epoch
        name = event.run if number == 1 else f"{event.run}-{number}"
        values = [self._summary.Value(tag=tag, simple_value=value) for tag, value in _numbers(name, event.record)]
        self._writer.add_event(Line(wall_time=time.time(), step=event.epoch, summary=self._summary(value=values)))
        self._writer.flush()

    def close(self) -> None:
        """Close the file; nothing more can be written."""
        if self._writer is not None:
            self._writer.close()


def _numbers(prefix: str, record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _numbers(f"{prefix}/{name}", value)
        elif isinstance(value, int | float) and name != "epoch":
            yield f"{prefix}/{name}", float(value)
