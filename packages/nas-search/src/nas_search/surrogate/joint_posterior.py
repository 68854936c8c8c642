"""A posterior over a finite set of points, computed once. Imported only where a process is fitted: gpytorch is slow to load."""

from typing import Any

import torch
from botorch.models.model import Model
from botorch.posteriors.gpytorch import GPyTorchPosterior
from gpytorch.distributions import MultivariateNormal
from linear_operator import to_linear_operator  # type: ignore[import-untyped]
from torch import Tensor

__all__ = ["JointPosterior"]


class JointPosterior(Model):
    """The posterior of a process at points of a finite set, by their numbers: a marginal of the joint one.

    An acquisition function with a baseline asks for the posterior at the baseline and one candidate, for every candidate: the
    covariances among the baseline, and with the observations, would be computed as many times. Here all of them are computed
    once, and a question is a look-up.

    Args:
        process: with one output.
        points: the set, ``(n, columns)``; the covariance takes ``n^2`` numbers.
        column: which column of an input holds the number of the point.
    """

    def __init__(self, process: Model, points: Tensor, column: int) -> None:
        super().__init__()
        with torch.no_grad():
            joint = process.posterior(points)
        assert isinstance(joint, GPyTorchPosterior)
        self.mean, self.covariance = joint.distribution.mean, joint.distribution.covariance_matrix
        self.column = column

    @property
    def num_outputs(self) -> int:
        """One."""
        return 1

    @property
    def batch_shape(self) -> torch.Size:
        """None."""
        return torch.Size()

    def posterior(self, X: Tensor, *_: Any, **__: Any) -> GPyTorchPosterior:
        """The posterior at points ``(..., q, columns)``."""
        places = X[..., self.column].long()
        # An operator: its factorisation adds jitter where points are nearly the same, which that of a tensor refuses.
        covariance = to_linear_operator(self.covariance[places[..., :, None], places[..., None, :]])
        return GPyTorchPosterior(MultivariateNormal(self.mean[places], covariance))
