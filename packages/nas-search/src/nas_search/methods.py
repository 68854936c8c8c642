"""The named methods: each a short sentence over parts that stand alone.

Every setting of a function is what ``nascli search --set NAME=VALUE`` changes. `nas_search.method.Method` has more than
any of these uses: compose your own.
"""

from functools import partial

from nas_search.errors import ConfigError
from nas_search.evaluation import SupernetAccuracy, TrainAndValidate
from nas_search.method import Method
from nas_search.optimizers import SGD, Adam
from nas_search.relaxations import HardGumbel, Softmax
from nas_search.samplers import Relaxed, Uniform
from nas_search.schedules import Constant, Cosine, Linear
from nas_search.selection import BestEvaluated, BestSampled, Derive
from nas_search.updates import EvaluateCandidate, OuterStep, WeightStep

__all__ = ["darts", "gdas", "random_nas", "random_search"]


def darts(
    order: int = 1,
    *,
    learning_rate: float = 0.025,
    weight_decay: float = 5e-4,
    architecture_learning_rate: float = 3e-4,
    architecture_weight_decay: float = 1e-3,
    momentum: float = 0.9,
    clip: float = 5.0,
) -> Method:
    """Differentiable architecture search: a softmax mixture of all operations (Liu, Simonyan and Yang, ICLR 2019).

    One step of the architecture parameters on a validation batch, then one of the weights on a train batch.

    Args:
        order: 1, the first-order approximation (the paper's xi = 0).
        learning_rate: of the weights at the beginning; cosine to a twenty-fifth of it.
        weight_decay: of the weights; 3e-4 in the paper, 5e-4 in NAS-Bench-201.
        architecture_learning_rate: of Adam on the architecture parameters.
        architecture_weight_decay: of the architecture parameters.
        momentum: of the weights.
        clip: largest norm of the gradient of the weights.
    """
    if order != 1:
        raise ConfigError(f"order of darts is {order}; this release has the first-order approximation, order=1.")
    return Method(
        name="darts",
        updates=(OuterStep(), WeightStep()),
        relaxation=Softmax,
        sampler=Relaxed(),
        selector=Derive(),
        weights=SGD(Cosine(learning_rate, learning_rate / 25), momentum, weight_decay, clip=clip),
        outer=Adam(Constant(architecture_learning_rate), weight_decay=architecture_weight_decay),
    )


def gdas(
    *,
    temperature: float = 10.0,
    final_temperature: float = 0.1,
    learning_rate: float = 0.025,
    weight_decay: float = 5e-4,
    architecture_learning_rate: float = 3e-4,
    architecture_weight_decay: float = 1e-3,
    momentum: float = 0.9,
    clip: float = 5.0,
) -> Method:
    """Gradient-based search using a differentiable architecture sampler: one path a step (Dong and Yang, CVPR 2019).

    One step of the weights on a train batch, then one of the architecture parameters on a validation batch, each with
    a path of its own.

    Args:
        temperature: of the Gumbel-softmax at the beginning.
        final_temperature: and at the end, linearly.
        learning_rate: of the weights at the beginning; cosine to a twenty-fifth of it.
        weight_decay: of the weights.
        architecture_learning_rate: of Adam on the architecture parameters.
        architecture_weight_decay: of the architecture parameters.
        momentum: of the weights.
        clip: largest norm of the gradient of the weights.
    """
    return Method(
        name="gdas",
        updates=(WeightStep(), OuterStep()),
        relaxation=partial(HardGumbel, temperature=Linear(temperature, final_temperature)),
        sampler=Relaxed(),
        selector=Derive(),
        weights=SGD(Cosine(learning_rate, learning_rate / 25), momentum, weight_decay, clip=clip),
        outer=Adam(Constant(architecture_learning_rate), weight_decay=architecture_weight_decay),
    )


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

    Args:
        samples: random architectures that are scored with the shared weights at the end; the best is taken.
        validation_images: images that each of them is scored on.
        learning_rate: of the weights at the beginning; cosine to a twenty-fifth of it.
        weight_decay: of the weights.
        momentum: of the weights.
        clip: largest norm of the gradient of the weights.
    """
    return Method(
        name="random_nas",
        updates=(WeightStep(),),
        sampler=Uniform(),
        selector=BestSampled(samples, SupernetAccuracy(validation_images)),
        weights=SGD(Cosine(learning_rate, learning_rate / 25), momentum, weight_decay, clip=clip),
    )


def random_search(
    *,
    candidate_epochs: int = 3,
    learning_rate: float = 0.05,
    weight_decay: float = 5e-4,
    momentum: float = 0.9,
    clip: float = 5.0,
) -> Method:
    """Train one random architecture an epoch, and take the one of the best validation accuracy: the black-box baseline.

    An epoch costs as many passes over the training part as `candidate_epochs` says.

    Args:
        candidate_epochs: how long each candidate is trained.
        learning_rate: of the candidates at the beginning; cosine to 0.
        weight_decay: of the candidates.
        momentum: of the candidates.
        clip: largest norm of the gradient of the candidates.
    """
    optimizer = SGD(Cosine(learning_rate), momentum, weight_decay, clip=clip)
    return Method(
        name="random_search",
        updates=(EvaluateCandidate(TrainAndValidate(candidate_epochs, optimizer)),),
        sampler=Uniform(),
        selector=BestEvaluated(),
        weights=None,
        steps=1,
    )
