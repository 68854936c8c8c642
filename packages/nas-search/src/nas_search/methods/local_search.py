"""Local search."""

from nas_search.method import Method
from nas_search.methods.random_search import black_box
from nas_search.roles import Evaluator
from nas_search.samplers import Local

__all__ = ["local_search"]


def local_search(
    *,
    candidate_epochs: int = 3,
    learning_rate: float = 0.05,
    evaluator: Evaluator | None = None,
) -> Method:
    """Climb from neighbour to better neighbour, again and again from the start, an epoch each (White et al., UAI 2021).

    Args:
        candidate_epochs: as in `random_search`.
        learning_rate: as in `random_search`.
        evaluator: as in `random_search`.
    """
    return black_box("local_search", Local(), candidate_epochs, learning_rate, evaluator)
