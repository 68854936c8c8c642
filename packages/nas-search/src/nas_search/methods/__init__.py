"""The named methods: one file each, and each a short sentence over parts that stand alone.

Every setting of a function is what ``nascli search --set NAME=VALUE`` changes, but for `evaluator` and `limits`, which are
parts and no values. `nas_search.method.Method` has more than any of these uses: compose your own.
"""

from nas_search.methods.allegro import allegro
from nas_search.methods.amended_darts import amended_darts
from nas_search.methods.augment_only import augment_only
from nas_search.methods.balenas import balenas
from nas_search.methods.bayesian_optimization import bayesian_optimization
from nas_search.methods.daas import daas
from nas_search.methods.darts import darts
from nas_search.methods.dha import dha
from nas_search.methods.drnas import drnas
from nas_search.methods.e2nas import e2nas
from nas_search.methods.e2nas_r import e2nas_r
from nas_search.methods.en2as import en2as
from nas_search.methods.enas import enas
from nas_search.methods.gdas import gdas
from nas_search.methods.hyperband import hyperband, successive_halving
from nas_search.methods.idarts import idarts
from nas_search.methods.ista import ista
from nas_search.methods.local_search import local_search
from nas_search.methods.nsas import nsas
from nas_search.methods.pc_darts import pc_darts
from nas_search.methods.random_nas import random_nas
from nas_search.methods.random_search import random_search
from nas_search.methods.regularized_evolution import regularized_evolution
from nas_search.methods.sequential_dha import sequential_dha
from nas_search.methods.setn import setn
from nas_search.methods.snas import snas

__all__ = [
    "allegro",
    "amended_darts",
    "augment_only",
    "balenas",
    "bayesian_optimization",
    "daas",
    "darts",
    "dha",
    "drnas",
    "e2nas",
    "e2nas_r",
    "en2as",
    "enas",
    "gdas",
    "hyperband",
    "idarts",
    "ista",
    "local_search",
    "nsas",
    "pc_darts",
    "random_nas",
    "random_search",
    "regularized_evolution",
    "sequential_dha",
    "setn",
    "snas",
    "successive_halving",
]
