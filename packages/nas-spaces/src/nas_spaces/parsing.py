"""Reading text forms, with errors that name the position and what was expected there."""

import re

from nas_spaces.errors import ArchitectureError

__all__ = ["Reader"]


class Reader:
    """A text and how far it has been read. White space between tokens is skipped."""

    def __init__(self, text: str) -> None:
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
