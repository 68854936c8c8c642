"""Random search."""

from nas_search.evaluation import TrainAndValidate
from nas_search.method import Method
from nas_search.optimizers import SGD
from nas_search.samplers import Uniform
from nas_search.schedules import Cosine
from nas_search.selection import BestEvaluated
from nas_search.updates import EvaluateCandidate

__all__ = ["random_search"]


def random_search(*, candidate_epochs: int = 3, learning_rate: float = 0.05) -> Method:
    """Train one random architecture an epoch, and take the one of the best validation accuracy: the black-box baseline.

    An epoch costs as many passes over the training part as `candidate_epochs` says.

    Args:
        candidate_epochs: how long each candidate is trained.
        learning_rate: of the candidates at the beginning; cosine to 0.
    """
    return Method(
        name="random_search",
        updates=(EvaluateCandidate(TrainAndValidate(candidate_epochs, SGD(Cosine(learning_rate)))),),
        sampler=Uniform(),
        selector=BestEvaluated(),
        weights=None,
        steps=1,
    )
