"""The space of AllegroNAS: DARTS with deeper and wider separable convolutions.

The paper does not print the layers of its two blocks. They are built here as the closest documented relative has them,
SharpSepConv of Hundt, Jain and Hager, "sharpDARTS", 2019, which fits every sentence of the paper.
"""

import math
from dataclasses import dataclass

from torch import nn

from nas_spaces.cell_space import CellSpace
from nas_spaces.cells import CellShape
from nas_spaces.darts import EVERY_STATE
from nas_spaces.darts import make_operation as make_darts_operation
from nas_spaces.errors import InputError
from nas_spaces.operations import Separable
from nas_spaces.sizes import require_sizes

__all__ = ["OPERATIONS", "allegro"]

OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "allegro_sep_conv_3x3",
    "allegro_sep_conv_5x5",
    "allegro_dil_conv_3x3",
    "allegro_dil_conv_5x5",
)


def allegro(*, sep_multiple: float = 2.0, dil_multiple: float = 1.0, groups: int = 1) -> CellSpace:
    """The AllegroNAS space.

    Both blocks are ReLU, depthwise, pointwise C to mC, normalisation, and the same again from mC to C without stride
    and dilation; the first depthwise kernel of ``allegro_dil_conv`` has dilation 2.

    Args:
        sep_multiple: m of ``allegro_sep_conv``; 2 by default, "expansion to higher dimensions".
        dil_multiple: m of ``allegro_dil_conv``.
        groups: groups of the pointwise convolutions; 1 by default, as the paper does not say which it groups.

    Differs from the paper:
        1. m and the groups are options with a default of ours, since the paper prints neither.
        2. The order of the operations is ours.

    Example:
        >>> allegro().size == (180 * 7**8) ** 2
        True

    Raises:
        InputError: a multiple that is not above 0, or groups that are no whole number of at least 1.
    """
    require_sizes(groups=groups)
    if not all(0 < multiple < math.inf for multiple in (sep_multiple, dil_multiple)):
        raise InputError(
            f"allegro(sep_multiple={sep_multiple}, dil_multiple={dil_multiple}, groups={groups}): expected finite "
            "multiples above 0."
        )

    options = (("sep", sep_multiple, 2.0), ("dil", dil_multiple, 1.0), ("groups", groups, 1))
    suffix = "".join(f"_{key}{float(value):.12g}" for key, value, usual in options if value != usual)
    return CellSpace(
        f"allegro{suffix}", CellShape(OPERATIONS, EVERY_STATE), _Blocks(sep_multiple, dil_multiple, groups)
    )


@dataclass(frozen=True)
class _Blocks:
    """Makes the operations: a value, so that the space can be sent to another process."""

    sep_multiple: float
    dil_multiple: float
    groups: int

    def __call__(self, name: str, channels: int, stride: int, affine: bool) -> nn.Module:
        if not name.startswith("allegro"):
            return make_darts_operation(name, channels, stride, affine)
        dilated, kernel, groups = "dil" in name, int(name[-1]), self.groups
        middle = max(1, round(channels * (self.dil_multiple if dilated else self.sep_multiple)))
        if channels % groups or middle % groups:
            raise InputError(f"{channels} and {middle} channels cannot be divided into {groups} groups.")
        dilation = 2 if dilated else 1
        return nn.Sequential(
            Separable(channels, middle, kernel, stride, dilation, groups=groups, affine=affine),
            Separable(middle, channels, kernel, groups=groups, affine=affine),
        )
