"""DARTS."""

from nas_search.errors import ConfigError
from nas_search.method import Method
from nas_search.optimizers import SGD, Adam
from nas_search.relaxations import Softmax
from nas_search.samplers import Relaxed
from nas_search.schedules import Constant, Cosine
from nas_search.selection import Derive
from nas_search.updates import OuterStep, WeightStep

__all__ = ["darts"]


def darts(
    order: int = 1,
    *,
    learning_rate: float = 0.025,
    weight_decay: float = 5e-4,
    architecture_learning_rate: float = 3e-4,
    architecture_weight_decay: float = 1e-3,
) -> Method:
    """Differentiable architecture search: a softmax mixture of all operations (Liu, Simonyan and Yang, ICLR 2019).

    One step of the architecture parameters on a validation batch, then one of the weights on a train batch.

    Args:
        order: 1, the first-order approximation (the paper's xi = 0).
        learning_rate: of the weights at the beginning; cosine to a twenty-fifth of it.
        weight_decay: of the weights; 3e-4 in the paper, 5e-4 in NAS-Bench-201.
        architecture_learning_rate: of Adam on the architecture parameters.
        architecture_weight_decay: of the architecture parameters.
    """
    if order != 1:
        raise ConfigError(f"order of darts is {order}; this release has the first-order approximation, order=1.")
    return Method(
        name="darts",
        updates=(OuterStep(), WeightStep()),
        relaxation=Softmax,
        sampler=Relaxed(),
        selector=Derive(),
        weights=SGD(Cosine(learning_rate, learning_rate / 25), weight_decay=weight_decay),
        outer=Adam(Constant(architecture_learning_rate), weight_decay=architecture_weight_decay),
    )
