"""The validation loss alone."""

from dataclasses import dataclass

from nas_hypergrad import Loss

__all__ = ["Validation"]


@dataclass(frozen=True)
class Validation:
    """The outer loss of bilevel search: that of the validation batch."""

    def __call__(self, valid: Loss, train: Loss, progress: float) -> Loss:
        """See `OuterLoss`."""
        return valid
