"""The softmax of DARTS with a gate on every edge that makes a cell deeper."""

import torch
from torch import Tensor, nn

from nas_search.errors import ConfigError
from nas_search.gates import HardConcrete
from nas_search.relaxations.softmax import masked_logits
from nas_search.roles import ChoiceWeights, Relaxation
from nas_spaces import Choices

__all__ = ["GatedSoftmax"]


class GatedSoftmax(Relaxation):
    """Softmax, where ``none`` on the edge from the node before becomes a gate of its own (BaLeNAS, thesis 5.3.4, Fig. 5.1).

    On these edges ``weights = gate * softmax(logits)`` over the operations other than ``none``, which has the rest,
    ``1 - gate``; on the others the weights are the softmax of DARTS.

    Args:
        choices: the decisions of a space of cells with the operation ``none``.
        scale: standard deviation of the initial logits and gates.
        distribution: of the gates.

    Differs from the paper:
        1. It does not say how the gate enters the mixture, nor the interval and the temperature of the gates.

    Raises:
        ConfigError: the space has no nodes, or their last edge has no ``none``.
    """

    def __init__(self, choices: Choices, scale: float = 1e-3, distribution: HardConcrete = HardConcrete()) -> None:
        super().__init__()
        # Of the edges that enter a node, the last one comes from the node just before.
        rows = [node[-1] for node in choices.nodes]
        if not rows or any("none" not in choices.options[row] for row in rows):
            raise ConfigError(
                "depth gates stand on edges between nodes that may carry 'none', and this space has none of these; use "
                "one such as darts, or leave the gates out."
            )
        self.distribution = distribution
        self.rows = rows
        self.none = [choices.options[row].index("none") for row in rows]
        self.mask: Tensor
        mask = choices.mask
        mask[rows, self.none] = False
        self.register_buffer("mask", mask, persistent=False)
        self.logits = nn.Parameter(scale * torch.randn(choices.shape))
        self.gates = nn.Parameter(scale * torch.randn(len(rows)))

    def noise(self, generator: torch.Generator) -> Tensor:
        """Logistic noise of the gates, ``(gates,)``."""
        return self.distribution.noise(self.gates, generator)

    def forward(self, noise: Tensor | None, progress: float) -> ChoiceWeights:
        """See `Relaxation.forward`; without noise the gates of a trained network."""
        return ChoiceWeights(self._mix(self.logits, self.distribution.gate(self.gates, noise)))

    def probabilities(self) -> Tensor:
        """The weights without noise and without gradient."""
        return self._mix(self.logits.detach(), self.distribution.gate(self.gates.detach(), None))

    def _mix(self, logits: Tensor, gates: Tensor) -> Tensor:
        weights = masked_logits(logits, self.mask).softmax(dim=1)
        factors = torch.ones_like(weights[:, 0]).index_put((torch.tensor(self.rows),), gates)
        weights = weights * factors[:, None]
        return weights.index_put((torch.tensor(self.rows), torch.tensor(self.none)), 1 - gates)
