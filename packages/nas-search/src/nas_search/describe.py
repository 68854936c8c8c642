"""A text for any value of a configuration: equal for equal values, on every machine and in every process."""

from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

__all__ = ["describe"]


def describe(value: Any) -> str:
    """Write a value the way it would be made, without addresses.

    Example:
        >>> from nas_search.schedules import Linear
        >>> describe({"temperature": Linear(10.0, 0.1), "make": partial(dict, a=1)})
        "{'temperature': Linear(start=10.0, end=0.1), 'make': dict(a=1)}"
    """
    if is_dataclass(value) and not isinstance(value, type):
        inside = ", ".join(f"{field.name}={describe(getattr(value, field.name))}" for field in fields(value))
        return f"{type(value).__name__}({inside})"
    if isinstance(value, partial):
        given = [describe(item) for item in value.args]
        given += [f"{name}={describe(item)}" for name, item in value.keywords.items()]
        return f"{describe(value.func)}({', '.join(given)})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {describe(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "(" + ", ".join(describe(item) for item in value) + ")"
    if callable(value):
        return str(getattr(value, "__qualname__", type(value).__qualname__))
    return repr(value)
