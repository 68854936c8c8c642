"""The validation loss with a share of the training loss."""

from dataclasses import dataclass

from nas_hypergrad import Loss, blend
from nas_search.roles import Schedule

__all__ = ["Blended"]


@dataclass(frozen=True)
class Blended:
    """``valid + coefficient train``, both at the same weights (AllegroNAS, Eq. 4: mixed-level optimisation).

    With the one-step unrolled estimator its gradient is Eq. 5, both terms at ``w* = w - lr d train / dw``: a blend of
    two outer losses is one outer loss, and needs no estimator of its own.

    Args:
        coefficient: chi over the run.
    """

    coefficient: Schedule

    def __call__(self, valid: Loss, train: Loss, progress: float) -> Loss:
        """See `OuterLoss`."""
        return blend((valid, 1.0), (train, self.coefficient(progress)))
