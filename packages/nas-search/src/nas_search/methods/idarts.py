"""iDARTS."""

from nas_hypergrad import double_backward, finite_difference
from nas_search.estimators import NeumannSeries
from nas_search.method import Method
from nas_search.optimizers import SGD, Adam
from nas_search.relaxations import Softmax
from nas_search.run_state import check_positive
from nas_search.samplers import Relaxed
from nas_search.schedules import Constant, Cosine
from nas_search.selection import Derive
from nas_search.updates import OnFreshBatches, OuterStep, WeightStep

__all__ = ["idarts"]


def idarts(
    inner_steps: int = 4,
    *,
    terms: int = 2,
    halvings: int = 0,
    central_difference: bool = False,
    learning_rate: float = 0.01,
    weight_decay: float = 5e-4,
    architecture_learning_rate: float = 3e-4,
    architecture_weight_decay: float = 1e-3,
) -> Method:
    """Stochastic implicit gradients: some real weight steps, then the Neumann series (Zhang et al., ICML 2021; thesis, ch. 6).

    ``d L_valid / da - gamma v d2 L_train / (dw da)`` with ``v = sum_{k=0..K} (I - gamma H)^k d L_valid / dw``, H the Hessian of
    L_train in w (thesis, Eq. 6.8), and gamma the learning rate of the weights.

    Weight steps, each on a fresh train batch; then one of the architecture parameters at the weights that they lead to, on a
    validation batch, with the second derivatives of yet another train batch. An epoch has as many steps of the architecture
    as DARTS, and sees ``inner_steps + 1`` times the train batches.

    Args:
        inner_steps: T, the weight steps before each step of the architecture parameters.
        terms: K, terms of the Neumann series after the first; 0 leaves the one-step form of DARTS, taken at the real weights.
        halvings: how often gamma may be halved in a step where the series grows because gamma is too large; the share of
            steps where it grows all the same is reported as ``unconverged``.
        central_difference: second derivatives by central differences instead of exactly.
        learning_rate: of the weights at the beginning, and gamma of the series; cosine to a tenth of it. 0.01 is that of
            NAS-Bench-201; in the DARTS space and NAS-Bench-1Shot1 the paper begins with 0.025 and ends at 0.001.
        weight_decay: of the weights; 3e-4 in the DARTS space, 5e-4 in NAS-Bench-201.
        architecture_learning_rate: of Adam on the architecture parameters.
        architecture_weight_decay: of the architecture parameters.

    Differs from the released code:
        1. The weight steps move the weights; the released notebook steps a copy of the optimiser, which leaves them.
        2. A central difference moves the weights along the whole series, by 0.01 in length, and leaves them where they were.
    """
    check_positive(inner_steps=inner_steps)
    products = finite_difference() if central_difference else double_backward()
    return Method(
        name="idarts",
        updates=(OnFreshBatches((*[WeightStep()] * inner_steps, OuterStep())),),
        relaxation=Softmax,
        hypergradient=NeumannSeries(terms, products, halvings),
        sampler=Relaxed(),
        selector=Derive(),
        weights=SGD(Cosine(learning_rate, learning_rate / 10), weight_decay=weight_decay),
        outer=Adam(Constant(architecture_learning_rate), weight_decay=architecture_weight_decay),
    )
