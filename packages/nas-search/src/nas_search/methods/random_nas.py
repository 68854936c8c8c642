"""Random search with weight sharing."""

from nas_search.evaluation import SupernetAccuracy
from nas_search.method import Method
from nas_search.optimizers import SGD
from nas_search.samplers import Uniform
from nas_search.schedules import Cosine
from nas_search.selection import BestSampled
from nas_search.updates import WeightStep

__all__ = ["random_nas"]


def random_nas(
    *,
    samples: int = 100,
    validation_images: int = 512,
    learning_rate: float = 0.025,
    weight_decay: float = 5e-4,
    momentum: float = 0.9,
    clip: float = 5.0,
) -> Method:
    """Random search with weight sharing: uniform paths train the supernet (Li and Talwalkar, UAI 2019).

    ``min_w E_a[L_train(w, a)]`` over uniform paths a, one a step; then the architecture of the highest validation accuracy with
    these weights, of random ones. The defaults are those of NAS-Bench-201's searches.

    Args:
        samples: random architectures that are scored with the shared weights at the end; the best is taken.
        validation_images: images that each of them is scored on.
        learning_rate: of the weights at the beginning; cosine to a twenty-fifth of it.
        weight_decay: of the weights.
        momentum: of the weights.
        clip: largest norm of the gradient of the weights.

    Differs from the paper:
        1. Every sample is scored once on the same images; the authors' code scores 1000 on ten batches each, and the best ten
           of them on all validation images.
    """
    return Method(
        name="random_nas",
        updates=(WeightStep(),),
        sampler=Uniform(),
        selector=BestSampled(samples, SupernetAccuracy(validation_images)),
        weights=SGD(Cosine(learning_rate, learning_rate / 25), momentum, weight_decay, clip=clip),
    )
