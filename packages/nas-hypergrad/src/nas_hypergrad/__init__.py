"""Correct, fast hypergradients for any bilevel problem in PyTorch.

Read `problem` first: two losses over dictionaries of tensors are all that an estimator asks for. Then `implicit` and
`unrolled`, the two families of estimators; `inverse_hessian`, `inner_step` and `products` hold their parts.
"""

from nas_hypergrad.chebyshev import chebyshev
from nas_hypergrad.errors import (
    ConformanceError,
    ConvergenceWarning,
    HypergradError,
    NonFiniteError,
    ProblemError,
    SettingError,
)
from nas_hypergrad.finite_difference import finite_difference
from nas_hypergrad.first_order import FirstOrder
from nas_hypergrad.forward_mode import ForwardMode
from nas_hypergrad.gauss_newton import gauss_newton
from nas_hypergrad.implicit import Implicit, ImplicitReport, largest_eigenvalue
from nas_hypergrad.inner_step import InnerStep, adam, adamw, sgd
from nas_hypergrad.inverse_hessian import InverseHessian, amended, conjugate_gradient, identity, neumann
from nas_hypergrad.nystrom import nystrom
from nas_hypergrad.optimizers import adam_diagonal, optimizer_step
from nas_hypergrad.preconditioned import preconditioned
from nas_hypergrad.problem import BilevelProblem, Hypergradient, Loss, Variables, blend
from nas_hypergrad.products import Curvature, Products, double_backward
from nas_hypergrad.ranks import average_across_ranks
from nas_hypergrad.score_function import leave_one_out, score_function, unit_factor
from nas_hypergrad.unrolled import Unrolled
from nas_hypergrad.variables import call_module, fill_grad, list_variables, module_variables

__all__ = [
    "BilevelProblem",
    "ConformanceError",
    "ConvergenceWarning",
    "Curvature",
    "FirstOrder",
    "ForwardMode",
    "HypergradError",
    "Hypergradient",
    "Implicit",
    "ImplicitReport",
    "InnerStep",
    "InverseHessian",
    "Loss",
    "NonFiniteError",
    "ProblemError",
    "Products",
    "SettingError",
    "Unrolled",
    "Variables",
    "adam",
    "adam_diagonal",
    "adamw",
    "amended",
    "average_across_ranks",
    "blend",
    "call_module",
    "chebyshev",
    "conjugate_gradient",
    "double_backward",
    "fill_grad",
    "finite_difference",
    "gauss_newton",
    "identity",
    "largest_eigenvalue",
    "leave_one_out",
    "list_variables",
    "module_variables",
    "neumann",
    "nystrom",
    "optimizer_step",
    "preconditioned",
    "score_function",
    "sgd",
    "unit_factor",
]
