"""Bayesian optimisation."""

from nas_search.method import Method
from nas_search.methods.random_search import black_box
from nas_search.roles import Evaluator
from nas_search.samplers import Bayesian

__all__ = ["bayesian_optimization"]


def bayesian_optimization(
    *,
    initial: int = 10,
    pool: int = 1000,
    candidate_epochs: int = 3,
    learning_rate: float = 0.05,
    evaluator: Evaluator | None = None,
) -> Method:
    """Bayesian optimisation: a Gaussian process with a Hamming kernel, log expected improvement, an epoch each.

    Args:
        initial: random architectures that are evaluated first.
        pool: how many candidates the acquisition function chooses from.
        candidate_epochs: as in `random_search`.
        learning_rate: as in `random_search`.
        evaluator: as in `random_search`.
    """
    return black_box("bayesian_optimization", Bayesian(initial, pool), candidate_epochs, learning_rate, evaluator)
