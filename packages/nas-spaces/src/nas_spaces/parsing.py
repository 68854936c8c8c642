"""Reading text forms, with errors that name the position and what was expected there."""

import ast
import re
from typing import Any

from nas_spaces.errors import ArchitectureError

__all__ = ["Reader", "genotype_arguments", "literal"]


class Reader:
    """A text and how far it has been read. White space between tokens is skipped."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise ArchitectureError(f"the text of an architecture is {text!r:.60}; expected a str.")
        self.text, self.position = text, 0
        self._skip()

    def _skip(self) -> None:
        while self.position < len(self.text) and self.text[self.position].isspace():
            self.position += 1

    def fail(self, expected: str) -> ArchitectureError:
        """The error that something else stands here."""
        rest = self.text[self.position : self.position + 20]
        found = repr(rest) if rest else "the end"
        return ArchitectureError(f"at position {self.position} of {self.text!r}: expected {expected}, found {found}.")

    def take(self, literal: str) -> None:
        """Read exactly `literal`.

        Raises:
            ArchitectureError: something else stands here.
        """
        if not self.text.startswith(literal, self.position):
            raise self.fail(repr(literal))
        self.position += len(literal)
        self._skip()

    def one_of(self, names: tuple[str, ...], what: str) -> int:
        """Read a word that is one of `names`, of letters, digits, underscores and inner hyphens; returns which.

        Raises:
            ArchitectureError: another word stands here.
        """
        match = re.compile(r"\w+(-\w+)*").match(self.text, self.position)
        if match is None or match[0] not in names:
            raise self.fail(f"{what}, one of {', '.join(names)}")
        self.position = match.end()
        self._skip()
        return names.index(match[0])

    def number(self, allowed: tuple[int, ...], what: str) -> int:
        """Read one of the numbers `allowed`.

        Raises:
            ArchitectureError: something else stands here.
        """
        return allowed[self.one_of(tuple(str(number) for number in allowed), what)]

    def end(self) -> None:
        """Nothing may follow.

        Raises:
            ArchitectureError: something does.
        """
        if self.position < len(self.text):
            raise self.fail("the end")


def genotype_arguments(text: str, *expected: str) -> dict[str, ast.expr]:
    """The arguments of a ``Genotype(keyword=value, ...)``, as syntax trees: nothing is evaluated.

    Raises:
        ArchitectureError: it is no such call, or has other keywords than `expected`.
    """
    try:
        call = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ArchitectureError(f"{text!r} is no Genotype(...): {error.msg} at position {error.offset}.") from error
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes; brackets within brackets
        raise ArchitectureError(f"{text[:80]!r} is no Genotype(...): {error}.") from error
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Genotype"):
        raise ArchitectureError(f"expected Genotype({expected[0]}=[...], ...), not {text!r}.")
    values: dict[str, ast.expr] = {keyword.arg or "**": keyword.value for keyword in call.keywords}
    if call.args or sorted(values) != sorted(expected):
        raise ArchitectureError(f"Genotype(...) takes the keywords {', '.join(expected)}, not {', '.join(values)}.")
    return values


def literal(value: ast.expr) -> Any:
    """The value of a literal; None if it is none."""
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return None
