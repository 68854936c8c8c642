"""SNAS."""

from functools import partial

from nas_search.method import Method
from nas_search.optimizers import SGD, Adam
from nas_search.relaxations import Concrete
from nas_search.samplers import Relaxed
from nas_search.schedules import Constant, Cosine, Linear
from nas_search.selection import Derive
from nas_search.updates import JointStep

__all__ = ["snas"]


def snas(
    *,
    temperature: float = 1.0,
    final_temperature: float = 0.03,
    learning_rate: float = 0.025,
    weight_decay: float = 3e-4,
    architecture_learning_rate: float = 3e-4,
    architecture_weight_decay: float = 1e-3,
) -> Method:
    """Stochastic neural architecture search: weights and architecture by one loss (Xie, Zheng, Liu and Lin, ICLR 2019).

    ``min E_Z[L_train(w, Z)]`` over `w` and the logits, with ``Z = softmax((logits + gumbel) / temperature)``: a single
    level, on all train images. One backward pass gives both gradients.

    Args:
        temperature: of the concrete distribution at the beginning.
        final_temperature: and at the end, linearly.
        learning_rate: of the weights at the beginning; cosine to a twenty-fifth of it.
        weight_decay: of the weights.
        architecture_learning_rate: of Adam on the architecture parameters.
        architecture_weight_decay: of the architecture parameters.

    Differs from the paper:
        1. The logits start at 0.001 N(0, 1) as in DARTS; the released code draws them from N(1, 0.01^2).
        2. The resource term is left out; add one to the method's regularizers.
        3. The architecture is derived by the rule of the space: in the DARTS space two inputs a node, without ``none``,
           where the paper keeps every edge whose largest operation is not ``none``.
        4. The gradient of the logits is not clipped; the released code clips its norm at 10.
    """
    return Method(
        name="snas",
        updates=(JointStep(),),
        relaxation=partial(Concrete, temperature=Linear(temperature, final_temperature)),
        sampler=Relaxed(),
        selector=Derive(),
        weights=SGD(Cosine(learning_rate, learning_rate / 25), weight_decay=weight_decay, nesterov=False),
        outer=Adam(Constant(architecture_learning_rate), weight_decay=architecture_weight_decay),
        train_share=1.0,
    )
