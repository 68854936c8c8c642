"""Gaussian processes over architectures, and what they suggest to evaluate next."""

from nas_search.surrogate.kernels import ArchitectureKernel, BySpace, Hamming, Paths, WeisfeilerLehman
from nas_search.surrogate.pareto import pareto_front, suggest_pareto
from nas_search.surrogate.process import fit
from nas_search.surrogate.suggestion import suggest

__all__ = [
    "ArchitectureKernel",
    "BySpace",
    "Hamming",
    "Paths",
    "WeisfeilerLehman",
    "fit",
    "pareto_front",
    "suggest",
    "suggest_pareto",
]
