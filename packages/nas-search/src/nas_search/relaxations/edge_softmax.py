"""The softmax of DARTS with normalised edges, of PC-DARTS."""

import torch
from torch import Tensor, nn

from nas_search.errors import ConfigError
from nas_search.relaxations.softmax import masked_logits
from nas_search.roles import ChoiceWeights, Relaxation
from nas_spaces import Choices

__all__ = ["EdgeSoftmax"]


class EdgeSoftmax(Relaxation):
    """``weights[edge] = softmax(edges of the node)[edge] * softmax(logits[edge])`` (Xu et al., "PC-DARTS", Eq. 3).

    The edges that enter one node compete by a softmax over logits of their own. A row that is no edge into a node has a
    softmax of its options alone.

    Args:
        choices: the decisions of a space of cells.
        scale: standard deviation of the initial logits of options and of edges.

    Raises:
        ConfigError: the space has no nodes.
    """

    def __init__(self, choices: Choices, scale: float = 1e-3) -> None:
        super().__init__()
        if not choices.nodes:
            raise ConfigError(
                "edges are normalised among those that enter a node, and this space has no nodes; use a space of cells, such "
                "as darts or nas_bench_201."
            )
        self.nodes = [torch.tensor(rows) for rows in choices.nodes]
        self.mask: Tensor
        self.register_buffer("mask", choices.mask, persistent=False)
        self.logits = nn.Parameter(scale * torch.randn(choices.shape))
        self.edges = nn.Parameter(scale * torch.randn(len(choices)))

    def noise(self, generator: torch.Generator) -> None:
        """Nothing is random."""
        return

    def forward(self, noise: Tensor | None, progress: float) -> ChoiceWeights:
        """See `Relaxation.forward`."""
        factors = torch.ones_like(self.edges)
        for rows in self.nodes:
            factors = factors.index_put((rows,), self.edges[rows].softmax(dim=0))
        return ChoiceWeights(factors[:, None] * masked_logits(self.logits, self.mask).softmax(dim=1))

    @torch.no_grad()
    def probabilities(self) -> Tensor:
        """The same weights, without gradient: a row sums to the weight of its edge."""
        return self.forward(None, 0.0).weights
