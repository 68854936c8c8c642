"""Correct, fast hypergradients for any bilevel problem in PyTorch.

Read `problem` first: two losses over dictionaries of tensors are all that an estimator asks for.
"""

from nas_hypergrad.errors import HypergradError, ProblemError
from nas_hypergrad.first_order import FirstOrder
from nas_hypergrad.problem import BilevelProblem, Hypergradient, Loss, Variables

__all__ = ["BilevelProblem", "FirstOrder", "HypergradError", "Hypergradient", "Loss", "ProblemError", "Variables"]
