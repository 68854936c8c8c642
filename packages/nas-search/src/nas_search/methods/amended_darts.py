"""Amended-DARTS."""

from functools import partial

from nas_hypergrad import FirstOrder, Implicit, amended, double_backward, finite_difference
from nas_search.method import Method
from nas_search.optimizers import SGD, Adam
from nas_search.relaxations import Softmax
from nas_search.samplers import Relaxed
from nas_search.schedules import Constant, Cosine
from nas_search.selection import Derive
from nas_search.updates import OuterStep, WeightStep

__all__ = ["amended_darts"]


def amended_darts(
    eta: float = 0.1,
    *,
    central_difference: bool = False,
    learning_rate: float = 0.025,
    weight_decay: float = 3e-4,
    architecture_learning_rate: float = 3e-4,
    architecture_weight_decay: float = 1e-3,
) -> Method:
    """DARTS with an amended gradient: ``eta H`` in place of the inverse Hessian (Bi et al., 2019, Eq. 7).

    ``d L_valid / da - eta (d2 L_train / da dw) H d L_valid / dw`` at the current weights, without a virtual step. The
    architecture parameters start at zero: all operations have the same weight.

    Args:
        eta: the amending coefficient; the paper finds first-order DARTS at 0.01 and below, which 0 is, and average pooling at 1.
        central_difference: both products by central differences along a vector of length 0.01: four more passes over the
            train batch, and no second derivative.
        learning_rate: of the weights at the beginning; cosine to a twenty-fifth of it.
        weight_decay: of the weights.
        architecture_learning_rate: of Adam on the architecture parameters.
        architecture_weight_decay: of the architecture parameters.

    Differs from the paper:
        1. The weights' optimiser in the search is not printed; it is that of DARTS.
        2. The claim that the amended term makes an angle of at most 90 degrees with the exact one (Eq. 8) does not hold in
           general: a positive semi-definite matrix between ``H^-1`` and `H` may turn the vector further.
    """
    products = finite_difference() if central_difference else double_backward()
    return Method(
        name="amended_darts",
        updates=(OuterStep(), WeightStep()),
        relaxation=partial(Softmax, scale=0.0),
        hypergradient=FirstOrder() if eta == 0 else Implicit(amended(eta), products=products),
        sampler=Relaxed(),
        selector=Derive(),
        weights=SGD(Cosine(learning_rate, learning_rate / 25), weight_decay=weight_decay, nesterov=False),
        outer=Adam(Constant(architecture_learning_rate), weight_decay=architecture_weight_decay),
    )
