"""Local search."""

from nas_search.evaluation import TrainAndValidate
from nas_search.method import Method
from nas_search.methods.random_search import black_box
from nas_search.optimizers import SGD
from nas_search.roles import Evaluator
from nas_search.samplers import Local
from nas_search.schedules import Cosine

__all__ = ["local_search"]


def local_search(
    *,
    candidate_epochs: int = 3,
    learning_rate: float = 0.05,
    weight_decay: float = 5e-4,
    momentum: float = 0.9,
    clip: float = 5.0,
    parallel: int = 1,
    evaluator: Evaluator | None = None,
) -> Method:
    """Climb from neighbour to better neighbour, again and again from the start (White et al., UAI 2021).

    From the architecture a to a neighbour a' with ``score(a') > score(a)``; where there is none, to a random one. An epoch
    scores `parallel` neighbours.

    Args:
        candidate_epochs: as in `random_search`.
        learning_rate: as in `random_search`.
        weight_decay: as in `random_search`.
        momentum: as in `random_search`.
        clip: as in `random_search`.
        parallel: as in `random_search`.
        evaluator: as in `random_search`.

    Differs from the paper:
        1. A neighbour that is better is moved to at once; the paper's plain form scores all neighbours first.
        2. See `nas_search.samplers.Local` for what it knows of climbs before, and for several neighbours at a time.
    """
    optimizer = SGD(Cosine(learning_rate), momentum, weight_decay, clip=clip)
    return black_box("local_search", Local(), evaluator or TrainAndValidate(candidate_epochs, optimizer), parallel)
