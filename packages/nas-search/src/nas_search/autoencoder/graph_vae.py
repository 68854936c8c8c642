"""The variational graph autoencoder of a space."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacfwd, vmap
from torch.nn import functional as F

from nas_hypergrad.forward_mode import load_forward_mode
from nas_search.autoencoder.cell_graph import cell_graph
from nas_search.autoencoder.message_passing import GatedSum, MessagePassing
from nas_search.roles import ChoiceWeights
from nas_search.run_state import check_positive
from nas_spaces import Architecture, SearchSpace

__all__ = ["GraphVAE", "kl_divergence"]


class GraphVAE(nn.Module):
    """Architectures to points, and points to architectures (D-VAE; thesis, 4.3.1.1).

    The cells of an architecture are encoded each for itself by the same weights: a point has `latent` coordinates a
    cell. The encoder is message passing over the cell (Eq. 4.6) and an injective readout, once more a gated sum over
    all vertices. The decoder is message passing over a cell whose types it predicts itself, node by node, from the
    state before; the inputs start from an affine map of the point. Architecture and point live on the host.

    Args:
        space: NAS-Bench-201 or a space of cells such as DARTS; see `cell_graph`.
        latent: coordinates of a cell; 0 for two thirds of the dimension in which its types vary (see
            `CellGraph.freedom`), at most 32: 16 in NAS-Bench-201.
        hidden: size of the vertices' states.

    Differs from the paper:
        1. The topology is that of all edges, and an edge that is not taken has the type ``none``: nothing is predicted
           but types, also in the DARTS space. (So does the released code for NAS-Bench-201; its code for DARTS cells was
           not released.)
        2. The types of the operations that enter a node are predicted together, independently given the point and the
           state before the node, and the prediction sees the point itself: a chain of states alone learns many times
           more slowly.
        3. The readout is over all vertices, where D-VAE reads the output in both directions of the graph.

    Raises:
        ConfigError: the space has no such cells, or a size below 1.

    Example:
        >>> from nas_spaces import nas_bench_201
        >>> space = nas_bench_201()
        >>> autoencoder = GraphVAE(space, latent=8, hidden=16)
        >>> mean, logvar = autoencoder.encode([space.architecture([3] * 6), space.architecture([1] * 6)])
        >>> mean.shape, autoencoder.decode(mean[0]).weights.shape
        (torch.Size([2, 8]), torch.Size([6, 5]))
    """

    def __init__(self, space: SearchSpace, latent: int = 0, hidden: int = 64) -> None:
        super().__init__()
        self.graph = cell_graph(space)
        self.latent = latent = latent or min(32, max(1, 2 * self.graph.freedom // 3))
        check_positive(latent=latent, hidden=hidden)
        self.choices = space.choices.shape
        graph, types = self.graph, len(self.graph.types)
        self.encoder, self.decoder = MessagePassing(graph, hidden), MessagePassing(graph, hidden)
        self.readout = GatedSum(graph.vertices, hidden)
        self.mean, self.logvar = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.start = nn.Linear(latent, graph.inputs * hidden)
        self.predict = nn.Linear(hidden + latent, 2 * hidden)
        self.edge_id = nn.Parameter(0.1 * torch.randn(len(graph.edges), 2 * hidden))
        self.logits = nn.Linear(2 * hidden, types)

    @property
    def size(self) -> int:
        """The coordinates of a point."""
        return len(self.graph.cells) * self.latent

    @property
    def codimension(self) -> int:
        """By how much the dimension of the type probabilities exceeds that of a point: m - n."""
        return len(self.graph.cells) * (self.graph.freedom - self.latent)

    def encode(self, architectures: Architecture | Sequence[Architecture]) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the posterior, ``(size,)`` each; ``(batch, size)`` of several architectures."""
        if isinstance(architectures, Architecture):
            mean, logvar = self.encode([architectures])
            return mean[0], logvar[0]
        return self.encode_types(self.graph.types_of(architectures))

    def encode_types(self, types: Tensor) -> tuple[Tensor, Tensor]:
        """As `encode`, of types ``(batch, cells, edges)``."""
        kinds = F.one_hot(types.flatten(0, 1), len(self.graph.types)).to(self.edge_id)
        visited, sent = self.encoder(self.encoder.inputs(len(kinds)), lambda node, _: kinds[:, self._edges(node)])
        states = torch.cat([visited, self.encoder.output(sent)], dim=1)
        summary = self.readout(states, 0).sum(dim=1)
        return self.mean(summary).view(len(types), -1), self.logvar(summary).view(len(types), -1)

    def teacher_logits(self, points: Tensor, types: Tensor) -> Tensor:
        """Logits of every type given the true types before it, as in training.

        Args:
            points: ``(batch, size)``.
            types: ``(batch, cells, edges)``.

        Returns:
            ``(batch, cells, edges, types)``.
        """
        kinds = F.one_hot(types.flatten(0, 1), len(self.graph.types)).to(points)
        return self._decode(points, lambda node, logits: (logits, kinds[:, self._edges(node)]))

    def probabilities(self, points: Tensor) -> Tensor:
        """The smooth decoder ``D: R^n -> R^m``: probabilities of the types, passed on as they are, without a draw.

        Args:
            points: ``(batch, size)``.

        Returns:
            ``(batch, cells, edges, types)``.
        """
        return self._decode(points, lambda _, logits: (logits.softmax(dim=2),) * 2)

    def derived(self, points: Tensor) -> Tensor:
        """The probabilities of the types where the most probable ones are passed on, ``(batch, cells, edges, types)``."""
        return self._decode(points, lambda _, logits: (soft := logits.softmax(dim=2), self._hard(soft)))

    def draw(self, points: Tensor, noise: Tensor | None = None, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
        """Paths with the gradient of a softmax.

        A row is ``hard + (soft - stop_gradient(soft))`` with ``soft = softmax((log p + noise) / temperature)`` and `hard`
        the one-hot types that `CellGraph.pick` takes of `soft`. Types are passed on to the next node in this form, so
        that gradients reach the point through all that the decoder does.

        Args:
            points: ``(batch, size)``.
            noise: standard Gumbel noise, ``(batch, cells, edges, types)``: types are drawn with their probabilities;
                the most probable ones without it.
            temperature: of the softmax.

        Returns:
            The rows, ``(batch, cells, edges, types)``, and the types taken, ``(batch, cells, edges)``.
        """
        flat = None if noise is None else noise.flatten(0, 1)

        def choose(node: int, logits: Tensor) -> tuple[Tensor, Tensor]:
            scores = logits.log_softmax(dim=2)
            if flat is not None:
                scores = scores + flat[:, self._edges(node)]
            soft = (scores / temperature).softmax(dim=2)
            straight = self._hard(soft) + (soft - soft.detach())  # in this order exactly one-hot
            return straight, straight

        rows = self._decode(points, choose)
        return rows, rows.detach().argmax(dim=3)

    def decode(self, points: Tensor, noise: Tensor | None = None, temperature: float = 1.0) -> ChoiceWeights:
        """The path of a point ``(size,)`` as choice weights, differentiable in the point; see `draw`.

        Where an architecture leaves out an edge, nothing of its row is drawn, and its weights are 0.
        """
        rows, types = self.draw(points[None], None if noise is None else noise[None], temperature)
        return ChoiceWeights(self.weights(rows)[0], self.graph.drawn(types[0], self.choices[0]))

    def weights(self, rows: Tensor) -> Tensor:
        """Rows of types ``(batch, cells, edges, types)`` as choice weights ``(batch, choices, options)``.

        Where edges may be left out, the weight of ``none`` is: no architecture takes it.
        """
        if self.graph.keep is not None:
            kept = [name != "none" for name in self.graph.types]
            rows = rows * torch.tensor(kept).to(rows)
        return self.graph.weights(rows, self.choices)

    def manifold(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The smooth decoder and its Jacobian, cell by cell, in float64: singular values span many magnitudes.

        Args:
            points: ``(batch, size)``.

        Returns:
            Values ``(batch, cells, edges * types)`` and Jacobians ``(batch, cells, edges * types, latent)``, both
            differentiable in the points.
        """
        precise = {name: value.double() for name, value in self.named_parameters()}

        def decode(point: Tensor) -> tuple[Tensor, Tensor]:
            value = functional_call(_Smooth(self), {f"autoencoder.{k}": v for k, v in precise.items()}, (point,))
            return value, value

        load_forward_mode()
        flat = points.double().view(-1, self.latent)
        jacobians, values = vmap(jacfwd(decode, has_aux=True))(flat)
        cells = len(self.graph.cells)
        return values.view(-1, cells, values.shape[-1]), jacobians.view(-1, cells, *jacobians.shape[-2:])

    def _edges(self, node: int) -> slice:
        """The edges into a node, which stand side by side."""
        edges = self.graph.entering[node]
        return slice(edges[0], edges[-1] + 1)

    def _hard(self, soft: Tensor) -> Tensor:
        return F.one_hot(self.graph.pick(soft.detach()), len(self.graph.types)).to(soft)

    def _decode(self, points: Tensor, choose: Callable[[int, Tensor], tuple[Tensor, Tensor]]) -> Tensor:
        """Decode node by node: `choose` turns a node's logits into what is returned and what is passed on."""
        cells = points.reshape(-1, self.latent)
        outputs: list[Tensor] = []

        def step(node: int, last: Tensor) -> Tensor:
            context = self.predict(torch.cat([last, cells], dim=1))[:, None]
            output, passed = choose(node, self.logits(F.relu(context + self.edge_id[self._edges(node)])))
            outputs.append(output)
            return passed

        start = torch.tanh(self.start(cells)).view(len(cells), self.graph.inputs, -1)
        self.decoder(start, step)
        return torch.cat(outputs, dim=1).unflatten(0, (len(points), -1))


class _Smooth(nn.Module):
    """The smooth decoder of one cell's point ``(latent,)`` as a ``forward``, which is what ``functional_call`` calls."""

    def __init__(self, autoencoder: GraphVAE) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, point: Tensor) -> Tensor:
        return self.autoencoder.probabilities(point[None]).flatten()


def kl_divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """``KL(N(mean, exp(logvar)) || N(0, 1))``, summed over the coordinates: ``(batch, size)`` to ``(batch,)``.

    Example:
        >>> kl_divergence(torch.zeros(1, 3), torch.zeros(1, 3)).item()
        0.0
    """
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(dim=-1)
