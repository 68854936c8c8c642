"""Bayesian optimisation."""

import math
from dataclasses import replace

from nas_search.diagnostics import CandidateCost
from nas_search.errors import ConfigError, did_you_mean
from nas_search.evaluation import NetworkCost, TrainAndValidate
from nas_search.method import Method
from nas_search.methods.random_search import black_box
from nas_search.optimizers import SGD
from nas_search.roles import Evaluator
from nas_search.samplers import Bayesian
from nas_search.schedules import Cosine
from nas_search.selection import BestEvaluated
from nas_search.surrogate import ArchitectureKernel, BySpace, Hamming, Paths, WeisfeilerLehman

__all__ = ["bayesian_optimization"]

_KERNELS: dict[str, ArchitectureKernel] = {
    "auto": BySpace(),
    "hamming": Hamming(),
    "weisfeiler_lehman": WeisfeilerLehman(),
    "paths": Paths(),
}
_COSTS = ("none", "parameters", "multiply_adds")


def bayesian_optimization(
    *,
    initial: int = 10,
    pool: int = 1000,
    kernel: str = "auto",
    cost: str = "none",
    cost_limit: float = math.inf,
    candidate_epochs: int = 3,
    learning_rate: float = 0.05,
    weight_decay: float = 5e-4,
    momentum: float = 0.9,
    clip: float = 5.0,
    parallel: int = 1,
    evaluator: Evaluator | None = None,
) -> Method:
    """Bayesian optimisation: a Gaussian process over architectures, log expected improvement.

    An epoch scores `parallel` candidates a: those of which together the largest improvement ``log E[max(0, f(a) - best)]`` is
    expected (Ament et al., NeurIPS 2023; see `nas_search.surrogate.suggest`), f being the process of the scores so far, as
    BoTorch has it (Balandat et al., NeurIPS 2020).

    With a cost it looks for the front of accuracy against cost (see `nas_search.surrogate.suggest_pareto`), which the report
    shows, and ends with the most accurate architecture within the limit.

    Args:
        initial: random architectures that are evaluated first.
        pool: how many candidates the acquisition function chooses from.
        kernel: how alike two architectures are: ``weisfeiler_lehman``, ``hamming`` or ``paths``; ``auto`` is ``hamming`` in
            chains such as ``mobile``, and else ``weisfeiler_lehman``.
        cost: ``none``, ``parameters`` or ``multiply_adds`` of the network that is searched. With one a suggestion takes
            longer, in proportion to `pool`.
        cost_limit: what the result may cost at most, in parameters or multiply-adds as `cost` says; inf for no limit.
        candidate_epochs: as in `random_search`.
        learning_rate: as in `random_search`.
        weight_decay: as in `random_search`.
        momentum: as in `random_search`.
        clip: as in `random_search`.
        parallel: as in `random_search`.
        evaluator: as in `random_search`.

    Differs from the papers:
        1. Architectures are no vectors: the kernel is one over architectures, and the maximum is looked for among `pool`
           candidates, not by gradients.
        2. The improvement is over the best posterior mean of what was scored, since scores are noisy.
        3. It is an improvement of the ranks among the scores so far (see `nas_search.surrogate.process.standardized`).
    """
    if kernel not in _KERNELS:
        raise ConfigError(
            f"kernel of bayesian_optimization is {kernel!r}; expected {', '.join(_KERNELS)}; {did_you_mean(kernel, _KERNELS)}"
        )
    if cost not in _COSTS:
        raise ConfigError(
            f"cost of bayesian_optimization is {cost!r}; expected {', '.join(_COSTS)}; {did_you_mean(cost, _COSTS)}"
        )
    if cost == "none" and cost_limit < math.inf:
        raise ConfigError(
            f"cost_limit is {cost_limit:g}, but there is no cost; give it one, such as cost='parameters'."
        )
    if not cost_limit > 0:
        raise ConfigError(f"cost_limit is {cost_limit:g}; expected a positive number, or inf for none.")
    optimizer = SGD(Cosine(learning_rate), momentum, weight_decay, clip=clip)
    evaluator = evaluator or TrainAndValidate(candidate_epochs, optimizer)
    if cost == "none":
        return black_box("bayesian_optimization", Bayesian(initial, pool, _KERNELS[kernel]), evaluator, parallel)
    measure = NetworkCost(cost)  # type: ignore[arg-type]
    sampler = Bayesian(initial, pool, _KERNELS[kernel], measure)
    method = black_box("bayesian_optimization", sampler, evaluator, parallel)
    return replace(
        method, selector=BestEvaluated(measure, cost_limit), observers=(CandidateCost(measure, cost, parallel),)
    )
