"""The DARTS space: a normal and a reduction cell of four nodes with two of seven operations each.

Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", ICLR 2019.
"""

from torch import nn

from nas_spaces.cell_space import CellSpace
from nas_spaces.cells import CellShape
from nas_spaces.errors import ArchitectureError
from nas_spaces.operations import FactorizedReduce, Pool, Separable

__all__ = ["CHAINED", "EVERY_STATE", "OPERATIONS", "darts", "make_operation"]

OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""In the order of the reference implementation."""

EVERY_STATE = ((0, 1), (0, 1, 2), (0, 1, 2, 3), (0, 1, 2, 3, 4))
"""Every node may read every state before it: 14 edges."""

CHAINED = ((0, 1), (0, 2), (0, 3), (0, 4))
"""Every node reads the output of the cell before the last and the state just before it: 8 edges."""


def darts(
    *, exclude: tuple[str, ...] = (), inputs: bool = False, depth_constrained: bool = False, free: bool = False
) -> CellSpace:
    """The DARTS space; its arguments make the variants of the papers that search in it, in Python alone.

    Args:
        exclude: operations left out of the choices, such as ``("none",)``.
        inputs: states are chosen by rows of their own, two of each (DAAS).
        depth_constrained: nodes read states 0 and ``i + 1`` only (NSAS-C).
        free: both connections of a node may read one state and ``none`` may be found, as RandomNAS, EN2AS and NSAS
            draw.

    Raises:
        ArchitectureError: no such operation to exclude, none left, or `inputs` and `free` together, which contradict each
            other: a state is chosen once by a row of its own, and twice where both connections may read it.

    Differs from the paper:
        1. ``none`` is never derived, as in the released code; the text of the paper leaves it open.
        2. Images of odd sizes are rounded up at a reduction; the released code needs even ones.

    Example:
        >>> space = darts()
        >>> space.choices.shape
        (28, 8)
        >>> space.size == (180 * 7**8) ** 2
        True
    """
    unknown = [name for name in exclude if name not in OPERATIONS]
    operations = tuple(name for name in OPERATIONS if name not in exclude)
    if unknown or not [name for name in operations if name != "none"]:
        raise ArchitectureError(
            f"exclude={exclude!r} must name some of {', '.join(OPERATIONS)}, and leave one other than 'none'."
        )
    if inputs and free:
        raise ArchitectureError(
            "darts(inputs=True, free=True): rows of inputs choose two different states, and free lets both connections read one; "
            "leave one of the two out."
        )
    shape = CellShape(operations, CHAINED if depth_constrained else EVERY_STATE)
    variants = [*(f"without_{name}" for name in sorted(exclude))]
    variants += [
        name for name, on in (("inputs", inputs), ("depth_constrained", depth_constrained), ("free", free)) if on
    ]
    return CellSpace("_".join(["darts", *variants]), shape, make_operation, inputs=inputs, free=free)


def make_operation(name: str, channels: int, stride: int, affine: bool) -> nn.Module:
    """One operation of the DARTS space as a module.

    In the supernet pooling is followed by a normalisation, which `MixedCell` does.
    """
    kind, _, size = name.rpartition("_")
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine=affine)
    if kind in ("max_pool", "avg_pool"):
        return Pool(kind[:3], stride)
    kernel = int(size[0])
    if kind == "dil_conv":
        return nn.Sequential(Separable(channels, channels, kernel, stride, 2, affine=affine))
    return nn.Sequential(
        Separable(channels, channels, kernel, stride, affine=affine),
        Separable(channels, channels, kernel, affine=affine),
    )
