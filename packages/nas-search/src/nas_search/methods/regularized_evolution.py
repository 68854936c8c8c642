"""Regularised evolution."""

from nas_search.evaluation import TrainAndValidate
from nas_search.method import Method
from nas_search.methods.random_search import black_box
from nas_search.optimizers import SGD
from nas_search.roles import Evaluator
from nas_search.samplers import Evolution
from nas_search.schedules import Cosine

__all__ = ["regularized_evolution"]


def regularized_evolution(
    *,
    population: int = 10,
    tournament: int = 3,
    candidate_epochs: int = 3,
    learning_rate: float = 0.05,
    weight_decay: float = 5e-4,
    momentum: float = 0.9,
    clip: float = 5.0,
    parallel: int = 1,
    evaluator: Evaluator | None = None,
) -> Method:
    """Regularised evolution: mutate one of the best of the youngest (Real et al., AAAI 2019).

    The population are the youngest; of `tournament` of them, drawn at random, the best is mutated, and the oldest dies. An
    epoch scores `parallel` children of one population.

    Args:
        population: how many are alive; the first ones are random. 10 in NAS-Bench-201's runs, 100 in the paper.
        tournament: how many of them are drawn, the best of which is mutated; 3 in NAS-Bench-201's runs, 25 in the paper.
        candidate_epochs: as in `random_search`.
        learning_rate: as in `random_search`.
        weight_decay: as in `random_search`.
        momentum: as in `random_search`.
        clip: as in `random_search`.
        parallel: as in `random_search`.
        evaluator: as in `random_search`.

    Differs from the paper:
        1. A mutation is a neighbour in the space, each being as likely.
        2. With `parallel` above 1 the children of an epoch have parents of the population before it.
    """
    optimizer = SGD(Cosine(learning_rate), momentum, weight_decay, clip=clip)
    sampler = Evolution(population, tournament)
    return black_box(
        "regularized_evolution", sampler, evaluator or TrainAndValidate(candidate_epochs, optimizer), parallel
    )
