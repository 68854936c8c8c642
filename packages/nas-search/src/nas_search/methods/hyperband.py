"""Successive halving and Hyperband."""

from collections.abc import Callable
from functools import partial

from nas_search.evaluation import TrainAndValidate
from nas_search.halving import (
    BestAtLargestBudget,
    Bracket,
    EvaluateRungs,
    hyperband_brackets,
    successive_halving_bracket,
)
from nas_search.method import Method
from nas_search.optimizers import SGD
from nas_search.roles import Evaluator
from nas_search.samplers import Uniform
from nas_search.schedules import Cosine

__all__ = ["hyperband", "successive_halving"]


def successive_halving(
    *,
    candidates: int = 9,
    shortest: int = 1,
    eta: int = 3,
    learning_rate: float = 0.05,
    weight_decay: float = 5e-4,
    momentum: float = 0.9,
    clip: float = 5.0,
    parallel: int = 1,
    evaluator: Callable[[int], Evaluator] | None = None,
) -> Method:
    """Train many for a short while, one in three again for three times as long (Jamieson and Talwalkar, AISTATS 2016).

    Rung i trains ``candidates / eta^i`` of them for ``shortest eta^i`` epochs. An epoch makes `parallel` evaluations: 13 of
    them are a whole race with the defaults; then the next begins.

    Args:
        candidates: of the first rung.
        shortest: epochs of training there.
        eta: of each rung one in eta goes on, for eta times as many epochs.
        learning_rate: as in `random_search`.
        weight_decay: as in `random_search`.
        momentum: as in `random_search`.
        clip: as in `random_search`.
        parallel: as in `random_search`; of one rung, so less where it ends.
        evaluator: what scores a candidate at a budget of so many epochs, instead of training it.

    Differs from the paper:
        1. One in `eta` goes on, three by default; in the paper one in two.
        2. A candidate that goes on is trained from the beginning, and not from where it stood.
    """
    brackets = (successive_halving_bracket(candidates, shortest, eta),)
    optimizer = SGD(Cosine(learning_rate), momentum, weight_decay, clip=clip)
    return _race("successive_halving", brackets, optimizer, evaluator, parallel)


def hyperband(
    *,
    longest: int = 9,
    eta: int = 3,
    learning_rate: float = 0.05,
    weight_decay: float = 5e-4,
    momentum: float = 0.9,
    clip: float = 5.0,
    parallel: int = 1,
    evaluator: Callable[[int], Evaluator] | None = None,
) -> Method:
    """Successive halving with every trade-off between many candidates and long training (Li et al., JMLR 2018).

    Bracket s of ``s_max = floor(log_eta(longest))`` to 0 is a `successive_halving` of ``ceil((s_max + 1) / (s + 1) eta^s)``
    candidates, trained at first for ``longest eta^-s`` epochs (Algorithm 1). An epoch makes `parallel` evaluations: 22 of them
    are all brackets with the defaults; then the first begins again.

    Args:
        longest: the most epochs that a candidate is trained.
        eta: as in `successive_halving`.
        learning_rate: as in `random_search`.
        weight_decay: as in `random_search`.
        momentum: as in `random_search`.
        clip: as in `random_search`.
        parallel: as in `random_search`; of one rung, so less where it ends.
        evaluator: as in `successive_halving`.

    Differs from the paper:
        1. A candidate that goes on is trained from the beginning, and not from where it stood.
        2. The result is the best of those that were trained longest, and not the best of all.
    """
    optimizer = SGD(Cosine(learning_rate), momentum, weight_decay, clip=clip)
    return _race("hyperband", hyperband_brackets(longest, eta), optimizer, evaluator, parallel)


def _race(
    name: str,
    brackets: tuple[Bracket, ...],
    optimizer: SGD,
    evaluator: Callable[[int], Evaluator] | None,
    parallel: int,
) -> Method:
    return Method(
        name=name,
        updates=(EvaluateRungs(evaluator or partial(TrainAndValidate, optimizer=optimizer), brackets, parallel),),
        sampler=Uniform(),
        selector=BestAtLargestBudget(),
        weights=None,
        steps=1,
    )
