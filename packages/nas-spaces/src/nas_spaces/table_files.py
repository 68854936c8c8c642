"""Reading tables from files that anybody can write: ``.npz`` and ``.csv``."""

import csv
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_spaces.errors import TableError

__all__ = ["read_csv", "read_npz"]


def read_npz(path: Path) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    """The texts and the columns of numbers; other arrays of texts are left out.

    Raises:
        TableError: the file is no such archive, is damaged, or has no ``arch``.
    """
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
    return architectures, {name: values for name, values in columns.items() if values.dtype.kind != "U"}


def read_csv(path: Path) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    """The texts and the columns of numbers. Empty lines are left out; fields with commas stand in double quotes.

    Raises:
        TableError: the file is no such text, or a line does not have one number per column; the message names the line.
    """
    texts: list[str] = []
    rows: list[list[float]] = []
    try:
        # With or without the mark that some spreadsheets put at the beginning.
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            names = _header(path, next(lines, []))
            place = names.index("arch")
            for fields in lines:
                if not fields:
                    continue
                if len(fields) != len(names):
                    raise TableError(
                        f"line {lines.line_num} of {path} has {len(fields)} fields, expected {len(names)} as in the first."
                    )
                texts.append(fields.pop(place).strip())
                rows.append([_number(path, lines.line_num, field) for field in fields])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path} cannot be read as a table ({error}); expected a .csv file in UTF-8.") from error
    values = np.array(rows, dtype=np.float64).reshape(len(rows), len(names) - 1)
    names.remove("arch")
    return np.array(texts), {name: values[:, index] for index, name in enumerate(names)}


def _header(path: Path, names: list[str]) -> list[str]:
    names = [name.strip() for name in names]
    if names.count("arch") != 1 or len(set(names)) != len(names) or "" in names:
        raise TableError(
            f"the first line of {path} is {','.join(names)!r}; expected different names of columns, one of them 'arch'."
        )
    return names


def _number(path: Path, line: int, field: str) -> float:
    try:
        return float(field)
    except ValueError:
        raise TableError(f"line {line} of {path} has {field!r} where a number was expected.") from None
