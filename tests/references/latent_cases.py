"""Small spaces and autoencoders that the tests of the latent search share."""

import torch

from nas_search.autoencoder import GraphVAE
from nas_spaces import SearchSpace
from nas_spaces.cell_space import CellSpace
from nas_spaces.cells import CellShape
from nas_spaces.darts import make_operation

OPERATIONS = ("none", "skip_connect", "max_pool_3x3")


def tiny_cells(operations: tuple[str, ...] = OPERATIONS) -> CellSpace:
    """Two cells of two nodes: 2,304 architectures."""
    return CellSpace("tiny", CellShape(operations, ((0, 1), (0, 1, 2))), make_operation)


def untrained(space: SearchSpace, latent: int = 4, hidden: int = 12, scale: float = 1.0) -> GraphVAE:
    """An autoencoder at random weights; in float64, and with logits that are far apart for a large scale."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        autoencoder = GraphVAE(space, latent, hidden).double().requires_grad_(False)
    autoencoder.logits.weight *= scale
    return autoencoder
