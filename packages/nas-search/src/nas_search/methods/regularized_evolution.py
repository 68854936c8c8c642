"""Regularised evolution."""

from nas_search.method import Method
from nas_search.methods.random_search import black_box
from nas_search.roles import Evaluator
from nas_search.samplers import Evolution

__all__ = ["regularized_evolution"]


def regularized_evolution(
    *,
    population: int = 10,
    tournament: int = 3,
    candidate_epochs: int = 3,
    learning_rate: float = 0.05,
    evaluator: Evaluator | None = None,
) -> Method:
    """Regularised evolution: mutate one of the best of the youngest, an epoch each (Real et al., AAAI 2019).

    Args:
        population: how many are alive; the first ones are random.
        tournament: how many of them are drawn, the best of which is mutated.
        candidate_epochs: as in `random_search`.
        learning_rate: as in `random_search`.
        evaluator: as in `random_search`.
    """
    return black_box(
        "regularized_evolution", Evolution(population, tournament), candidate_epochs, learning_rate, evaluator
    )
