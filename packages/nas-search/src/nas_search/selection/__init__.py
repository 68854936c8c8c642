"""Selectors: the finished search to an architecture, and to a network that is trained already. One file each."""

from nas_search.selection.before_stop import BeforeStop
from nas_search.selection.best_evaluated import BestEvaluated
from nas_search.selection.best_sampled import BestSampled
from nas_search.selection.derive import Derive
from nas_search.selection.given import Given
from nas_search.selection.inherit import InheritWeights

__all__ = ["BeforeStop", "BestEvaluated", "BestSampled", "Derive", "Given", "InheritWeights"]
