"""Relaxations: architecture parameters to choice weights. One file each."""

from nas_search.relaxations.autoregressive import Autoregressive
from nas_search.relaxations.concrete import Concrete
from nas_search.relaxations.dirichlet import Dirichlet
from nas_search.relaxations.edge_softmax import EdgeSoftmax
from nas_search.relaxations.gated_softmax import GatedSoftmax
from nas_search.relaxations.gumbel import HardGumbel
from nas_search.relaxations.latent import Latent
from nas_search.relaxations.softmax import Softmax
from nas_search.relaxations.sparse_code import SparseCode

__all__ = [
    "Autoregressive",
    "Concrete",
    "Dirichlet",
    "EdgeSoftmax",
    "GatedSoftmax",
    "HardGumbel",
    "Latent",
    "Softmax",
    "SparseCode",
]
