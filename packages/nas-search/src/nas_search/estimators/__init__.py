"""Hypergradients whose settings are those of the search at the step: factories of nas-hypergrad's estimators."""

from nas_search.estimators.neumann_series import NeumannSeries
from nas_search.estimators.one_step import OneStep

__all__ = ["NeumannSeries", "OneStep"]
