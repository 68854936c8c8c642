"""DARTS."""

from nas_hypergrad import FirstOrder, double_backward, finite_difference
from nas_search.early_stopping import stopped_by_eigenvalue, stopped_by_skips
from nas_search.errors import ConfigError
from nas_search.estimators import OneStep
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
    central_difference: bool = False,
    stop_eigenvalue: float = 0.0,
    stop_skips: int = 0,
    learning_rate: float = 0.025,
    weight_decay: float = 5e-4,
    architecture_learning_rate: float = 3e-4,
    architecture_weight_decay: float = 1e-3,
    momentum: float = 0.9,
    clip: float = 5.0,
) -> Method:
    """Differentiable architecture search: a softmax mixture of all operations (Liu, Simonyan and Yang, ICLR 2019).

    ``min_a L_valid(w*(a), a)`` with ``w*(a) = argmin_w L_train(w, a)`` (Eq. 3 and 4), every edge being the mixture
    ``sum_o softmax(a)_o o(x)`` (Eq. 2). One step of the architecture parameters on a validation batch, along
    ``d L_valid(w - xi d L_train(w, a) / dw, a) / da`` (Eq. 6) with xi = 0 or the learning rate of the weights, then one of
    the weights on a train batch.

    Args:
        order: 1, the gradient at the current weights (the paper's xi = 0), or 2, through one step of the weights' optimiser.
        central_difference: of order 2, the second derivative by the paper's central difference instead of exactly.
        stop_eigenvalue: stop when the dominant eigenvalue of the Hessian was less than this part of what it is now, 0.75 in
            RobustDARTS; 0 for never.
        stop_skips: stop when the normal cell has so many skip connections, 2 in DARTS+; 0 for never.
        learning_rate: of the weights at the beginning; cosine to a twenty-fifth of it.
        weight_decay: of the weights; 3e-4 in the paper, 5e-4 in NAS-Bench-201. All other defaults are those of the authors' code.
        architecture_learning_rate: of Adam on the architecture parameters.
        architecture_weight_decay: of the architecture parameters.
        momentum: of the weights.
        clip: largest norm of the gradient of the weights.

    Differs from the paper:
        1. The second derivative of order 2 is exact; see `OneStep` for this and for what its virtual step is.
        2. The momentum is Nesterov's, as in NAS-Bench-201's searches, and the learning rate falls at every step, not once an
           epoch.
        3. `stop_eigenvalue` and `stop_skips` are of papers that came later; see `stopped_by_eigenvalue` and
           `stopped_by_skips`.
    """
    if order not in (1, 2):
        raise ConfigError(
            f"order of darts is {order}; expected 1 (first-order approximation) or 2 (one unrolled step)."
        )
    if central_difference and order == 1:
        raise ConfigError("central_difference of darts is for order=2; the first order has no second derivative.")
    if stop_eigenvalue and stop_skips:
        raise ConfigError("darts has either stop_eigenvalue or stop_skips; set the other one to 0.")
    products = finite_difference() if central_difference else double_backward()
    method = Method(
        name="darts",
        updates=(OuterStep(), WeightStep()),
        relaxation=Softmax,
        hypergradient=FirstOrder() if order == 1 else OneStep(products),
        sampler=Relaxed(),
        selector=Derive(),
        weights=SGD(Cosine(learning_rate, learning_rate / 25), momentum, weight_decay, clip=clip),
        outer=Adam(Constant(architecture_learning_rate), weight_decay=architecture_weight_decay),
    )
    if stop_eigenvalue:
        return stopped_by_eigenvalue(method, stop_eigenvalue)
    return stopped_by_skips(method, stop_skips) if stop_skips else method
