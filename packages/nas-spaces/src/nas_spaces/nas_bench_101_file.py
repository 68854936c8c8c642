"""The official files of NAS-Bench-101, ``nasbench_only108.tfrecord`` and ``nasbench_full.tfrecord``.

A TFRecord file is a sequence of records, each framed by its length and by checksums of the length and of the data. Here
the data is a JSON list: the benchmark's hash of a cell, the epochs of one training of it, its matrix as digits, its
operations, and a ``ModelMetrics`` message of protocol buffers in base64. All of it is text and numbers: nothing in such a
file can run code. The checksums come from the package google-crc32c (extra ``tables``).
"""

import base64
import binascii
import json
import logging
import math
import struct
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from nas_spaces.countdown import Countdown
from nas_spaces.errors import TableError
from nas_spaces.nas_bench_101 import nas_bench_101

__all__ = ["read_nas_bench_101"]

_log = logging.getLogger(__name__)

_METRICS = {"train": 3, "valid": 4, "test": 5, "train_time": 2}
"""Our names of the figures, and their fields in an ``EvaluationData`` message."""


def read_nas_bench_101(path: Path) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    """The texts of all cells, and the columns.

    Columns, for every number of epochs and every run of it, ``seed0`` to ``seed2`` in the order of the file:
    ``cifar10_<metric>_<epochs>_seed<number>`` for the metrics ``train``, ``valid`` and ``test`` (accuracies in percent at
    the end of the training; on 10,000 images each) and ``train_time`` (seconds); and ``cifar10_params`` (millions). What
    the file has of the middle of each training is left out.

    Cost: about 35 microseconds a record on a slow core, of which the file of 108 epochs has 1.3 million and the full one
    5.1 million; 40 bytes of memory each, and as much again for the columns.

    Raises:
        TableError: the package google-crc32c is missing, or the file is damaged or holds anything else.
    """
    # Rows by what is written, so that each cell is named once, and by the name, whatever the numbering.
    written: dict[tuple[str, str], int] = {}
    rows: dict[str, int] = {}
    parameters = array("d")
    runs: dict[int, array[float]] = {}
    for number, record in enumerate(_records(path)):
        try:
            key, epochs, message = _read(record)
            figures, count = _figures(message)
            if key not in written:
                written[key] = rows.setdefault(_text(*key), len(rows))
                if len(parameters) < len(rows):
                    parameters.append(count / 1e6)
        except (ValueError, TypeError, IndexError, struct.error, RecursionError) as error:
            raise TableError(f"record {number} of {path} is none of NAS-Bench-101: {error}") from error
        runs.setdefault(epochs, array("d")).extend((written[key], *figures))
    texts = list(rows)
    columns: dict[str, NDArray[Any]] = {}
    for epochs, values in sorted(runs.items()):
        columns |= _columns(path, epochs, np.frombuffer(values).reshape(-1, 1 + len(_METRICS)), texts)
    return np.array(texts), {**columns, "cifar10_params": np.array(parameters)}


def _columns(path: Path, epochs: int, rows: NDArray[Any], texts: list[str]) -> dict[str, NDArray[Any]]:
    """The columns of one length of training; `rows` are (cell, figures), in any order."""
    counts = np.bincount(rows[:, 0].astype(np.int64), minlength=len(texts))
    if len(set(counts.tolist())) != 1:
        least = int(counts.argmin())
        raise TableError(
            f"{path} has {counts[least]} runs of {epochs} epochs of the cell {texts[least]} and {counts.max()} of another: "
            "a part of the file is missing."
        )
    ordered = rows[rows[:, 0].argsort(kind="stable")].reshape(len(texts), counts[0], 1 + len(_METRICS))
    return {
        f"cifar10_{metric}_{epochs}_seed{seed}": ordered[:, seed, 1 + place].copy()
        for place, metric in enumerate(_METRICS)
        for seed in range(counts[0])
    }


