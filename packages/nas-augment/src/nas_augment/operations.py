"""The operations as data: what each is, and a space of them.

Their arithmetic is in `arithmetic`, and in `soft` with derivatives; a space only says which operations there are and what
value each level stands for. The published spaces are in `presets`.
"""

from dataclasses import asdict, dataclass, fields
from functools import cached_property
from numbers import Integral
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from nas_augment.errors import PolicyError, is_count, nearest, tuple_of

__all__ = ["CODES", "GEOMETRIC", "Operation", "Space", "check_space"]

# The order is never saved: files have names.
_NAMES = (
    "Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "AutoContrast", "Invert", "Equalize",
    "Solarize", "Posterize", "Contrast", "Color", "Brightness", "Sharpness", "Cutout",
)  # fmt: skip
CODES = {name: code for code, name in enumerate(_NAMES)}
GEOMETRIC = frozenset({"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"})
# What the value of each may be counted in; the others have none.
_UNITS = {
    "ShearX": ("slope",),
    "ShearY": ("slope",),
    "TranslateX": ("fraction", "pixels"),
    "TranslateY": ("fraction", "pixels"),
    "Rotate": ("degrees",),
    "Solarize": ("threshold",),
    "Posterize": ("bits",),
    "Contrast": ("factor", "offset"),
    "Color": ("factor", "offset"),
    "Brightness": ("factor", "offset"),
    "Sharpness": ("factor", "offset"),
    "Cutout": ("fraction", "pixels"),
}

Unit = Literal["none", "slope", "fraction", "pixels", "degrees", "threshold", "bits", "factor", "offset"]
Whole = Literal["no", "truncate", "up", "round"]


