"""The check of the sizes that every supernet and every network is built with."""

from numbers import Integral

from nas_spaces.errors import InputError

__all__ = ["require_sizes"]


def require_sizes(**sizes: int) -> None:
    """Refuse sizes that are no whole numbers of at least 1, such as ``require_sizes(classes=classes, channels=channels)``.

    Raises:
        InputError: naming the size and what it is.
    """
    for name, size in sizes.items():
        # True and 1.0 equal 1, and would pass for it until a module far inside is made.
        if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
            raise InputError(f"{name} is {size!r}; expected a whole number of at least 1.")
