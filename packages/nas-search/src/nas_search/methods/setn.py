"""SETN."""

from nas_search.evaluation import SupernetAccuracy
from nas_search.method import Method
from nas_search.optimizers import SGD, Adam
from nas_search.relaxations import Softmax
from nas_search.samplers import Categorical, Uniform
from nas_search.schedules import Constant, Cosine
from nas_search.selection import BestSampled
from nas_search.updates import OuterStep, WeightStep

__all__ = ["setn"]


def setn(
    *,
    samples: int = 100,
    validation_images: int = 512,
    learning_rate: float = 0.025,
    weight_decay: float = 5e-4,
    architecture_learning_rate: float = 3e-4,
    architecture_weight_decay: float = 1e-3,
    momentum: float = 0.9,
    clip: float = 5.0,
) -> Method:
    """Self-evaluated template network (Dong and Yang, "One-shot neural architecture search via SETN", ICCV 2019).

    The weights are trained on uniformly drawn paths, so that all candidates have an equal chance; a step of the logits a on
    the validation loss of all options, weighted by their softmax, ``d L_valid(w, softmax(a)) / da``, follows. At the end
    architectures are drawn from the learned probabilities, and the best by the shared weights is taken: the supernet
    evaluates itself. The defaults are those of NAS-Bench-201's searches.

    Args:
        samples: architectures that are drawn and scored at the end.
        validation_images: images that each of them is scored on.
        learning_rate: of the weights at the beginning; cosine to a twenty-fifth of it.
        weight_decay: of the weights.
        architecture_learning_rate: of Adam on the logits.
        architecture_weight_decay: of the logits.
        momentum: of the weights.
        clip: largest norm of the gradient of the weights.

    Differs from the released code:
        1. The weighted sum of an edge is not divided by the number of its options once more.
        2. All samples are scored on the same images; the code takes one more batch for each.
    """
    return Method(
        name="setn",
        updates=(WeightStep(), OuterStep()),
        relaxation=Softmax,
        sampler=Uniform(),
        selector=BestSampled(samples, SupernetAccuracy(validation_images), Categorical()),
        weights=SGD(Cosine(learning_rate, learning_rate / 25), momentum, weight_decay, clip=clip),
        outer=Adam(Constant(architecture_learning_rate), weight_decay=architecture_weight_decay),
    )