@dataclass(frozen=True)
class Operation:
    """One operation of a space, as Pillow defines it.

    Args:
        name: which operation; `CODES` has all names.
        low: value at the first level.
        high: value at the last level; those between are evenly spaced.
        unit: of the value. ``fraction`` is of the width (of the height for TranslateY), ``threshold`` and ``bits`` are
            those of Pillow's solarize and posterize, ``factor`` that of its ImageEnhance, and an ``offset`` is added to
            a factor of 1.
        signed: whether the value is negated with probability one half.
        whole: how values are made whole numbers, if they are.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    unit: Unit = "none"
    signed: bool = False
    whole: Whole = "no"

    def __post_init__(self) -> None:
        if self.name not in CODES:
            raise PolicyError(f"unknown operation {self.name!r}; did you mean {nearest(self.name, CODES)!r}?")
        units = _UNITS.get(self.name, ("none",))
        if self.unit not in units:
            raise PolicyError(
                f"operation {self.name} has unit {self.unit!r}; expected {' or '.join(map(repr, units))}."
            )
        if self.whole not in get_args(Whole):
            raise PolicyError(
                f"operation {self.name} has whole {self.whole!r}; expected one of {', '.join(get_args(Whole))}."
            )
        if not all(abs(bound) <= 1000 for bound in (self.low, self.high)):
            raise PolicyError(f"operation {self.name} ranges from {self.low} to {self.high}; expected finite bounds.")
        if self.unit == "bits" and not (0 <= self.low <= 8 and 0 <= self.high <= 8):
            raise PolicyError(f"{self.name} keeps {self.low} to {self.high} bits; expected bounds from 0 to 8.")
        # Numpy's numbers are not JSON's, and their text, which saved parameters are known by, is another.
        for name in ("low", "high"):
            bound = getattr(self, name)
            object.__setattr__(self, name, int(bound) if isinstance(bound, Integral) else float(bound))

    @property
    def has_value(self) -> bool:
        """Whether a level means anything to it."""
        return self.unit != "none"


@dataclass(frozen=True)
class Space:
    """The operations that a policy chooses from, and how many levels each has.

    Args:
        name: of the space, for messages and files.
        operations: in order; indices of a sample count in it.
        levels: how many values each operation can take.

    Example:
        >>> from nas_augment import preset
        >>> space = preset("fast_aa")
        >>> len(space.operations), space.levels
        (15, 10)
        >>> [round(value, 2) for value in space.values[0].tolist()]
        [-0.3, -0.23, -0.17, -0.1, -0.03, 0.03, 0.1, 0.17, 0.23, 0.3]
    """

    name: str
    operations: tuple[Operation, ...]
    levels: int = 10

    def __post_init__(self) -> None:
        if not is_count(self.levels) or self.levels < 2:
            raise PolicyError(f"levels of space {self.name!r} are {self.levels!r}; expected a whole number, 2 or more.")
        operations = tuple_of(Operation, self.operations, f"operations of space {self.name!r}")
        if not operations:
            raise PolicyError(f"space {self.name!r} has no operations.")
        if len({operation.name for operation in self.operations}) != len(self.operations):
            raise PolicyError(f"space {self.name!r} has an operation twice.")
        object.__setattr__(self, "operations", operations)
        object.__setattr__(self, "levels", int(self.levels))  # numpy's numbers are not JSON's

    def index(self, name: str) -> int:
        """The position of an operation.

        Raises:
            PolicyError: the space does not have it; the message has the nearest name.
        """
        names = [operation.name for operation in self.operations]
        if name not in names:
            raise PolicyError(f"space {self.name!r} has no operation {name!r}; did you mean {nearest(name, names)!r}?")
        return names.index(name)

    # Cached: a frozen value never changes, and every draw needs these.
    @cached_property
    def codes(self) -> Tensor:
        """The code of every operation, ``(operations,)`` int64."""
        return torch.tensor([CODES[operation.name] for operation in self.operations])

    @cached_property
    def values(self) -> Tensor:
        """The value of every operation at every level, before its sign, ``(operations, levels)`` float64."""
        steps = torch.arange(self.levels, dtype=torch.float64) / (self.levels - 1)
        rows = []
        for operation in self.operations:
            row = operation.low + steps * (operation.high - operation.low)
            rows.append(_whole(row, operation.whole))
        return torch.stack(rows)

    def value(self, operation: Tensor, level: Tensor, sign: Tensor) -> Tensor:
        """What is done: the value at `level` of `operation` with `sign`, in the unit of the operation, float64.

        Offsets have become factors.
        """
        device = operation.device
        offset = torch.tensor([each.unit == "offset" for each in self.operations], device=device)[operation]
        return self.values.to(device)[operation, level] * sign + offset

    def value_at(self, operation: Tensor, position: Tensor, sign: Tensor) -> Tensor:
        """As `value`, at a position between the first level (0) and the last (1); differentiable in the position.

        Rounding to whole numbers passes the gradient straight through.
        """
        device, position = operation.device, position.double()
        bounds = torch.tensor([[each.low, each.high] for each in self.operations], dtype=torch.float64, device=device)
        low, high = bounds[operation].unbind(-1)
        value = low + position * (high - low)
        wholes = torch.tensor([get_args(Whole).index(each.whole) for each in self.operations], device=device)[operation]
        rounded = torch.stack([_whole(value.detach(), how) for how in get_args(Whole)])
        value = rounded.gather(0, wholes[None])[0] + (value - value.detach())
        offset = torch.tensor([each.unit == "offset" for each in self.operations], device=device)[operation]
        return value * sign + offset

    def signed(self) -> Tensor:
        """Whether the value of each operation has a random sign, ``(operations,)`` bool."""
        return torch.tensor([operation.signed for operation in self.operations])

    def has_value(self) -> Tensor:
        """Whether a level means anything to each operation, ``(operations,)`` bool."""
        return torch.tensor([operation.has_value for operation in self.operations])

    def pixels(self) -> Tensor:
        """Whether the value of each operation is in pixels rather than a fraction, ``(operations,)`` bool."""
        return torch.tensor([operation.unit == "pixels" for operation in self.operations])

    def to_record(self) -> dict[str, Any]:
        """The whole table as JSON types."""
        return {
            "name": self.name,
            "levels": self.levels,
            "operations": [asdict(operation) for operation in self.operations],
        }

    @staticmethod
    def from_record(record: Any) -> "Space":
        """Read `to_record` back.

        Raises:
            PolicyError: a key is missing, unknown or of a wrong type.
        """
        if not isinstance(record, dict) or set(record) != {"name", "levels", "operations"}:
            raise PolicyError(f"a space is an object with name, levels and operations; this is {record!r:.200}.")
        if not isinstance(record["operations"], list) or not isinstance(record["name"], str):
            raise PolicyError("the operations of a space are a list, and its name is a text.")
        return Space(record["name"], tuple(_operation(each) for each in record["operations"]), record["levels"])


def check_space(space: object) -> None:
    """Refuse what is not a space.

    Raises:
        PolicyError: it is something else, such as the name of one.
    """
    if not isinstance(space, Space):
        raise PolicyError(f'space is {space!r:.100}; expected a Space, such as nas_augment.preset("fast_aa").')


def _whole(values: Tensor, how: Whole) -> Tensor:
    # One part in 10^9 keeps 2.9999999999999996 from becoming 2.
    slack = 1e-9 * values.sign()
    return {
        "no": values,
        "truncate": (values + slack).trunc(),
        "up": (values - slack).ceil(),
        "round": values.round(),
    }[how]


def _operation(record: Any) -> Operation:
    expected = {field.name: field.type for field in fields(Operation)}
    if not isinstance(record, dict) or set(record) != set(expected):
        raise PolicyError(f"an operation is an object with {', '.join(expected)}; this is {record!r:.200}.")
    numbers = (record["low"], record["high"])
    if any(isinstance(bound, bool) or not isinstance(bound, int | float) for bound in numbers):
        raise PolicyError(f"bounds of an operation are {numbers}; expected numbers.")
    if not isinstance(record["signed"], bool) or not isinstance(record["name"], str):
        raise PolicyError(f"an operation has signed {record['signed']!r}; expected true or false, and a text as name.")
    return Operation(**record)
