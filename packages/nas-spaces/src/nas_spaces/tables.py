"""Tabular benchmarks: what training every architecture of a space gave."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_spaces.architecture import Architecture
from nas_spaces.errors import TableError

__all__ = ["Table", "load_table"]


class Table:
    """Measured results by architecture.

    Args:
        architectures: the text form of each, ``(rows,)``.
        columns: figures by name, each ``(rows,)``: ``<dataset>_<metric>_<epochs>`` such as ``cifar10_test_200``, or
            ``<dataset>_<metric>`` where a figure does not depend on training, such as ``cifar10_params``.
        dataset: the data set that `query` and its companions read unless they are told another.

    Raises:
        TableError: no rows, columns of different lengths or of anything but finite numbers, an architecture that stands
            twice, or no test accuracy of the data set.
    """

    def __init__(
        self, architectures: NDArray[Any], columns: Mapping[str, NDArray[Any]], dataset: str = "cifar10"
    ) -> None:
        self._rows = {str(text): row for row, text in enumerate(architectures)}
        self._columns = dict(columns)
        self.dataset = dataset
        if not self._rows:
            raise TableError("the table has no rows.")
        if len(self._rows) != len(architectures):
            raise TableError(f"{len(architectures) - len(self._rows)} architectures stand twice in the table.")
        for name, values in self._columns.items():
            if values.shape != (len(architectures),):
                raise TableError(f"column {name!r} has shape {values.shape}, expected ({len(architectures)},).")
            if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
                raise TableError(f"column {name!r} has entries that are not finite numbers.")
        self._column("test", None, None)

    def __repr__(self) -> str:
        """The size, the data set and a checksum of the figures: equal for equal tables."""
        figures = 0
        for name in sorted(self._columns):
            figures = zlib.crc32(np.ascontiguousarray(self._columns[name]).tobytes(), figures)
        return f"Table({len(self)} architectures, dataset={self.dataset!r}, checksum={figures:08x})"

    def __len__(self) -> int:
        """The number of architectures."""
        return len(self._rows)

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets that the table has figures of."""
        return tuple(dict.fromkeys(name.partition("_")[0] for name in self._columns))

    def query(
        self,
        architecture: Architecture | str,
        metric: str = "test",
        *,
        dataset: str | None = None,
        epochs: int | None = None,
    ) -> float:
        """One figure of one architecture.

        Args:
            architecture: the architecture, or its text form.
            metric: ``test`` or ``valid`` (accuracy in percent), ``train_time`` (seconds), ``params`` or ``flops``
                (millions).
            dataset: another data set than the table's own.
            epochs: how long the networks were trained; the longest that the table has when left out.

        Raises:
            TableError: the table has no such architecture, metric, data set or number of epochs; the message has those
                that it has.
        """
        return float(self._column(metric, dataset, epochs)[self._row(architecture)])

    def rank(self, architecture: Architecture | str, metric: str = "test", *, dataset: str | None = None) -> int:
        """The place of an architecture, 1 for the best; equals share the better place."""
        column = self._column(metric, dataset, None)
        return 1 + int((column > column[self._row(architecture)]).sum())

    def best(self, metric: str = "test", *, dataset: str | None = None) -> float:
        """The largest value of a metric."""
        return float(self._column(metric, dataset, None).max())

    def regret(self, architecture: Architecture | str, metric: str = "test", *, dataset: str | None = None) -> float:
        """How far an architecture is from the best one, in the unit of the metric."""
        return self.best(metric, dataset=dataset) - self.query(architecture, metric, dataset=dataset)

    def mean(self, metric: str = "test", *, dataset: str | None = None) -> float:
        """The mean over all architectures: what a uniformly random one is worth."""
        return float(self._column(metric, dataset, None).mean())

    def save(self, path: str | Path) -> None:
        """Write the table as the ``.npz`` file that `load_table` reads fastest; complete or not at all.

        Raises:
            TableError: the file cannot be written.
        """
        path = Path(path)
        partial = path.with_name(f".{path.name}.partial")
        try:
            with partial.open("wb") as file:
                # Texts and numbers only (checked on construction), so NumPy has nothing to pickle.
                arrays: dict[str, Any] = {"arch": np.array(list(self._rows)), **self._columns}
                np.savez_compressed(file, **arrays)
            partial.replace(path)
        except OSError as error:
            raise TableError(f"the table cannot be written to {path}: {error}.") from error
        finally:
            partial.unlink(missing_ok=True)

    def _row(self, architecture: Architecture | str) -> int:
        row = self._rows.get(str(architecture))
        if row is None:
            raise TableError(
                f"architecture {architecture} is not in the table of {len(self)}; "
                f"its texts look like {next(iter(self._rows))}."
            )
        return row

    def _column(self, metric: str, dataset: str | None, epochs: int | None) -> NDArray[Any]:
        stem = f"{dataset or self.dataset}_{metric}"
        if epochs is not None:
            stem = f"{stem}_{epochs}"
        matches = {name: name[len(stem) + 1 :] for name in self._columns if name == stem or name.startswith(f"{stem}_")}
        lengths = {name: int(rest or 0) for name, rest in matches.items() if rest.isdigit() or not rest}
        if not lengths:
            raise TableError(f"the table has no column {stem!r}; it has {', '.join(sorted(self._columns))}.")
        return self._columns[max(lengths, key=lambda name: lengths[name])]


def load_table(path: str | Path, dataset: str = "cifar10") -> Table:
    """Read a tabular benchmark.

    Args:
        path: an ``.npz`` file with an array ``arch`` of texts and one array per column (see `Table`); or an official
            NATS-Bench file or folder of the topology space (``NATS-tss-...``), read through the ``nats-bench`` package
            (extra ``tables``).
        dataset: the data set that queries read by default.

    Raises:
        TableError: the file is missing, is no such table, is damaged, or has nothing of that data set.
    """
    path = Path(path)
    if not path.exists():
        raise TableError(f"no table at {path}.")
    if path.suffix != ".npz":
        from nas_spaces.nats_bench import load_nats_bench

        return load_nats_bench(path, dataset)
    try:
        # Opened here, since NumPy leaves a file open that it cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            columns = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        raise TableError(
            f"{path} cannot be read as a table ({error}); expected an .npz file written by numpy.savez."
        ) from error
    except Exception as error:  # A damaged archive surfaces as zlib.error, struct.error and others.
        raise TableError(f"{path} is damaged: {error}.") from error
    architectures = columns.pop("arch", None)
    if architectures is None or architectures.ndim != 1 or architectures.dtype.kind != "U":
        raise TableError(
            f"{path} has no one-dimensional array 'arch' of texts; it has {', '.join(sorted(columns)) or 'nothing'}."
        )
    return Table(architectures, {name: values for name, values in columns.items() if values.dtype.kind != "U"}, dataset)
