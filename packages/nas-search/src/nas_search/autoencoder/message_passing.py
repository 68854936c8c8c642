"""Asynchronous message passing: the vertices of a graph are visited in topological order, once each."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_search.autoencoder.cell_graph import CellGraph

__all__ = ["GatedSum", "MessagePassing"]

_INPUT, _NODE, _OUTPUT = range(3)
"""Kinds of vertices after the types of the operations."""


class GatedSum(nn.Module):
    """The terms of ``sum over u of g(h(u), id(u)) * m(h(u), id(u))``, an injective function of a set of states.

    With ``g`` a sigmoid and ``m`` a linear map of the state beside the one-hot number of the vertex, which tells the
    vertices apart.

    Args:
        vertices: how many there are.
        hidden: size of their states.
    """

    def __init__(self, vertices: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.map = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden, bias=False)
        # The columns of both maps that belong to the one-hot numbers.
        self.gate_id = nn.Parameter(0.1 * torch.randn(vertices, hidden))
        self.map_id = nn.Parameter(0.1 * torch.randn(vertices, hidden))

    def forward(self, states: Tensor, first: int) -> Tensor:
        """The terms ``(batch, vertices, hidden)`` of vertices that are numbered from `first`."""
        numbers = slice(first, first + states.shape[1])
        return torch.sigmoid(self.gate(states) + self.gate_id[numbers]) * (self.map(states) + self.map_id[numbers])


class MessagePassing(nn.Module):
    """Gated sum and gated recurrent unit (Zhang et al., "D-VAE", NeurIPS 2019; thesis, Eq. 4.6).

    ``h_in(v) = sum over u -> v of g(h(u), id(u)) * m(h(u), id(u))``, and ``h(v) = GRU(kind(v), h_in(v))``. The operations
    on the edges into one node are visited together.

    Args:
        graph: the topology.
        hidden: size of the states.
    """

    def __init__(self, graph: CellGraph, hidden: int) -> None:
        super().__init__()
        self.graph, self.hidden = graph, hidden
        self.messages = GatedSum(graph.vertices, hidden)
        self.cell = nn.GRUCell(len(graph.types) + 3, hidden)

    def update(self, kinds: Tensor, incoming: Tensor) -> Tensor:
        """New states ``(batch, vertices, hidden)``, of kinds ``(batch, vertices, types + 3)`` and the sums that came in."""
        states = self.cell(kinds.flatten(0, 1), incoming.flatten(0, 1))
        return states.view(incoming.shape)

    def inputs(self, batch: int) -> Tensor:
        """The states of vertices without predecessors, ``(batch, inputs, hidden)``."""
        start = self.messages.gate_id.new_zeros(batch, self.graph.inputs, self.hidden)
        return self.update(self._special(start, _INPUT), start)

    def forward(self, inputs: Tensor, choose: Callable[[int, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Visit the cell from its inputs to its last node.

        Args:
            inputs: states of the inputs, ``(batch, inputs, hidden)``.
            choose: of a node's number and the state visited last, ``(batch, hidden)``: the types of the operations that
                enter the node, ``(batch, edges into it, types)``, one-hot or as probabilities.

        Returns:
            The states of all vertices visited, in order, and what inputs and nodes send, ``(batch, inputs + nodes,
            hidden)``.
        """
        graph, number = self.graph, self.graph.inputs
        visited, sent, last = [inputs], [self.messages(inputs, 0)], inputs[:, -1]
        for node, edges in enumerate(graph.entering):
            sources = [graph.edges[edge][0] for edge in edges]
            types = choose(node, last)
            operations = self.update(F.pad(types, (0, 3)), torch.cat(sent, dim=1)[:, sources])
            incoming = self.messages(operations, number).sum(dim=1, keepdim=True)
            number += len(edges)
            state = self.update(self._special(incoming, _NODE), incoming)
            sent.append(self.messages(state, number))
            visited += [operations, state]
            last, number = state[:, 0], number + 1
        return torch.cat(visited, dim=1), torch.cat(sent, dim=1)

    def output(self, sent: Tensor) -> Tensor:
        """The state of the output, ``(batch, 1, hidden)``, of what inputs and nodes sent."""
        read = [self.graph.inputs + node for node in self.graph.outputs]
        incoming = sent[:, read].sum(dim=1, keepdim=True)
        return self.update(self._special(incoming, _OUTPUT), incoming)

    def _special(self, like: Tensor, kind: int) -> Tensor:
        """One-hot kinds of vertices that are no operations, as many as `like` has."""
        types = len(self.graph.types)
        return F.one_hot(torch.tensor(types + kind), types + 3).to(like).expand(*like.shape[:2], -1)
