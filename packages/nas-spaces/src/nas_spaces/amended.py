"""The two spaces of Amended-DARTS: eight fixed edges, so that only operations are chosen.

Bi et al., "Stabilizing DARTS with Amended Gradient Estimation on Architectural Parameters", 2019.
"""

from nas_spaces.cell_space import CellSpace
from nas_spaces.cells import CellShape
from nas_spaces.darts import CHAINED, OPERATIONS, make_operation

__all__ = ["amended_s1", "amended_s2"]

CELLS = 20
"""Cells of the unshared space, in search and in evaluation."""


def amended_s1() -> CellSpace:
    """Shared normal and reduction cells; seven operations without ``none`` on each of eight edges.

    Node 0 reads the outputs of the last two cells; node i reads that of the cell before the last and node ``i - 1``.

    Example:
        >>> amended_s1().size == (7**8) ** 2
        True
    """
    operations = tuple(name for name in OPERATIONS if name != "none")
    return CellSpace("amended_s1", CellShape(operations, CHAINED), make_operation)


def amended_s2() -> CellSpace:
    """Twenty cells with an architecture each; skip connection or separable 3 x 3 convolution on each of eight edges.

    The number of cells cannot be changed: each has rows of its own, in groups ``cell0`` to ``cell19``.

    Example:
        >>> amended_s2().size == 2**160
        True
    """
    shape = CellShape(("skip_connect", "sep_conv_3x3"), CHAINED)
    names = tuple(f"cell{index}" for index in range(CELLS))
    return CellSpace("amended_s2", shape, make_operation, cells=names, depth=(CELLS, CELLS))
