"""Cells that the papers found, as architectures of the space they were found in.

`DARTS_V1` and `DARTS_V2` are of ``darts()``, the others of ``darts(free=True)``, since some of their nodes read one
state twice or hold ``none``. The cells of EN2AS, NSAS and E2NAS are near copies of each other, no independent evidence.
"""

from nas_spaces.architecture import Architecture
from nas_spaces.cell_space import CellSpace, Node
from nas_spaces.darts import darts

__all__ = ["DARTS_V1", "DARTS_V2", "E2NAS", "E2NAS_R", "EN2AS", "NSAS", "NSAS_C"]

_SHORT = {
    "none": "none",
    "max": "max_pool_3x3",
    "avg": "avg_pool_3x3",
    "skip": "skip_connect",
    "sep3": "sep_conv_3x3",
    "sep5": "sep_conv_5x5",
    "dil3": "dil_conv_3x3",
    "dil5": "dil_conv_5x5",
}


def _cell(text: str) -> list[Node]:
    """``sep3@0 sep3@1 | ...``: two connections per node."""
    nodes = []
    for node in text.split("|"):
        (a, s), (b, t) = (connection.split("@") for connection in node.split())
        nodes.append(((_SHORT[a], int(s)), (_SHORT[b], int(t))))
    return nodes


def _found(space: CellSpace, normal: str, reduce: str) -> Architecture:
    return space.build({"normal": _cell(normal), "reduce": _cell(reduce)})


_DARTS, _FREE = darts(), darts(free=True)

DARTS_V1 = _found(
    _DARTS,
    "sep3@1 sep3@0 | skip@0 sep3@1 | skip@0 sep3@1 | sep3@0 skip@2",
    "max@0 max@1 | skip@2 max@0 | max@0 skip@2 | skip@2 avg@0",
)
"""Liu, Simonyan and Yang, ICLR 2019: first order."""

DARTS_V2 = _found(
    _DARTS,
    "sep3@0 sep3@1 | sep3@0 sep3@1 | sep3@1 skip@0 | skip@0 dil3@2",
    "max@0 max@1 | skip@2 max@1 | max@0 skip@2 | skip@2 max@1",
)
"""Liu, Simonyan and Yang, ICLR 2019: second order."""

EN2AS = _found(
    _FREE,
    "sep5@1 dil3@1 | dil3@1 sep3@1 | sep5@1 avg@0 | skip@0 none@3",
    "dil3@0 none@0 | dil3@0 avg@1 | dil5@2 dil5@3 | none@2 sep3@3",
)
"""Zhang, thesis, chapter 2: the best cell of EN2AS."""

NSAS = _found(
    _FREE,
    "sep5@1 dil3@0 | dil3@1 sep3@0 | sep5@1 avg@0 | skip@0 none@1",
    "dil3@0 none@1 | dil3@0 avg@1 | dil5@2 dil5@3 | none@0 sep3@3",
)
"""Zhang, thesis, chapter 3: RandomNAS-NSAS."""

NSAS_C = _found(
    _FREE,
    "sep3@1 dil3@0 | dil3@2 sep3@0 | sep3@3 skip@0 | sep3@0 dil5@4",
    "dil3@0 max@1 | dil3@0 avg@2 | dil3@0 sep3@3 | avg@0 dil5@4",
)
"""Zhang, thesis, chapter 3: RandomNAS-NSAS in the depth-constrained space."""

E2NAS = _found(
    _FREE,
    "sep5@1 dil3@1 | dil3@1 sep3@1 | sep5@1 avg@0 | skip@0 sep3@1",
    "max@0 sep3@1 | skip@0 sep3@1 | max@0 skip@2 | skip@0 max@1",
)
"""Zhang, thesis, chapter 4: E2NAS."""

E2NAS_R = _found(
    _FREE,
    "skip@0 dil5@1 | sep3@0 sep3@2 | sep3@1 sep3@3 | sep3@0 dil5@4",
    "avg@0 sep3@1 | avg@0 dil5@2 | max@0 dil5@3 | max@1 dil3@4",
)
"""Zhang, thesis, chapter 4: E2NAS-R."""
