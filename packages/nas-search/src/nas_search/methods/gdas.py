"""GDAS."""

from functools import partial

from nas_search.method import Method
from nas_search.optimizers import SGD, Adam
from nas_search.relaxations import HardGumbel
from nas_search.samplers import Relaxed
from nas_search.schedules import Constant, Cosine, Linear
from nas_search.selection import Derive
from nas_search.updates import OuterStep, WeightStep

__all__ = ["gdas"]


def gdas(
    *,
    temperature: float = 10.0,
    final_temperature: float = 0.1,
    all_options: bool = False,
    learning_rate: float = 0.025,
    weight_decay: float = 5e-4,
    architecture_learning_rate: float = 3e-4,
    architecture_weight_decay: float = 1e-3,
    momentum: float = 0.9,
    clip: float = 5.0,
) -> Method:
    """Gradient-based search using a differentiable architecture sampler: one path a step (Dong and Yang, CVPR 2019).

    One step of the weights on a train batch, then one of the architecture parameters on a validation batch, each with
    a path of its own: the weights of a row are ``onehot(argmax(log softmax(a) + g))``, with the gradient of
    ``softmax((log softmax(a) + g) / temperature)`` and g standard Gumbel noise (Eq. 3 to 6). The defaults are those of
    NAS-Bench-201's searches.

    Args:
        temperature: of the Gumbel-softmax at the beginning.
        final_temperature: and at the end, linearly.
        all_options: differentiate the validation loss with respect to the weights of all options, and not of the drawn ones
            alone, at the cost of the whole supernet; see `HardGumbel`.
        learning_rate: of the weights at the beginning; cosine to a twenty-fifth of it.
        weight_decay: of the weights.
        architecture_learning_rate: of Adam on the architecture parameters.
        architecture_weight_decay: of the architecture parameters.
        momentum: of the weights.
        clip: largest norm of the gradient of the weights.

    Differs from the paper:
        1. Without `all_options` an option that is not drawn has no gradient but that of the softmax; see `HardGumbel`.
        2. The variant with a reduction cell that is fixed, and not searched, is left out.
    """
    return Method(
        name="gdas",
        updates=(WeightStep(), OuterStep()),
        relaxation=partial(HardGumbel, temperature=Linear(temperature, final_temperature), all_options=all_options),
        sampler=Relaxed(),
        selector=Derive(),
        weights=SGD(Cosine(learning_rate, learning_rate / 25), momentum, weight_decay, clip=clip),
        outer=Adam(Constant(architecture_learning_rate), weight_decay=architecture_weight_decay),
    )