def _read(record: bytes) -> tuple[tuple[str, str], int, bytes]:
    """The cell, the epochs, and the message of one record."""
    fields = json.loads(record)
    if not (isinstance(fields, list) and len(fields) == 5 and all(isinstance(fields[i], str) for i in (2, 3, 4))):
        raise ValueError("expected a list of a hash, epochs, a matrix, operations and metrics.")
    _, epochs, matrix, operations, metrics = fields
    if not isinstance(epochs, int) or epochs < 1:
        raise ValueError(f"{epochs!r} epochs; expected a positive integer.")
    try:
        return (matrix, operations), epochs, base64.b64decode(metrics, validate=True)
    except binascii.Error as error:
        raise ValueError(f"the metrics are no base64: {error}.") from error


def _text(matrix: str, operations: str) -> str:
    size = math.isqrt(len(matrix))
    if size * size != len(matrix) or not set(matrix) <= {"0", "1"}:
        raise ValueError(f"the matrix is {matrix!r}; expected a square of 0 and 1.")
    rows = [[int(digit) for digit in matrix[start : start + size]] for start in range(0, len(matrix), size)]
    return str(nas_bench_101().build(rows, operations.split(",")))


def _figures(message: bytes) -> tuple[list[float], int]:
    """The figures at the end of a training in the order of `_METRICS`, and the number of parameters."""
    evaluations: list[bytes] = []
    count: int | None = None
    for field, value in _fields(message):
        if field == 1 and isinstance(value, bytes):
            evaluations.append(value)
        elif field == 2 and isinstance(value, int):
            count = value
    if not evaluations or count is None:
        raise ValueError("the metrics lack an evaluation or the number of parameters.")
    last = dict(_fields(evaluations[-1]))
    figures = []
    for metric, field in _METRICS.items():
        figure = last.get(field)
        if not isinstance(figure, float) or not math.isfinite(figure):
            raise ValueError(f"the last evaluation has {figure!r} for {metric!r}; expected a number.")
        figures.append(figure if metric == "train_time" else 100 * figure)
    return figures, count


def _fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """The fields of a message: integers, doubles, and what has a length of its own; single precision is left out."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        field, kind = tag >> 3, tag & 7
        if kind == 0:
            number, position = _varint(message, position)
            yield field, number
        elif kind == 1:
            yield field, struct.unpack_from("<d", message, position)[0]
            position += 8
        elif kind == 2:
            length, position = _varint(message, position)
            if position + length > len(message):
                raise ValueError("a field of the metrics is longer than they are.")
            yield field, message[position : position + length]
            position += length
        elif kind == 5:
            position += 4
        else:
            raise ValueError(f"the metrics have a field of kind {kind}, which protocol buffers no longer use.")


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """An integer in groups of seven bits, the lowest first, and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise ValueError("an integer of the metrics does not end.")


def _records(path: Path) -> Iterator[bytes]:
    """The data of every record, its checksums compared."""
    try:
        from google_crc32c import value as checksum
    except ImportError as error:
        raise TableError(
            f'the checksums of {path} need the google-crc32c package: pip install "nas-spaces[tables]".'
        ) from error
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            number, tell = 0, Countdown(_log, f"reading {path.name}", size)
            while file.tell() < size:
                yield _record(path, file, size, number, checksum)
                number += 1
                if number % 1000 == 0:
                    tell(file.tell())
    except OSError as error:
        raise TableError(f"{path} cannot be read as a TFRecord file ({error}).") from error
    if number == 0:
        raise TableError(f"{path} has no records.")


def _record(path: Path, file: IO[bytes], size: int, number: int, checksum: Callable[[bytes], int]) -> bytes:
    start = file.tell()
    head = _checked(path, file, size, 8, number, start, checksum)
    return _checked(path, file, size, struct.unpack("<Q", head)[0], number, start, checksum)


def _checked(
    path: Path, file: IO[bytes], size: int, length: int, number: int, start: int, checksum: Callable[[bytes], int]
) -> bytes:
    """Read `length` bytes and the checksum behind them."""
    where = f"record {number}, at byte {start} of {path},"
    if file.tell() + length + 4 > size:
        raise TableError(f"{where} is cut off, or the file is no TFRecord file; fetch it again.")
    data = file.read(length)
    (stored,) = struct.unpack("<I", file.read(4))
    value = checksum(data)
    # Masked, as TFRecord does it, so that a checksum of data with checksums in it is a good one.
    masked = ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF
    if masked != stored:
        raise TableError(
            f"{where} is damaged: its checksum is {masked:08x}, and {stored:08x} is written behind it; fetch it again."
        )
    return data
