"""What one step of a search is made of: a weight step, a step of the outer variables, black-box evaluations. One file each."""

from nas_search.updates.candidates import EvaluateCandidate
from nas_search.updates.combined import After, OnFreshBatches, Until
from nas_search.updates.joint import JointStep
from nas_search.updates.outer import OuterStep
from nas_search.updates.posterior import PosteriorStep
from nas_search.updates.weights import WeightStep

__all__ = [
    "After",
    "EvaluateCandidate",
    "JointStep",
    "OnFreshBatches",
    "OuterStep",
    "PosteriorStep",
    "Until",
    "WeightStep",
]
