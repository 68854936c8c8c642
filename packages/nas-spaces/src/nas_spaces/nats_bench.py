"""Official NATS-Bench files of the topology space, read through the ``nats-bench`` package (extra ``tables``).

Dong, Liu, Musial and Gabrys, "NATS-Bench: Benchmarking NAS Algorithms for Architecture Topology and Size", TPAMI 2021.

The files are pickles, which could run any code when they are read. They are therefore read here, by an unpickler that
makes plain values only; the package is given those values and never opens a file.
"""

import bz2
import logging
import pickle
import struct
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from nas_spaces.countdown import Countdown
from nas_spaces.errors import TableError
from nas_spaces.tables import Table

__all__ = ["load_nats_bench"]

_log = logging.getLogger(__name__)

_EXTENSION = ".pickle.pbz2"

# (our data set, metric) -> (the package's data set, its name of the part), as in methods of the benchmark's paper.
_ACCURACIES = {
    ("cifar10", "valid"): ("cifar10-valid", "x-valid"),
    ("cifar10", "test"): ("cifar10", "ori-test"),
    ("cifar100", "valid"): ("cifar100", "x-valid"),
    ("cifar100", "test"): ("cifar100", "x-test"),
    ("ImageNet16-120", "valid"): ("ImageNet16-120", "x-valid"),
    ("ImageNet16-120", "test"): ("ImageNet16-120", "x-test"),
}


def load_nats_bench(path: Path, dataset: str = "cifar10") -> Table:
    """Convert official files to a `Table`; save it with `Table.save` and read that from then on.

    Columns, all means over the trials after the last epoch, for data sets cifar10, cifar100 and ImageNet16-120 and both
    lengths of training (12 and 200 epochs): ``<dataset>_valid_<epochs>`` (for cifar10 of the network trained on 25,000
    images, measured on the other 25,000), ``<dataset>_test_<epochs>`` (for cifar10 of the network trained on all
    50,000), ``<dataset>_train_time_<epochs>`` (seconds, of the training behind ``valid``), ``<dataset>_params`` and
    ``<dataset>_flops`` (millions).

    Cost: the folder ``NATS-tss-v1_0-3ffb9-simple`` is read one architecture at a time and needs little memory; the
    single file ``NATS-tss-v1_0-3ffb9.pickle.pbz2`` holds everything at once, several GB when unpacked. Prefer the
    folder.

    Args:
        path: a ``NATS-tss-....pickle.pbz2`` file, or a ``NATS-tss-...-simple`` folder with ``meta.pickle.pbz2`` in it.
        dataset: the data set that queries read by default.

    Raises:
        TableError: the package is missing, or the files are damaged, of another kind, or hold anything but plain
            values.
    """
    try:
        from nats_bench.api_utils import ArchResults
    except ImportError as error:
        raise TableError(
            f"{path} is no .npz file, and official NATS-Bench files need the nats-bench package: "
            'pip install "nas-spaces[tables]".'
        ) from error
    architectures: list[str] = []
    columns: dict[str, list[float]] = {}
    for text, results in _folder(path) if path.is_dir() else _file(path):
        try:
            trained = {str(length): ArchResults.create_from_state_dict(state) for length, state in results.items()}
            figures = _figures(trained)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError, ZeroDivisionError) as error:
            raise TableError(f"the results of {text} in {path} are not those of NATS-Bench: {error!r}.") from error
        architectures.append(text)
        if columns and columns.keys() != figures.keys():
            missing = sorted(columns.keys() ^ figures.keys())
            raise TableError(f"{path} has {', '.join(missing)} for some architectures and not for {text}.")
        for name, value in figures.items():
            columns.setdefault(name, []).append(value)
    if not columns:
        raise TableError(f"{path} has results of no architecture.")
    return Table(np.array(architectures), {name: np.array(values) for name, values in columns.items()}, dataset)


