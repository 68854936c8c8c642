"""An architecture: one frozen, hashable value, the same type for every space."""

from dataclasses import dataclass, field

__all__ = ["Architecture"]


@dataclass(frozen=True)
class Architecture:
    """One network of a search space, named by the options it takes in each row of the space's choices.

    Made by a space (`sample`, `parse`, `discretize`, ...), never by hand: the space guarantees that
    ``space.parse(str(a)) == a``. Two architectures are equal when their space and their options are; the text is
    derived from those.

    Args:
        space: name of the space it belongs to.
        options: for each row of ``space.choices`` the indices of the options taken; empty where a row is not used.
        text: the space's own written form.
    """

    space: str
    options: tuple[tuple[int, ...], ...]
    text: str = field(compare=False)

    def __str__(self) -> str:
        """The space's own written form, which ``space.parse`` reads back."""
        return self.text
