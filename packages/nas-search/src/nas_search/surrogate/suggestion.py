"""What a Gaussian process expects the largest improvement of."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nas_search.errors import ConfigError
from nas_search.mixed_space import MixedSpace
from nas_search.surrogate.kernels import ArchitectureKernel, BySpace, botorch_import
from nas_search.surrogate.process import fit
from nas_spaces import Architecture, SearchSpace

if TYPE_CHECKING:
    from gpytorch.kernels import Kernel

__all__ = ["check_count", "embed", "rows_of", "suggest"]


def suggest(
    space: SearchSpace,
    observed: Sequence[tuple[Architecture, float]],
    candidates: Sequence[Architecture],
    *,
    count: int = 1,
    kernel: ArchitectureKernel = BySpace(),
    generator: torch.Generator,
) -> list[Architecture]:
    """The candidates of largest expected improvement, each taking into account those before it.

    The logarithm of the expected improvement over the best posterior mean of what was observed (qLogEI: Ament et al.,
    NeurIPS 2023), with a Monte Carlo sampler seeded by the generator. The scores may be noisy. Of several, each is the best
    completion of those before it, by the improvement expected of all of them jointly (Wilson, Hutter and Deisenroth,
    "Maximizing acquisition functions for Bayesian optimization", NeurIPS 2018, section 3.2): no score is made up for what is
    not evaluated yet, as a constant liar does.

    Args:
        space: of the architectures; a `MixedSpace` where training settings are searched too.
        observed: architectures with their scores, larger is better; one may stand there several times.
        candidates: what may be suggested.
        count: how many suggestions: a batch to be evaluated at once.
        kernel: how alike two architectures are.
        generator: of the seed.

    Raises:
        ConfigError: less than two observations, or less candidates than suggestions.
    """
    with botorch_import():
        from botorch.acquisition.logei import qLogExpectedImprovement
        from botorch.optim.optimize import optimize_acqf_discrete
        from botorch.sampling.normal import SobolQMCNormalSampler

    check_count(count, candidates)
    inputs, covariance, settings = embed(space, [*(each for each, _ in observed), *candidates], kernel)
    known, pool = inputs[: len(observed)], inputs[len(observed) :]
    scores = torch.tensor([score for _, score in observed], dtype=torch.float64)
    model = fit(known, scores, covariance, settings=settings)
    seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        best = model.posterior(known).mean.max().detach()
        acquisition = qLogExpectedImprovement(model, best, SobolQMCNormalSampler(torch.Size([128]), seed=seed))
        chosen, _ = optimize_acqf_discrete(acquisition, q=count, choices=pool)
    return [candidates[place] for place in rows_of(pool, chosen)]


def embed(
    space: SearchSpace, architectures: Sequence[Architecture], kernel: ArchitectureKernel
) -> tuple[Tensor, Callable[[Sequence[int]], "Kernel"], int]:
    """Inputs of a process, the kernel of the architectures, and how many last columns are training settings in [0, 1]."""
    if not isinstance(space, MixedSpace):
        return *kernel.embed(space, architectures), 0
    embedding = kernel.embed(space.base, [space.split(each)[0] for each in architectures])
    positions = torch.tensor([space.positions(each) for each in architectures], dtype=torch.float64)
    return torch.cat([embedding.inputs, positions], dim=1), embedding.covariance, len(space.settings)


def check_count(count: int, candidates: Sequence[Architecture]) -> None:
    """Refuse more suggestions than there are candidates.

    Raises:
        ConfigError: there are.
    """
    if not 1 <= count <= len(candidates):
        raise ConfigError(f"{count} suggestions from {len(candidates)} candidates; expected 1 to as many as there are.")


def rows_of(pool: Tensor, chosen: Tensor) -> list[int]:
    """Where in `pool` the rows of `chosen` stand, each taken once: two architectures may have the same inputs."""
    places: dict[tuple[float, ...], list[int]] = {}
    for place, row in enumerate(pool.tolist()):
        places.setdefault(tuple(row), []).append(place)
    return [places[tuple(row)].pop(0) for row in chosen.tolist()]
