"""A Gaussian process over architectures, and the architectures that it suggests to evaluate next."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nas_search.errors import ConfigError
from nas_spaces import Architecture

if TYPE_CHECKING:
    from botorch.models import SingleTaskGP

__all__ = ["encode", "fit", "suggest"]

# Enough for the few length scales; a fit that has not converged by then is no worse a guide.
_FIT_ITERATIONS = 75


def encode(architectures: Sequence[Architecture]) -> Tensor:
    """What each row takes as a code whose equality is all that counts, ``(architectures, rows)`` float64.

    Rows that take nothing have the code 0; rows that take several options a code for each combination.

    Example:
        >>> from nas_spaces import nas_bench_201
        >>> encode([nas_bench_201().architecture([0, 1, 2, 3, 4, 0])]).tolist()
        [[1.0, 2.0, 3.0, 4.0, 5.0, 1.0]]
    """
    codes = [[_code(taken) for taken in architecture.options] for architecture in architectures]
    return torch.tensor(codes, dtype=torch.float64)


def _code(taken: Sequence[int]) -> int:
    code = 0
    for option in sorted(taken):
        # More options in a row than this would make two combinations alike; the widest space has a few dozen.
        code = code * 1000 + option + 1
    return code


def fit(codes: Tensor, scores: Tensor) -> "SingleTaskGP":
    """A Gaussian process with the exponential Hamming kernel, one length scale a row, and noise of unknown size.

    ``k(a, b) = s exp(-mean_r [a_r != b_r] / l_r)``. The hyper-parameters maximise the marginal likelihood times
    botorch's priors.

    Args:
        codes: as `encode` makes them, ``(n, rows)``.
        scores: larger is better, ``(n,)``; they are standardised.

    Raises:
        ConfigError: less than two scores, or not as many as codes.
    """
    with _first_import():
        from botorch.exceptions.warnings import OptimizationWarning
        from botorch.models import SingleTaskGP
        from botorch.models.kernels import CategoricalKernel
        from botorch.optim.fit import fit_gpytorch_mll_scipy
        from gpytorch.kernels import ScaleKernel
        from gpytorch.mlls import ExactMarginalLogLikelihood

    if len(scores) < 2 or len(scores) != len(codes):
        raise ConfigError(f"{len(codes)} architectures and {len(scores)} scores; expected as many, and two or more.")
    values = scores.double()
    spread = values.std()
    values = (values - values.mean()) / (spread if spread > 0 else 1.0)
    kernel = ScaleKernel(CategoricalKernel(ard_num_dims=codes.shape[1]))
    model = SingleTaskGP(codes, values[:, None], covar_module=kernel, outcome_transform=None)
    likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizationWarning)  # stopped early; the best values so far are kept
        fit_gpytorch_mll_scipy(likelihood, options={"maxiter": _FIT_ITERATIONS})
    model.eval()
    return model


def suggest(
    observed: Sequence[tuple[Architecture, float]],
    candidates: Sequence[Architecture],
    *,
    count: int = 1,
    generator: torch.Generator,
) -> list[Architecture]:
    """The candidates of largest expected improvement, each taking into account those before it.

    The logarithm of the expected improvement over the best posterior mean of what was observed (qLogEI: Ament et al.,
    NeurIPS 2023), with a Monte Carlo sampler seeded by the generator.

    Args:
        observed: architectures with their scores, larger is better; one may stand there several times.
        candidates: what may be suggested.
        count: how many suggestions.
        generator: of the seed.

    Raises:
        ConfigError: less than two observations, or less candidates than suggestions.
    """
    with _first_import():
        from botorch.acquisition.logei import qLogExpectedImprovement
        from botorch.optim.optimize import optimize_acqf_discrete
        from botorch.sampling.normal import SobolQMCNormalSampler

    if not 1 <= count <= len(candidates):
        raise ConfigError(f"{count} suggestions from {len(candidates)} candidates; expected 1 to as many as there are.")
    codes = encode([architecture for architecture, _ in observed])
    model = fit(codes, torch.tensor([score for _, score in observed], dtype=torch.float64))
    seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        best = model.posterior(codes).mean.max().detach()
        acquisition = qLogExpectedImprovement(model, best, SobolQMCNormalSampler(torch.Size([128]), seed=seed))
        pool = encode(candidates)
        chosen, _ = optimize_acqf_discrete(acquisition, q=count, choices=pool)
    places = {tuple(row): place for place, row in reversed(list(enumerate(pool.tolist())))}
    return [candidates[places[tuple(row)]] for row in chosen.tolist()]


@contextmanager
def _first_import() -> Iterator[None]:
    """linear_operator, which botorch needs, still compiles with torch.jit when it is imported, deprecated in torch 2.15."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*torch\.jit\.", FutureWarning)
        yield
