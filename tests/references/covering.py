"""Which pairs of two long lists are tried every day, where all of them take minutes."""

from collections.abc import Collection, Container
from typing import Any

import pytest

__all__ = ["covering"]


def covering(
    rows: Collection[str], columns: Collection[str], one_of: int, without: Container[tuple[str, str]] = ()
) -> list[Any]:
    """All pairs as parameters of a test; one of so many is tried every day, and all nightly.

    The daily ones are spread evenly: every row and every column is among them, if there are `one_of` or more of each. Pairs
    in `without` are left out.
    """
    return [
        pytest.param(row, column, marks=() if (i + j) % one_of == 0 else pytest.mark.nightly)
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
        if (row, column) not in without
    ]
