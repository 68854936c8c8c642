"""EN2AS."""

from nas_search.encodings import Encoding, Integers, Logits
from nas_search.errors import ConfigError, did_you_mean
from nas_search.evaluation import SupernetAccuracy
from nas_search.method import Method
from nas_search.optimizers import SGD
from nas_search.roles import Sampler
from nas_search.samplers import Evolution, Novelty, Uniform
from nas_search.schedules import Cosine
from nas_search.selection import BestSampled
from nas_search.updates import WeightStep

__all__ = ["en2as"]


def en2as(
    *,
    archive: int = 100,
    neighbors: int = 10,
    perturbations: int = 10,
    sigma: float = 1.0,
    step_size: float = 1.5,
    encoding: str = "logits",
    standardized: bool = True,
    tau: float = 0.0,
    reward_images: int = 64,
    selection: str = "random",
    samples: int = 100,
    validation_images: int = 512,
    learning_rate: float = 0.025,
    weight_decay: float = 5e-4,
    momentum: float = 0.9,
    clip: float = 5.0,
) -> Method:
    """One-shot search by novelty-driven sampling: the supernet is trained on paths that differ (Zhang et al., IJCAI 2020).

    An archive of architectures spreads out by evolution strategies on their novelty, and each step trains the one that
    has just moved: ``m + step_size / (n sigma) sum_i N(m + sigma e_i) e_i`` with n perturbations ``e_i ~ N(0, I)`` of the
    member m, and the mean distance N to the nearest others (thesis, Eq. 2.4 to 2.6); see `nas_search.samplers.Novelty`.
    ``encoding="integers", standardized=False, step_size=0.01, archive=1000`` is what was released, which in effect trains a
    fixed pool of random architectures.

    Args:
        archive: members; the first steps fill it with random architectures. 1000 in the released code for images.
        neighbors: how many of the nearest members novelty is the mean distance to; 10 in the released code.
        perturbations: n, of the member that moves; 10 in the released code.
        sigma: their standard deviation, in the unit of the encoding; 1 in the released code.
        step_size: gamma, of the member's move; 0.01 in the released code.
        encoding: ``logits``, one number for each option, or ``integers``, the options' numbers.
        standardized: whether novelties are centred and scaled before they weigh the perturbations.
        tau: weight of the validation accuracy beside novelty; 0.5 in the variant with reward.
        reward_images: validation images of that accuracy, which is computed for every perturbation.
        selection: at the end ``random``, the best of random architectures, or ``evolution``, of mutations of the best.
        samples: architectures that are scored at the end.
        validation_images: images that each of them is scored on.
        learning_rate: of the weights at the beginning; cosine to a twenty-fifth of it.
        weight_decay: of the weights; 5e-4 and Nesterov's momentum are those of NAS-Bench-201's searches, 3e-4 and plain
            momentum those of the released code.
        momentum: of the weights.
        clip: largest norm of the gradient of the weights.

    Differs from the paper:
        1. Novelties are standardised, and the step is larger: with what was released hardly any member ever changes; see
           `nas_search.samplers.Novelty`.
        2. `samples` architectures are scored once on the same images, as in NAS-Bench-201's searches of `random_nas`; the
           released code scores 1000 on ten batches, and the best ten on all validation images. Its evolution has a population
           of 100 and crossover, ours is `nas_search.samplers.Evolution`.
    """
    encodings: dict[str, Encoding] = {"logits": Logits(), "integers": Integers()}
    selections: dict[str, Sampler] = {"random": Uniform(), "evolution": Evolution()}
    if encoding not in encodings:
        raise ConfigError(
            f"encoding of en2as is {encoding!r}; expected {', '.join(encodings)}; {did_you_mean(encoding, encodings)}"
        )
    if selection not in selections:
        raise ConfigError(
            f"selection of en2as is {selection!r}; expected {', '.join(selections)}; {did_you_mean(selection, selections)}"
        )
    return Method(
        name="en2as",
        updates=(WeightStep(),),
        sampler=Novelty(
            archive,
            neighbors,
            perturbations,
            sigma,
            step_size,
            encodings[encoding],
            standardized,
            tau,
            SupernetAccuracy(reward_images) if tau else None,
        ),
        selector=BestSampled(samples, SupernetAccuracy(validation_images), selections[selection]),
        weights=SGD(Cosine(learning_rate, learning_rate / 25), momentum, weight_decay, clip=clip),
    )
