"""What nas-augment raises.

AugmentError
|-- AnnotationsError (also ValueError)    masks, boxes or key points that do not fit their images
|-- ImagesError (also ValueError)         images that a policy cannot be applied to
|-- MissingExtraError (also ImportError)  an optional library that is not installed
|-- PolicyError (also ValueError)         settings, samples or files that are not a policy's
`-- UnknownPolicyError (also ValueError)  a name that no installed policy has
"""

import difflib
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any, TypeVar

__all__ = [
    "AnnotationsError",
    "AugmentError",
    "ImagesError",
    "MissingExtraError",
    "PolicyError",
    "UnknownPolicyError",
    "is_count",
    "is_share",
    "nearest",
    "tuple_of",
]

_Part = TypeVar("_Part")


class AugmentError(Exception):
    """Base of every error that nas-augment raises on purpose."""


class AnnotationsError(AugmentError, ValueError):
    """Masks, boxes or key points that do not fit their images."""


class ImagesError(AugmentError, ValueError):
    """Images that a policy cannot be applied to."""


class MissingExtraError(AugmentError, ImportError):
    """An optional library that is not installed."""

    def __init__(self, what: str, library: str, extra: str) -> None:
        super().__init__(f'{what} need {library}, which is missing: pip install "nas-augment[{extra}]".')


class PolicyError(AugmentError, ValueError):
    """Settings, samples or files that are not a policy's."""


class UnknownPolicyError(AugmentError, ValueError):
    """A name that no installed policy has."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like `name`, for a message."""
    return difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)[0]


def is_count(number: object) -> bool:
    """Whether a setting is a whole number, 0 or more; numpy's are some too: store ``int(number)``."""
    return isinstance(number, Integral) and not isinstance(number, bool) and int(number) >= 0


def is_share(number: object) -> bool:
    """Whether a setting is a plain number from 0 to 1."""
    return isinstance(number, Real) and not isinstance(number, bool) and 0 <= float(number) <= 1


def tuple_of(kind: type[_Part], given: Any, what: str) -> tuple[_Part, ...]:
    """The parts of a value as a tuple: with a list it could not be hashed, nor equal what is read back from a file.

    Raises:
        PolicyError: they are no sequence of parts of that kind.
    """
    if not isinstance(given, Sequence) or not all(isinstance(part, kind) for part in given):
        raise PolicyError(f"{what} are {given!r:.100}; expected a tuple of {kind.__name__}; write one alone as (one,).")
    return tuple(given)
