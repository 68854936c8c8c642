"""AllegroNAS."""

from nas_hypergrad import double_backward, finite_difference
from nas_search.estimators import OneStep
from nas_search.losses import Blended
from nas_search.method import Method
from nas_search.optimizers import SGD, Adam
from nas_search.relaxations import Softmax
from nas_search.samplers import Relaxed
from nas_search.schedules import Constant, Cosine, ExponentialCosine, Ramp
from nas_search.selection import Derive
from nas_search.updates import OuterStep, WeightStep

__all__ = ["allegro"]


def allegro(
    *,
    chi_max: float = 0.1,
    chi_min: float = 0.0,
    chi_span: float = 0.5,
    chi_clip: bool = True,
    central_difference: bool = False,
    learning_rate: float = 0.025,
    weight_decay: float = 3e-4,
    architecture_learning_rate: float = 3e-4,
    architecture_weight_decay: float = 1e-3,
) -> Method:
    """Second-order DARTS with asymptotic regularisation: outer loss ``valid + chi train`` (AllegroNAS, CMC 78, 2024, Eq. 4-6).

    The paper searches in the space ``allegro``, and trains what it finds with natural exponential cosine annealing (Eq. 8),
    which `Method.annealing` hands on to the training.

    Args:
        chi_max: the coefficient of the training loss after `chi_span` of the search.
        chi_min: and at the beginning.
        chi_span: the paper's H of 25 epochs as a part of the search: 0.5 of the 50 epochs of DARTS; 1 if it searches for 25.
        chi_clip: whether chi stays at `chi_max` from then on; it goes on rising otherwise.
        central_difference: the second derivative by a central difference instead of exactly.
        learning_rate: of the weights at the beginning; cosine to a twenty-fifth of it.
        weight_decay: of the weights.
        architecture_learning_rate: of Adam on the architecture parameters.
        architecture_weight_decay: of the architecture parameters.

    Differs from the paper:
        1. Eq. 5 takes a central difference for each of the two losses; the gradient of their sum needs only one.
        2. The weights' learning rate in the search is the cosine of DARTS; the paper names a period of 90 epochs in its search
           phase (E), which its own Eq. 8 has as that of the training.
        3. The augmentation and the group convolutions of the paper's section 3.5 are those of the data and of the space.
    """
    products = finite_difference() if central_difference else double_backward()
    return Method(
        name="allegro",
        updates=(OuterStep(), WeightStep()),
        relaxation=Softmax,
        hypergradient=OneStep(products),
        outer_loss=Blended(Ramp(chi_min, chi_max, chi_span, chi_clip)),
        sampler=Relaxed(),
        selector=Derive(),
        weights=SGD(Cosine(learning_rate, learning_rate / 25), weight_decay=weight_decay, nesterov=False),
        outer=Adam(Constant(architecture_learning_rate), weight_decay=architecture_weight_decay),
        annealing=ExponentialCosine,
    )
