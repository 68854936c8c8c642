"""The latent relaxation of E2NAS: a point that a trained graph decoder turns into a path."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nas_search.autoencoder import GraphVAE, cell_graph
from nas_search.errors import ConfigError
from nas_search.relaxations.gumbel import check_temperature, standard_gumbel
from nas_search.roles import ChoiceWeights, Relaxation, Schedule
from nas_search.schedules import Constant

if TYPE_CHECKING:
    from nas_spaces import SearchSpace

__all__ = ["Latent"]


class Latent(Relaxation):
    """``weights = D(point)``: one path a step, drawn by the decoder, with its gradient in the point (thesis, Eq. 4.7).

    The only architecture parameter is `point`. The decoder draws the types of the operations by Gumbel noise; weights
    are one-hot, and have the gradient of the softmax all through the decoder; see `GraphVAE.draw`.

    Args:
        space: what the autoencoder was trained for.
        autoencoder: trained; its parameters do not learn any more.
        temperature: of the softmax over the run; draws do not depend on it.
        scale: standard deviation of the initial point; 1e-3 in the released code.
        shortcut: take the gradient that the released code takes, which does not pass through the decoder: that of
            ``softmax(point)`` over all coordinates, read as choice weights. For a point of as many coordinates as there
            are choice weights.

    Raises:
        ConfigError: the autoencoder is of another space, or the shortcut does not fit.
    """

    independent = False  # the types of nodes are passed on from one to the next

    def __init__(
        self,
        space: "SearchSpace",
        autoencoder: GraphVAE,
        temperature: Schedule = Constant(1.0),
        scale: float = 1e-3,
        shortcut: bool = False,
    ) -> None:
        super().__init__()
        check_temperature(temperature)
        self.choices = space.choices.shape
        if autoencoder.choices == self.choices and autoencoder.graph != cell_graph(space):
            raise ConfigError(
                f"the autoencoder decodes to cells of other operations or edges than those of space {space.name!r}: train one for "
                "this space."
            )
        if autoencoder.choices != self.choices:
            raise ConfigError(
                f"the autoencoder decodes to choice weights {autoencoder.choices}; those of space {space.name!r} are "
                f"{self.choices}: train one for this space."
            )
        if shortcut and autoencoder.size != self.choices[0] * self.choices[1]:
            raise ConfigError(
                f"the shortcut reads a point as the {self.choices[0]} x {self.choices[1]} choice weights of space "
                f"{space.name!r}; its {autoencoder.size} coordinates are no {self.choices[0] * self.choices[1]}."
            )
        self.autoencoder = autoencoder.requires_grad_(False)
        self.temperature, self.shortcut = temperature, shortcut
        self.point = nn.Parameter(scale * torch.randn(autoencoder.size))

    def noise(self, generator: torch.Generator) -> Tensor:
        """Standard Gumbel noise of every type of every edge, ``(cells, edges, types)``."""
        return self.gumbel(1, generator)[0]

    def gumbel(self, count: int, generator: torch.Generator) -> Tensor:
        """Noise for as many draws, ``(count, cells, edges, types)``."""
        graph = self.autoencoder.graph
        like = self.point.new_empty(count, len(graph.cells), len(graph.edges), len(graph.types))
        return standard_gumbel(like, generator)

    def forward(self, noise: Tensor | None, progress: float) -> ChoiceWeights:
        """See `Relaxation.forward`; without noise the most probable types are taken."""
        choice = self.autoencoder.decode(self.point, noise, self.temperature(progress))
        if not self.shortcut:
            return choice
        soft = self.point.softmax(dim=0).view(self.choices)
        return ChoiceWeights(choice.weights.detach() + (soft - soft.detach()), choice.drawn)

    @torch.no_grad()
    def probabilities(self) -> Tensor:
        """The decoder's probabilities, the most probable types being passed on from node to node."""
        soft = self.autoencoder.derived(self.point[None])
        return self.autoencoder.graph.weights(soft, self.choices)[0]
