"""BaLeNAS."""

from nas_hypergrad import FirstOrder
from nas_search.errors import ConfigError
from nas_search.estimators import OneStep
from nas_search.gates import OpenGates
from nas_search.method import Method
from nas_search.optimizers import SGD, VariationalAdam
from nas_search.relaxations import GatedSoftmax, Softmax
from nas_search.samplers import Relaxed
from nas_search.schedules import Constant, Cosine
from nas_search.selection import Derive
from nas_search.updates import PosteriorStep, WeightStep

__all__ = ["balenas"]


def balenas(
    order: int = 1,
    *,
    samples: int = 1,
    depth: float = 0.0,
    prior_precision: float = 1.0,
    initial_precision: float = 1.0,
    observations: int = 25_000,
    learning_rate: float = 0.025,
    weight_decay: float = 3e-4,
    architecture_learning_rate: float = 3e-4,
) -> Method:
    """Bayesian learning rule for architecture search (thesis, chapter 5, Algorithm 5): a distribution of architectures.

    ``min E[L_valid(w*, theta)]`` over ``theta ~ N(mu, sigma^2)`` by variational Adam, with ``weights = softmax(theta)``;
    then one step of the weights at ``mu``. The architecture is that of `mu`.

    Args:
        order: 1, the gradient at the current weights, or 2, through one step of the weights' optimiser, which all published
            figures are of.
        samples: M, the draws of a step; 1 in the paper's recommendation.
        depth: eta_1, how much the gates on the edges between nodes are driven open (Eq. 5.21). 0.05 in the paper, in the
            DARTS space alone; at 0 there are no gates.
        prior_precision: delta, of the prior N(0, 1 / delta).
        initial_precision: the standard deviation starts at ``1 / sqrt(initial_precision)``.
        observations: N, the number of validation images.
        learning_rate: of the weights at the beginning; cosine to a twenty-fifth of it.
        weight_decay: of the weights; 3e-4 with plain momentum are those of the DARTS space. NAS-Bench-201's searches have 5e-4.
        architecture_learning_rate: of variational Adam.

    Differs from the paper:
        1. Variational Adam has the root of the second moment and averages squares over draws; see `GaussianPosterior`.
        2. The weights are trained at the mean, as the released code does; the text leaves it open.
        3. For order 2 the virtual step is taken anew at every draw; the released code takes it once, at the mean.
        4. Interval and temperature of the gates, which the paper does not give, are those of the paper it follows; see
           `HardConcrete`.
    """
    if order not in (1, 2):
        raise ConfigError(
            f"order of balenas is {order}; expected 1 (first-order approximation) or 2 (one unrolled step)."
        )
    if depth < 0:
        raise ConfigError(f"depth of balenas is {depth}; expected 0 (no gates) or a positive weight, such as 0.05.")
    return Method(
        name="balenas",
        updates=(PosteriorStep(samples), WeightStep()),
        relaxation=GatedSoftmax if depth else Softmax,
        hypergradient=FirstOrder() if order == 1 else OneStep(),
        sampler=Relaxed(),
        selector=Derive(),
        regularizers=(OpenGates(Constant(depth)),) if depth else (),
        weights=SGD(Cosine(learning_rate, learning_rate / 25), weight_decay=weight_decay, nesterov=False),
        outer=VariationalAdam(
            Constant(architecture_learning_rate),
            prior_precision=prior_precision,
            initial_precision=initial_precision,
            observations=observations,
        ),
    )
