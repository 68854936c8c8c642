"""DrNAS."""

from nas_search.method import Method
from nas_search.optimizers import SGD, Adam
from nas_search.relaxations import Dirichlet
from nas_search.samplers import Relaxed
from nas_search.schedules import Constant, Cosine
from nas_search.selection import Derive
from nas_search.updates import OuterStep, WeightStep

__all__ = ["drnas"]


def drnas(
    *,
    learning_rate: float = 0.025,
    weight_decay: float = 3e-4,
    architecture_learning_rate: float = 3e-4,
    distance_penalty: float = 1e-3,
) -> Method:
    """Dirichlet neural architecture search (Chen, Wang, Cheng, Tang and Hsieh, ICLR 2021).

    ``min E_{weights ~ Dirichlet(elu(b) + 1)}[L_valid(w*, weights)] + penalty |b - 0|^2 / 2`` over `b`: the distance is to
    ``b = 0``, the uniform distribution on the simplex. One step of `b`, then one of the weights, each with a draw of its
    own.

    Args:
        learning_rate: of the weights at the beginning; cosine to a twenty-fifth of it.
        weight_decay: of the weights.
        architecture_learning_rate: of Adam on `b`.
        distance_penalty: weight of the squared distance, which is Adam's weight decay.

    Differs from the paper:
        1. The progressive scheme, which prunes operations and widens partial channels half-way, is left out: this is the
           paper's plain search, the one of its NAS-Bench-201 results without it.
        2. The architecture is derived from the expected weights; see `Dirichlet`.
    """
    return Method(
        name="drnas",
        updates=(OuterStep(), WeightStep()),
        relaxation=Dirichlet,
        sampler=Relaxed(),
        selector=Derive(),
        weights=SGD(Cosine(learning_rate, learning_rate / 25), weight_decay=weight_decay, nesterov=False),
        outer=Adam(Constant(architecture_learning_rate), weight_decay=distance_penalty),
    )
