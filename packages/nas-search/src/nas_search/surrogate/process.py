"""A Gaussian process over architectures."""

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nas_search.errors import ConfigError
from nas_search.surrogate.kernels import botorch_import

if TYPE_CHECKING:
    from botorch.models import SingleTaskGP
    from gpytorch.kernels import Kernel

__all__ = ["fit", "standardized"]

# Enough for the few length scales; a fit that has not converged by then is no worse a guide.
_FIT_ITERATIONS = 75


def standardized(scores: Tensor) -> Tensor:
    """The normal scores of the ranks, ``Phi^-1((rank - 1/2) / n)``, of standard deviation 1; equal scores have their mean rank.

    A few networks that learned nothing have most of the variance of accuracies. A process of these has room for them, and
    takes the differences among the good ones, which are what a search is about, for noise. Of ranks a process is one of a
    Gaussian copula (Salinas, Shen and Perrone, "A quantile-based approach for hyperparameter transfer learning", ICML 2020).

    Args:
        scores: ``(n,)``.

    Raises:
        ConfigError: one is NaN.

    Example:
        >>> [round(value, 2) for value in standardized(torch.tensor([10.0, 94.0, 93.0])).tolist()]
        [-1.0, 1.0, 0.0]
    """
    if scores.isnan().any():
        raise ConfigError(
            f"{int(scores.isnan().sum())} of {len(scores)} scores are NaN; expected numbers, such as 0 for what failed."
        )
    _, places, counts = torch.unique(scores.double(), return_inverse=True, return_counts=True)
    ranks = counts.cumsum(0) - counts / 2
    normal = torch.special.ndtri(ranks.double() / len(scores))[places]
    spread = normal.std()
    return (normal - normal.mean()) / (spread if spread > 0 else 1.0)


def fit(
    inputs: Tensor,
    scores: Tensor,
    covariance: Callable[[Sequence[int]], "Kernel"],
    *,
    settings: int = 0,
) -> "SingleTaskGP":
    """A Gaussian process of the `standardized` scores, with a scaled kernel and noise of unknown size.

    The hyper-parameters maximise the marginal likelihood times botorch's priors. With training settings in the last
    columns the covariance is ``s_1 (k(a, a') + m(t, t')) + s_2 k(a, a') m(t, t')``, where m is a Matérn-5/2 kernel with a
    length scale for each setting: the form of botorch's mixed process.

    Args:
        inputs: ``(n, columns)`` float64, as a kernel embeds them; then the settings in [0, 1].
        scores: larger is better, ``(n,)``.
        covariance: makes the kernel of the architectures (see `nas_search.surrogate.kernels.Embedding`).
        settings: how many of the columns are settings.

    Raises:
        ConfigError: less than two scores, not as many as inputs, or one that is NaN.
    """
    with botorch_import():
        from botorch.exceptions.warnings import OptimizationWarning
        from botorch.models import SingleTaskGP
        from botorch.optim.fit import fit_gpytorch_mll_scipy
        from gpytorch.mlls import ExactMarginalLogLikelihood

    if len(scores) < 2 or len(scores) != len(inputs):
        raise ConfigError(f"{len(inputs)} architectures and {len(scores)} scores; expected as many, and two or more.")
    whole = _sum_and_product(covariance, inputs.shape[1], settings)
    model = SingleTaskGP(inputs, standardized(scores)[:, None], covar_module=whole, outcome_transform=None)
    likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizationWarning)  # stopped early; the best values so far are kept
        fit_gpytorch_mll_scipy(likelihood, options={"maxiter": _FIT_ITERATIONS})
    model.eval()
    return model


def _sum_and_product(make: Callable[[Sequence[int]], "Kernel"], columns: int, settings: int) -> "Kernel":
    with botorch_import():
        from gpytorch.kernels import MaternKernel, ScaleKernel

    architecture = range(columns - settings)
    if not settings:
        return ScaleKernel(make(architecture))
    training = tuple(range(columns - settings, columns))

    def smooth() -> "Kernel":
        return MaternKernel(nu=2.5, ard_num_dims=settings, active_dims=training)

    total = ScaleKernel(make(architecture) + smooth())
    return total + ScaleKernel(make(architecture) * smooth())
