"""Hyper-parameters of training that are learned while the weights are: learning rate, weight decay and momentum.

A method that names a `LearnedHyperparameters` learns them after every weight step, whatever else it does::

    replace(methods.darts(), hyperparameters=LearnedHyperparameters())
"""

from nas_search.hyperparameters.gradient import hypergradient
from nas_search.hyperparameters.learned import LearnedHyperparameters, with_learned
from nas_search.hyperparameters.values import Hyperparameters, Range, StepTaken

__all__ = ["Hyperparameters", "LearnedHyperparameters", "Range", "StepTaken", "hypergradient", "with_learned"]
