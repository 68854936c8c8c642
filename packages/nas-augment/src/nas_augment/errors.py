"""What nas-augment raises.

AugmentError
|-- ImagesError (also ValueError)   images that a policy cannot be applied to
`-- PolicyError (also ValueError)   settings, samples or files that are not a policy's
"""

__all__ = ["AugmentError", "ImagesError", "PolicyError", "is_count"]


class AugmentError(Exception):
    """Base of every error that nas-augment raises on purpose."""


class ImagesError(AugmentError, ValueError):
    """Images that a policy cannot be applied to."""


class PolicyError(AugmentError, ValueError):
    """Settings, samples or files that are not a policy's."""


def is_count(number: float) -> bool:
    """Whether a setting is a whole number, 0 or more."""
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0
