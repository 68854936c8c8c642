"""Accuracy against cost: the front, and what is expected to move it most."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from nas_search.surrogate.kernels import ArchitectureKernel, BySpace, botorch_import
from nas_search.surrogate.process import fit, standardized
from nas_search.surrogate.suggestion import check_count, embed
from nas_spaces import Architecture, SearchSpace

__all__ = ["pareto_front", "suggest_pareto"]

T = TypeVar("T")

# What is on the front in none of so many draws is left out of the baseline.
_PRUNING_DRAWS = 256


def pareto_front(scored: Sequence[tuple[T, float, float]]) -> list[tuple[T, float, float]]:
    """What nothing else beats in both: entries ``(what, score, cost)``, by rising cost; of equals the first.

    Args:
        scored: larger scores and smaller costs are better.

    Example:
        >>> pareto_front([("a", 0.9, 5.0), ("b", 0.8, 5.0), ("c", 0.7, 2.0), ("d", 0.6, 3.0)])
        [('c', 0.7, 2.0), ('a', 0.9, 5.0)]
    """
    front: list[tuple[T, float, float]] = []
    for entry in sorted(scored, key=lambda each: (each[2], -each[1])):
        if not front or entry[1] > front[-1][1]:
            front.append(entry)
    return front


def suggest_pareto(
    space: SearchSpace,
    observed: Sequence[tuple[Architecture, float, float]],
    candidates: Sequence[tuple[Architecture, float]],
    *,
    count: int = 1,
    kernel: ArchitectureKernel = BySpace(),
    generator: torch.Generator,
) -> list[Architecture]:
    """The candidates of largest expected growth of the hypervolume under the front, each after those before it.

    The logarithm of the noisy expected hypervolume improvement (qLogNEHVI: Daulton, Balandat and Bakshy, NeurIPS 2021, and
    Ament et al., NeurIPS 2023). The score is a Gaussian process; the cost is known of every candidate before it is
    evaluated, so nothing is estimated of it. The reference point is the worst score and the largest cost observed.

    Args:
        space: see `suggest`.
        observed: architectures with score and cost; larger scores and smaller costs are better.
        candidates: what may be suggested, with its cost.
        count: how many suggestions.
        kernel: how alike two architectures are.
        generator: of the seed.

    Raises:
        ConfigError: less than two observations, or less candidates than suggestions.
    """
    with botorch_import():
        from botorch.acquisition.multi_objective import logei
        from botorch.acquisition.multi_objective.utils import prune_inferior_points_multi_objective
        from botorch.models import ModelList
        from botorch.models.deterministic import GenericDeterministicModel
        from botorch.optim.optimize import optimize_acqf_discrete
        from botorch.sampling.index_sampler import IndexSampler
        from botorch.sampling.list_sampler import ListSampler
        from botorch.sampling.normal import SobolQMCNormalSampler

        from nas_search.surrogate.joint_posterior import JointPosterior

    if hasattr(logei, "_load_attempted"):
        # Else botorch compiles a C++ kernel at first use: half a minute without a word, to save a fraction of a second
        # here, and another rounding where there is no compiler.
        logei._load_attempted = True
    architectures = [candidate for candidate, _ in candidates]
    check_count(count, architectures)
    embedded, covariance, settings = embed(space, [*(each for each, _, _ in observed), *architectures], kernel)
    scores = torch.tensor([score for _, score, _ in observed], dtype=torch.float64)
    gains = _gains([cost for _, _, cost in observed], [cost for _, cost in candidates])

    process = fit(embedded[: len(observed)], scores, covariance, settings=settings)
    # A point is its number, which the first model reads, and its gain, which is the second model's answer.
    points = torch.stack([torch.arange(len(gains), dtype=torch.float64), gains], dim=1)
    known, pool = points[: len(observed)], points[len(observed) :]
    model = ModelList(
        JointPosterior(process, embedded, column=0), GenericDeterministicModel(lambda inputs: inputs[..., -1:])
    )
    seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    draws = torch.Size([64])
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        reference = torch.stack([standardized(scores).min(), gains[: len(observed)].min()])
        acquisition = logei.qLogNoisyExpectedHypervolumeImprovement(
            model,
            ref_point=reference,
            X_baseline=prune_inferior_points_multi_objective(model, known, reference, num_samples=_PRUNING_DRAWS),
            cache_root=False,  # of a look-up there is nothing to gain
            sampler=ListSampler(SobolQMCNormalSampler(draws, seed=seed), IndexSampler(draws)),
        )
        chosen, _ = optimize_acqf_discrete(acquisition, q=count, choices=pool)
    return [architectures[int(number) - len(observed)] for number in chosen[:, 0]]


def _gains(observed: Sequence[float], candidates: Sequence[float]) -> Tensor:
    """Minus the costs, standardised by those observed: larger is better."""
    costs = torch.tensor([*observed, *candidates], dtype=torch.float64)
    seen = costs[: len(observed)]
    spread = seen.std()
    return -(costs - seen.mean()) / (spread if spread > 0 else 1.0)
