"""Checks of the numbers that estimators are made with."""

import math
from numbers import Integral, Real

from nas_hypergrad.errors import SettingError

__all__ = ["check_count", "check_made", "check_not_negative", "check_positive"]


def check_positive(name: str, value: float) -> None:
    """Raise SettingError unless the value is a finite number above zero."""
    if not (_is_finite_number(value) and value > 0):
        raise SettingError(f"{name} is {value!r}; expected a finite number above zero.")


def check_not_negative(name: str, value: float) -> None:
    """Raise SettingError unless the value is a finite number, zero or above."""
    if not (_is_finite_number(value) and value >= 0):
        raise SettingError(f"{name} is {value!r}; expected a finite number, zero or above.")


def check_count(name: str, value: int, least: int) -> None:
    """Raise SettingError unless the value is an integer of at least `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise SettingError(f"{name} is {value!r}; expected an integer of at least {least}.")


def check_made(name: str, value: object, expected: str) -> None:
    """Raise SettingError unless the value can be called, and is no class of such values, which is to be called first."""
    if isinstance(value, type) and any("__call__" in vars(each) for each in value.__mro__):
        raise SettingError(f"{name} is the class {value.__name__}; expected {expected}: call it with its settings.")
    if not callable(value):
        raise SettingError(f"{name} is {value!r}; expected {expected}.")


def _is_finite_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
