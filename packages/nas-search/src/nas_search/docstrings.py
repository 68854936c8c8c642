"""What a docstring says: its summary, the text before its arguments, and the text of each argument."""

import inspect
import re

__all__ = ["argument_texts", "differences", "introduction", "summary"]

_SECTION = re.compile(r"^(Args|Returns|Raises|Example|Attributes|Yields|Reference|Differs from [^:]+):\s*$", re.M)


def summary(text: str | None) -> str:
    r"""The first line of a docstring; empty if there is none.

    Example:
        >>> summary('''Random search.
        ...
        ...     Args: none.
        ... ''')
        'Random search.'
    """
    lines = inspect.cleandoc(text or "").splitlines()
    return lines[0] if lines else ""


def introduction(text: str | None) -> str:
    r"""What stands before the first section: what a thing is, its equations and where they come from.

    Example:
        >>> introduction("Search.\n\n    By Eq. 7.\n\n    Args:\n        eta: a number.\n    ")
        'Search.\n\nBy Eq. 7.'
    """
    return _SECTION.split(inspect.cleandoc(text or ""))[0].strip()


def differences(text: str | None) -> str:
    r"""The section ``Differs from ...`` with its heading; empty if there is none.

    Example:
        >>> differences("Search.\n\n    Differs from the paper:\n        1. No bias.\n\n    Raises:\n        E: no.\n    ")
        'Differs from the paper:\n    1. No bias.'
    """
    parts = _SECTION.split(inspect.cleandoc(text or ""))
    headed = zip(parts[1::2], parts[2::2], strict=True)
    return "\n".join(f"{head}:{body.rstrip()}" for head, body in headed if head.startswith("Differs"))


def argument_texts(text: str | None) -> dict[str, str]:
    r"""The text of each argument of the section ``Args``, on one line; of names that share one, the same text.

    Example:
        >>> argument_texts("Search.\n\n    Args:\n        a, b: lengths,\n            in pixels.\n        c: a share.\n    ")
        {'a': 'lengths, in pixels.', 'b': 'lengths, in pixels.', 'c': 'a share.'}
    """
    parts = _SECTION.split(inspect.cleandoc(text or ""))
    texts: dict[str, str] = {}
    if "Args" not in parts:
        return texts
    section = inspect.cleandoc("\n" + parts[parts.index("Args") + 1].strip("\n"))
    for entry in re.split(r"\n(?=\S)", section):
        names, _, said = entry.partition(":")
        for name in names.split(","):
            texts[name.strip()] = " ".join(said.split())
    return texts
