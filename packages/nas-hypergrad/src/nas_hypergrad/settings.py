"""Checks of the numbers that estimators are made with."""

import math

from nas_hypergrad.errors import SettingError

__all__ = ["check_count", "check_not_negative", "check_positive"]


def check_positive(name: str, value: float) -> None:
    """Raise SettingError unless the value is a finite number above zero."""
    if not (math.isfinite(value) and value > 0):
        raise SettingError(f"{name} is {value}; expected a finite number above zero.")


def check_not_negative(name: str, value: float) -> None:
    """Raise SettingError unless the value is a finite number, zero or above."""
    if not (math.isfinite(value) and value >= 0):
        raise SettingError(f"{name} is {value}; expected a finite number, zero or above.")


def check_count(name: str, value: int, least: int) -> None:
    """Raise SettingError unless the value is an integer of at least `least`."""
    if not isinstance(value, int) or value < least:
        raise SettingError(f"{name} is {value!r}; expected an integer of at least {least}.")