def _figures(trained: dict[str, Any]) -> dict[str, float]:
    """All figures of one architecture; `trained` has one ``ArchResults`` per number of epochs."""
    figures: dict[str, float] = {}
    for epochs, results in trained.items():
        present = set(results.get_dataset_names())
        for (dataset, metric), (key, part) in _ACCURACIES.items():
            if key not in present:
                continue
            figures[f"{dataset}_{metric}_{epochs}"] = float(results.get_metrics(key, part)["accuracy"])
            if metric == "valid":
                costs = results.get_compute_costs(key)
                figures[f"{dataset}_params"] = float(costs["params"])
                figures[f"{dataset}_flops"] = float(costs["flops"])
                if costs["T-train@total"] is not None:
                    figures[f"{dataset}_train_time_{epochs}"] = float(costs["T-train@total"])
    if not all(np.isfinite(value) for value in figures.values()):
        raise ValueError("a figure is not a number")
    return figures


def _file(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The architectures of the single file."""
    content = _read(path)
    texts, infos = _texts(path, content), content.get("arch2infos")
    if not isinstance(infos, dict) or not all(index in range(len(texts)) for index in infos):
        raise TableError(
            f"{path} has no 'arch2infos' with the numbers of its {len(texts)} architectures; expected a NATS-tss file."
        )
    tell = Countdown(_log, f"reading {path.name}", len(infos))
    for done, index in enumerate(sorted(infos)):
        tell(done)
        yield texts[index], _results(path, infos[index])


def _folder(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The architectures of the folder, one file each."""
    texts = _texts(path, _read(path / f"meta{_EXTENSION}"))
    tell = Countdown(_log, f"reading {path.name}", len(texts))
    for index, text in enumerate(texts):
        tell(index)
        part = path / f"{index:06d}{_EXTENSION}"
        # Both forms of the number occur in the releases.
        part = part if part.exists() else path / f"{index:d}{_EXTENSION}"
        if part.exists():
            yield text, _results(part, _read(part))


def _texts(path: Path, content: dict[str, Any]) -> list[str]:
    texts = content.get("meta_archs")
    if not isinstance(texts, list) or not all(isinstance(text, str) and "~" in text for text in texts):
        raise TableError(f"{path} has no list 'meta_archs' of architectures; expected files of the topology space.")
    return texts


def _results(path: Path, results: Any) -> dict[str, Any]:
    if not isinstance(results, dict) or not all(isinstance(state, dict) for state in results.values()):
        raise TableError(f"{path} does not hold one dictionary of results per number of epochs.")
    return results


def _read(path: Path) -> dict[str, Any]:
    """One compressed pickle, made of plain values."""
    if not path.exists():
        raise TableError(f"no file {path}; expected a NATS-tss file or a folder with meta{_EXTENSION} in it.")
    try:
        with bz2.BZ2File(path) as file:
            content = _PlainUnpickler(file).load()
    except TableError:
        raise
    except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise TableError(
            f"{path} cannot be read as a NATS-Bench file ({error}); expected a {_EXTENSION} file, or an .npz."
        ) from error
    except (
        KeyError, IndexError, TypeError, AttributeError, struct.error, MemoryError, OverflowError, RecursionError,
    ) as error:  # fmt: skip
        raise TableError(f"{path} is damaged: {error!r}.") from error
    if not isinstance(content, dict):
        raise TableError(f"{path} holds a {type(content).__name__}, expected the dictionary of a NATS-Bench file.")
    return content


class _DType:
    """Stands for ``numpy.dtype`` of one number: NumPy's own trusts a pickled state more than it should."""

    def __init__(self, text: str, *_flags: object) -> None:
        if text not in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"):
            raise TableError(f"a NATS-Bench file holds a number of type {text!r}.")
        self.text, self.order = text, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise TableError(f"a NATS-Bench file holds a number of byte order {state[1]!r}.")
        self.order = state[1]


def _scalar(dtype: _DType, raw: bytes) -> float | int | bool:
    """Stands for ``numpy.core.multiarray.scalar``: the number itself."""
    return np.frombuffer(raw, dtype=dtype.order + dtype.text, count=1)[0].item()


def _encode(text: str, encoding: str) -> bytes:
    """Stands for ``_codecs.encode``, by which old pickles write bytes."""
    if encoding != "latin1":
        raise TableError(f"a NATS-Bench file holds bytes encoded as {encoding!r}.")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): _DType,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
}


class _PlainUnpickler(pickle.Unpickler):
    """Makes containers, texts and numbers; any other class or function in the file is refused, not imported."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of an allowed name."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise TableError(
                f"the file asks for {module}.{name}, which no NATS-Bench file needs; it was not read further. "
                "Fetch the file again from the benchmark's own site."
            ) from None
