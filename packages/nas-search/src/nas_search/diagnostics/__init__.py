"""Diagnostics of a search, as observers: what they find stands in the record of each epoch. One file each."""

from nas_search.diagnostics.candidate_cost import CandidateCost
from nas_search.diagnostics.depth import CellDepth, depth
from nas_search.diagnostics.hessian import HessianSpectrum
from nas_search.diagnostics.skips import SkipConnections
from nas_search.diagnostics.spectrum import hutchinson, lanczos
from nas_search.diagnostics.weights import OperationWeights

__all__ = [
    "CandidateCost",
    "CellDepth",
    "HessianSpectrum",
    "OperationWeights",
    "SkipConnections",
    "depth",
    "hutchinson",
    "lanczos",
]
