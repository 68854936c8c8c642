"""Random search."""

from nas_search.errors import ConfigError
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
    *,
    candidate_epochs: int = 3,
    learning_rate: float = 0.05,
    weight_decay: float = 5e-4,
    momentum: float = 0.9,
    clip: float = 5.0,
    parallel: int = 1,
    evaluator: Evaluator | None = None,
) -> Method:
    """Score random architectures, and take the best: the baseline of every black-box method.

    Uniform draws, independent of each other (Bergstra and Bengio, JMLR 2012), ``argmax_i score(a_i)``. An epoch scores
    `parallel` of them.

    Args:
        candidate_epochs: epochs that each candidate is trained; each of them costs a pass over the training part.
        learning_rate: of the candidates at the beginning; cosine to 0.
        weight_decay: of the candidates.
        momentum: of the candidates.
        clip: largest norm of the gradient of the candidates.
        parallel: candidates that are proposed together, from the scores of those before, and scored in one epoch; by as many
            processes at most (`--workers`), on whose number the result does not depend.
        evaluator: what scores a candidate instead of training it, such as `nas_search.evaluation.TableScore`.

    Differs from the paper:
        1. What is drawn are architectures; hyper-parameters only in a `nas_search.mixed_space.MixedSpace`.
    """
    optimizer = SGD(Cosine(learning_rate), momentum, weight_decay, clip=clip)
    return black_box("random_search", Uniform(), evaluator or TrainAndValidate(candidate_epochs, optimizer), parallel)


def black_box(name: str, sampler: Sampler, evaluator: Evaluator, parallel: int) -> Method:
    """So many candidates an epoch from a sampler that reads the archive of scores; no supernet, nothing to learn."""
    if not callable(evaluator):
        raise ConfigError(
            f"evaluator of {name} is {evaluator!r}; expected a part such as nas_search.evaluation.TableScore, which only a "
            "call in Python can give: leave it out to train the candidates."
        )
    return Method(
        name=name,
        updates=(EvaluateCandidate(evaluator, parallel),),
        sampler=sampler,
        selector=BestEvaluated(),
        weights=None,
        steps=1,
    )
