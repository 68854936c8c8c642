"""The variational graph autoencoder: architectures as points of a continuous space, and back. Usable alone.

`GraphVAE` encodes and decodes, `CellGraph` is the graph that it reads, `nas_search.pretraining` trains and keeps one.
"""

from nas_search.autoencoder.cell_graph import CellGraph, cell_graph
from nas_search.autoencoder.graph_vae import GraphVAE, kl_divergence
from nas_search.autoencoder.message_passing import MessagePassing

__all__ = ["CellGraph", "GraphVAE", "MessagePassing", "cell_graph", "kl_divergence"]
