"""Samplers: the choice weights that a weight step trains, or that are evaluated next. One file each."""

from nas_search.paths import architecture_of
from nas_search.samplers.archived import Archived
from nas_search.samplers.bayesian import Bayesian
from nas_search.samplers.derived import Categorical, DrawnArchitecture
from nas_search.samplers.evolution import Evolution
from nas_search.samplers.fixed import Fixed, Settled
from nas_search.samplers.local import Local
from nas_search.samplers.novelty import Novelty
from nas_search.samplers.relaxed import Relaxed
from nas_search.samplers.uniform import Uniform

__all__ = [
    "Archived",
    "Bayesian",
    "Categorical",
    "DrawnArchitecture",
    "Evolution",
    "Fixed",
    "Local",
    "Novelty",
    "Relaxed",
    "Settled",
    "Uniform",
    "architecture_of",
]
