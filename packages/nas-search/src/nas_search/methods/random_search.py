"""Random search."""

from nas_search.evaluation import TrainAndValidate
from nas_search.method import Method
from nas_search.optimizers import SGD
from nas_search.roles import Evaluator, Sampler
from nas_search.samplers import Uniform
from nas_search.schedules import Cosine
from nas_search.selection import BestEvaluated
from nas_search.updates import EvaluateCandidate

__all__ = ["black_box", "random_search"]


def random_search(
    *, candidate_epochs: int = 3, learning_rate: float = 0.05, evaluator: Evaluator | None = None
) -> Method:
    """Score one random architecture an epoch, and take the best: the baseline of every black-box method.

    Args:
        candidate_epochs: how long each candidate is trained; an epoch costs as many passes over the training part.
        learning_rate: of the candidates at the beginning; cosine to 0.
        evaluator: what scores a candidate instead of training it, such as `nas_search.evaluation.TableScore`.
    """
    return black_box("random_search", Uniform(), candidate_epochs, learning_rate, evaluator)


def black_box(
    name: str, sampler: Sampler, candidate_epochs: int, learning_rate: float, evaluator: Evaluator | None
) -> Method:
    """One candidate an epoch from a sampler that reads the archive of scores; no supernet, nothing to learn."""
    train = TrainAndValidate(candidate_epochs, SGD(Cosine(learning_rate)))
    return Method(
        name=name,
        updates=(EvaluateCandidate(evaluator or train),),
        sampler=sampler,
        selector=BestEvaluated(),
        weights=None,
        steps=1,
    )
