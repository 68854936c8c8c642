"""Tabular benchmarks: what training every architecture of a space gave."""

import re
import zlib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_spaces import catalog
from nas_spaces.architecture import Architecture
from nas_spaces.errors import TableError
from nas_spaces.space import SearchSpace
from nas_spaces.table_files import read_csv, read_npz

__all__ = ["SHIPPED", "Table", "load_table", "space_of_table"]

SHIPPED = {"digits": "nas_bench_201_small"}
"""The tables that come with this distribution, each also the name of its data set, and the space of each."""

_METRICS = ("test", "valid", "train", "train_time", "params", "flops")
_NAME = re.compile(r"(?P<figure>.+?)(_(?P<epochs>\d+))?(_seed(?P<seed>\d+))?")


class Table:
    """Measured results by architecture.

    Args:
        architectures: the text form of each, ``(rows,)``.
        columns: figures by name, each ``(rows,)``: ``<dataset>_<metric>_<epochs>`` such as ``cifar10_test_200``, or
            ``<dataset>_<metric>`` where a figure does not depend on training, such as ``cifar10_params``; followed by
            ``_seed<number>`` where several runs have a column each, such as ``cifar10_test_108_seed0``.
        dataset: the data set that `query` and its companions read unless they are told another.

    Raises:
        TableError: no rows, columns of different lengths or of anything but finite numbers, an architecture or a figure
            that stands twice, or no test accuracy of the data set.
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
        # Figure (data set and metric), then epochs (0 if it has none), then seed (None if it has none), to the name.
        self._names: dict[str, dict[int, dict[int | None, str]]] = {}
        for name in self._columns:
            parts = _NAME.fullmatch(name)
            if parts is None:
                raise TableError("a column has no name.")
            seed = None if parts["seed"] is None else int(parts["seed"])
            runs = self._names.setdefault(parts["figure"], {}).setdefault(int(parts["epochs"] or 0), {})
            if seed in runs:
                raise TableError(f"columns {runs[seed]!r} and {name!r} are the same figure.")
            runs[seed] = name
        self._means: dict[tuple[str, int], NDArray[Any]] = {}
        self._column("test", None, None, None)

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
        return tuple(dict.fromkeys(_dataset(figure) for figure in self._names))

    def has(self, metric: str, *, dataset: str | None = None) -> bool:
        """Whether there is a figure of that name, such as ``valid``, for the data set."""
        return f"{dataset or self.dataset}_{metric}" in self._names

    def query(
        self,
        architecture: Architecture | str,
        metric: str = "test",
        *,
        dataset: str | None = None,
        epochs: int | None = None,
        seed: int | None = None,
    ) -> float:
        """One figure of one architecture.

        Architectures of another space are looked up as what they are in the space of the table, such as those of
        NAS-Bench-1Shot1 in a table of NAS-Bench-101 (`SearchSpace.table_text`).

        Args:
            architecture: the architecture, or its text form.
            metric: ``test`` or ``valid`` (accuracy in percent), ``train_time`` (seconds), ``params`` or ``flops``
                (millions).
            dataset: another data set than the table's own.
            epochs: how long the networks were trained; the longest that the table has when left out.
            seed: which of several runs; their mean when left out.

        Raises:
            TableError: the table has no such architecture, metric, data set, number of epochs or seed; the message has
                those that it has.
        """
        return float(self._column(metric, dataset, epochs, seed)[self._row(architecture)])

    def rank(self, architecture: Architecture | str, metric: str = "test", *, dataset: str | None = None) -> int:
        """The place of an architecture, 1 for the best; equals share the better place."""
        column = self._column(metric, dataset, None, None)
        return 1 + int((column > column[self._row(architecture)]).sum())

    def best(self, metric: str = "test", *, dataset: str | None = None) -> float:
        """The largest value of a metric."""
        return float(self._column(metric, dataset, None, None).max())

    def regret(self, architecture: Architecture | str, metric: str = "test", *, dataset: str | None = None) -> float:
        """How far an architecture is from the best one, in the unit of the metric."""
        return self.best(metric, dataset=dataset) - self.query(architecture, metric, dataset=dataset)

    def mean(self, metric: str = "test", *, dataset: str | None = None) -> float:
        """The mean over all architectures: what a uniformly random one is worth."""
        return float(self._column(metric, dataset, None, None).mean())

    def of(self, architectures: Iterable[Architecture]) -> "Table":
        """The table of some architectures alone, each once: `best`, `rank`, `regret` and `mean` are then among them.

        Regret in NAS-Bench-1Shot1 is counted so: ``load_table(path).of(space.enumerate())``.

        Raises:
            TableError: there are none, or one of them is not in this table.
        """
        rows = {architecture: self._row(architecture) for architecture in architectures}
        taken = list(rows.values())
        columns = {name: values[taken] for name, values in self._columns.items()}
        return Table(np.array([str(architecture) for architecture in rows]), columns, self.dataset)

    def save(self, path: str | Path) -> None:
        """Write the table as the ``.npz`` file that `load_table` reads fastest; complete or not at all.

        Raises:
            TableError: the file cannot be written, or is to have another ending.
        """
        path = Path(path)
        if path.suffix != ".npz":
            raise TableError(f"tables are written as .npz files; {path.name!r} has another ending.")
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
        if row is None and isinstance(architecture, Architecture):
            home = _installed(architecture.space)
            row = None if home is None else self._rows.get(home.table_text(architecture))
        if row is None:
            raise TableError(
                f"architecture {architecture} is not in the table of {len(self)}; "
                f"its texts look like {next(iter(self._rows))}."
            )
        return row

    def _column(self, metric: str, dataset: str | None, epochs: int | None, seed: int | None) -> NDArray[Any]:
        figure = f"{dataset or self.dataset}_{metric}"
        lengths = self._names.get(figure, {})
        found = {length: runs for length, runs in lengths.items() if epochs in (None, length)}
        if seed is not None:
            found = {length: runs for length, runs in found.items() if seed in runs}
        if not found:
            wanted = [figure, *([] if epochs is None else [str(epochs)]), *([] if seed is None else [f"seed{seed}"])]
            raise TableError(
                f"the table has no column {'_'.join(wanted)!r}; it has {', '.join(sorted(self._columns))}."
            )
        longest = max(found)
        runs = found[longest]
        # A column without a seed goes before the mean of those that have one.
        if seed in runs:
            return self._columns[runs[seed]]
        if (figure, longest) not in self._means:
            self._means[figure, longest] = np.mean([self._columns[name] for name in runs.values()], axis=0)
        return self._means[figure, longest]


def _dataset(figure: str) -> str:
    """Of ``my_data_train_time`` what comes before the metric, which for one that we do not know is the last word."""
    for metric in _METRICS:
        if figure.endswith(f"_{metric}"):
            return figure.removesuffix(f"_{metric}")
    return figure.rpartition("_")[0] or figure


@cache
def _installed(name: str) -> SearchSpace | None:
    """The space of that name; kept, since looking through what is installed takes longer than a query."""
    return catalog.space(name) if name in catalog.names() else None


def space_of_table(table: str | Path) -> str | None:
    """The name of the space of a table that is shipped; None for a file, which may be of any space."""
    return SHIPPED.get(str(table))


def load_table(path: str | Path, dataset: str | None = None) -> Table:
    """Read a tabular benchmark.

    Args:
        path: ``digits``, the table that is shipped (see below); or a file ``.npz`` with an array ``arch`` of texts and one
            array per column (see `Table`); or a file ``.csv`` in UTF-8 whose first line names the columns, one of them
            ``arch``, and every other line is an architecture's text and its figures; or an official file of NAS-Bench-101,
            ``.tfrecord``; or an official NATS-Bench file or folder of the topology space (``NATS-tss-...``). The last two
            need the extra ``tables``, and take minutes to read: `Table.save` what they give.
        dataset: the data set that queries read by default; ``cifar10`` when left out, or the only one of a shipped table.

    ``load_table("digits")`` has the 125 networks of `nas_bench_201_small` (``channels=3, cells=1``), each trained with three
    seeds on 359 of scikit-learn's 8 x 8 digits: figures ``test``, ``valid``, ``train`` (accuracy), ``train_time``,
    ``params`` and ``flops``. How it was made, and how much is noise, stands in ``benchmarks/digits_table.md``.

    Example:
        >>> table = load_table("digits")
        >>> len(table), table.dataset
        (125, 'digits')

    Raises:
        TableError: the file is missing, is no such table, is damaged, or has nothing of that data set.
    """
    if space_of_table(path) is not None:
        with as_file(files("nas_spaces") / f"{path}.csv") as shipped:
            return Table(*read_csv(shipped), dataset or str(path))
    path, dataset = Path(path), dataset or "cifar10"
    if not path.exists():
        raise TableError(f"no table at {path}; it is neither a file nor one of those shipped: {', '.join(SHIPPED)}.")
    if path.suffix == ".npz":
        return Table(*read_npz(path), dataset)
    if path.suffix == ".csv":
        return Table(*read_csv(path), dataset)
    if path.suffix == ".tfrecord":
        from nas_spaces.nas_bench_101_file import read_nas_bench_101

        return Table(*read_nas_bench_101(path), dataset)
    from nas_spaces.nats_bench import load_nats_bench

    return load_nats_bench(path, dataset)
