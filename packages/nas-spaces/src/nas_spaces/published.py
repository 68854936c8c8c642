"""Cells that the papers found, as architectures of the space they were found in.

`DARTS_V1` and `DARTS_V2` are of ``darts()``, those that end in ``_RNN`` of ``darts_rnn()``, the others of
``darts(free=True)``, since some of their nodes read one state twice or hold ``none``. The cells of EN2AS, NSAS and E2NAS
are near copies of each other, no independent evidence.
"""

from nas_spaces.architecture import Architecture
from nas_spaces.cell_space import CellSpace, Node
from nas_spaces.darts import darts
from nas_spaces.darts_rnn import darts_rnn

__all__ = [
    "DARTS_V1",
    "DARTS_V1_RNN",
    "DARTS_V2",
    "DARTS_V2_RNN",
    "E2NAS",
    "E2NAS_R",
    "EN2AS",
    "EN2AS_PR_RNN",
    "EN2AS_RNN",
    "NSAS",
    "NSAS_C",
]

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


def _recurrent(text: str) -> Architecture:
    """``tanh@0 relu@1 ...``: one connection per step."""
    pairs = (connection.split("@") for connection in text.split())
    return darts_rnn().build([(name, int(source)) for name, source in pairs])


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

DARTS_V1_RNN = _recurrent("relu@0 relu@1 tanh@2 relu@3 relu@4 identity@1 relu@5 relu@1")
"""Liu, Simonyan and Yang, ICLR 2019: the recurrent cell of the first order."""

DARTS_V2_RNN = _recurrent("sigmoid@0 relu@1 relu@1 identity@1 tanh@2 sigmoid@5 tanh@3 relu@5")
"""Liu, Simonyan and Yang, ICLR 2019: the recurrent cell of the second order."""

EN2AS_RNN = _recurrent("sigmoid@0 identity@1 tanh@1 sigmoid@3 identity@0 tanh@0 sigmoid@4 sigmoid@3")
"""Zhang, thesis, chapter 2: the best recurrent cell of EN2AS."""

EN2AS_PR_RNN = _recurrent("tanh@0 sigmoid@0 sigmoid@2 sigmoid@3 tanh@4 identity@2 identity@3 sigmoid@3")
"""Zhang, thesis, chapter 2: the recurrent cell of EN2AS by novelty and performance in equal parts."""
