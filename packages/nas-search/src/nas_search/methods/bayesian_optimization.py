"""Bayesian optimisation."""

from nas_search.evaluation import TrainAndValidate
from nas_search.method import Method
from nas_search.methods.random_search import black_box
from nas_search.optimizers import SGD
from nas_search.roles import Evaluator
from nas_search.samplers import Bayesian
from nas_search.schedules import Cosine

__all__ = ["bayesian_optimization"]


def bayesian_optimization(
    *,
    initial: int = 10,
    pool: int = 1000,
    candidate_epochs: int = 3,
    learning_rate: float = 0.05,
    weight_decay: float = 5e-4,
    momentum: float = 0.9,
    clip: float = 5.0,
    evaluator: Evaluator | None = None,
) -> Method:
    """Bayesian optimisation: a Gaussian process with a Hamming kernel, log expected improvement, an epoch each.

    Args:
        initial: random architectures that are evaluated first.
        pool: how many candidates the acquisition function chooses from.
        candidate_epochs: as in `random_search`.
        learning_rate: as in `random_search`.
        weight_decay: as in `random_search`.
        momentum: as in `random_search`.
        clip: as in `random_search`.
        evaluator: as in `random_search`.
    """
    optimizer = SGD(Cosine(learning_rate), momentum, weight_decay, clip=clip)
    return black_box(
        "bayesian_optimization", Bayesian(initial, pool), evaluator or TrainAndValidate(candidate_epochs, optimizer)
    )
