"""A language model around a recurrent cell whose steps are chosen: its supernet, and the network of one architecture.

Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", ICLR 2019; the regularisation is that of Merity,
Keskar and Socher, "Regularizing and Optimizing LSTM Language Models", ICLR 2018.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_spaces.choices import Choices
from nas_spaces.errors import InputError
from nas_spaces.supernet import Drawn, Supernet, connected

__all__ = [
    "ACTIVATIONS",
    "EVALUATION",
    "SEARCH",
    "Connection",
    "Dropouts",
    "RecurrentCell",
    "RecurrentNetwork",
    "RecurrentSupernet",
]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "identity": lambda values: values,
}
"""What a step may do to its candidate state."""

Connection: TypeAlias = tuple[str, int]
"""An activation, and the state that it is computed from."""

Combine: TypeAlias = Callable[[int, list[Tensor], Tensor | None], Tensor]
"""``(step, states before it, dropout mask)`` to the step's state, ``(batch, units)``."""

_INITIAL = 0.04
"""All weights start uniformly in plus and minus this, as in the reference implementation."""


@dataclass(frozen=True)
class Dropouts:
    """Probabilities of dropout while training; none in evaluation.

    Every mask is drawn once for a batch, one for each sequence, and is the same at all times of it (variational dropout:
    Gal and Ghahramani, NeurIPS 2016). Draws like `torch.nn.Dropout`, from PyTorch's own generator, on the host.

    Args:
        embedding: of whole words, for the whole batch (``dropoute`` of the reference implementation).
        inputs: of the embedded words (``dropouti``).
        x: of the input of the cell (``dropoutx``), on top of `inputs`.
        h: of the state before, and of the states that the cell's steps read (``dropouth``); the same mask for all.
        outputs: of the outputs of the cell (``dropout``).

    Raises:
        InputError: a probability is not in [0, 1).
    """

    embedding: float = 0.0
    inputs: float = 0.0
    x: float = 0.0
    h: float = 0.0
    outputs: float = 0.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not 0 <= value < 1:
                raise InputError(f"dropout of {item.name} is {value}; expected a probability of 0 or more, below 1.")


SEARCH = Dropouts(inputs=0.2, x=0.75, h=0.25, outputs=0.75)
"""DARTS' search on Penn Treebank with 300 units, batches of 256 sequences, 50 epochs."""

EVALUATION = Dropouts(embedding=0.1, inputs=0.2, x=0.75, h=0.25, outputs=0.75)
"""DARTS' evaluation on Penn Treebank with 850 units."""


class RecurrentCell(nn.Module):
    """Weights and gates of the cell; how a step makes its state of those before it is given to `forward`.

    With the word `x_t`, the state before `h_{t-1}` and dropout masks `m_x`, `m_h`::

        (c_0, d_0) = W_0 [m_x x_t, m_h h_{t-1}]        s_0 = h_{t-1} + sigmoid(c_0) (tanh(d_0) - h_{t-1})
        (c_j, d_j) = W_j (m_h s_i)                     s_j = s_i + sigmoid(c_j) (o_j(d_j) - s_i),   j = 1, ..., 8
        h_t        = mean(s_1, ..., s_8)

    where step j has one predecessor i < j and one activation `o_j`. It is a recurrent highway network (Zilly,
    Srivastava, Koutnik and Schmidhuber, ICML 2017) whose steps need not follow one another (Liu, Simonyan and Yang,
    2019, section 3.2 and the released ``rnn/model.py``). `W_0` is kept in two parts, that of the word and that of the
    state, so that the words of all times are multiplied at once.

    Args:
        units: of the words' embedding and of all states.
        steps: states besides `s_0`.
        normalize: whether `s_0` and every `s_j` are normalised over the batch, without running statistics.
    """

    def __init__(self, units: int, steps: int, *, normalize: bool) -> None:
        super().__init__()
        self.units, self.normalize = units, normalize
        self.from_word = nn.Linear(units, 2 * units, bias=False)
        self.from_state = nn.Linear(units, 2 * units, bias=False)
        self.steps = nn.ModuleList(nn.Linear(units, 2 * units, bias=False) for _ in range(steps))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -_INITIAL, _INITIAL)

    def gates(self, step: int, states: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """``sigmoid(c)`` and ``d`` of a step for predecessors `states`, all ``(..., batch, units)``."""
        gate, candidate = self.steps[step](_masked(states, mask)).chunk(2, dim=-1)
        return gate.sigmoid(), candidate

    def forward(
        self, words: Tensor, state: Tensor, combine: Combine, *, word_mask: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Run over a sequence.

        Args:
            words: ``(batch, time, units)``.
            state: `h_0`, ``(batch, units)``.
            combine: makes the state of a step.
            word_mask: `m_x`, ``(batch, 1, units)``.
            mask: `m_h`, ``(batch, units)``.

        Returns:
            `h_1`, `h_2`, ..., ``(batch, time, units)``, and the last of them.
        """
        driven = self.from_word(_masked(words, word_mask))
        outputs = []
        for drive in driven.unbind(dim=1):
            gate, candidate = (drive + self.from_state(_masked(state, mask))).chunk(2, dim=-1)
            states = [self._norm(state + gate.sigmoid() * (candidate.tanh() - state))]
            for step in range(len(self.steps)):
                states.append(self._norm(combine(step, states, mask)))
            state = torch.stack(states[1:]).mean(dim=0)
            outputs.append(state)
        return torch.stack(outputs, dim=1), state

    def _norm(self, state: Tensor) -> Tensor:
        return F.batch_norm(state, None, None, training=True) if self.normalize else state


class _LanguageModel(nn.Module):
    """Embedding, cell and decoder, whose weight is the embedding's (Press and Wolf, 2017), with dropout between them."""

    def __init__(self, vocabulary: int, units: int, steps: int, dropouts: Dropouts, *, normalize: bool) -> None:
        super().__init__()
        self.dropouts = dropouts
        self.cell = RecurrentCell(units, steps, normalize=normalize)
        self.decoder = nn.Linear(units, vocabulary)
        nn.init.uniform_(self.decoder.weight, -_INITIAL, _INITIAL)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, tokens: Tensor, state: Tensor | None, combine: Combine) -> tuple[Tensor, Tensor]:
        """``(batch, time)`` to logits ``(batch, vocabulary, time)`` and the last state ``(batch, units)``."""
        self._check(tokens)
        table, units, batch = self.decoder.weight, self.cell.units, len(tokens)
        words = F.embedding(tokens, _masked(table, self._mask(self.dropouts.embedding, len(table), 1)))
        words = _masked(words, self._mask(self.dropouts.inputs, batch, 1, units))
        if state is None:
            state = words.new_zeros(batch, units)
        outputs, state = self.cell(
            words,
            state,
            combine,
            word_mask=self._mask(self.dropouts.x, batch, 1, units),
            mask=self._mask(self.dropouts.h, batch, units),
        )
        outputs = _masked(outputs, self._mask(self.dropouts.outputs, batch, 1, units))
        return self.decoder(outputs).transpose(1, 2), state

    def _check(self, tokens: Tensor) -> None:
        if tokens.ndim != 2 or tokens.dtype != torch.int64 or 0 in tokens.shape:
            raise InputError(
                f"tokens are {tokens.dtype} of shape {tuple(tokens.shape)}; a recurrent network reads the numbers of "
                f"words, int64 (batch, time)."
            )
        if self.cell.normalize and len(tokens) < 2:
            raise InputError("one sequence only; batch normalisation of the states needs 2 or more in a batch.")
        if tokens.device.type == "cpu":  # elsewhere looking at them would wait for the device
            low, high = (int(bound) for bound in tokens.aminmax())
            if low < 0 or high >= len(self.decoder.weight):
                raise InputError(
                    f"token {low if low < 0 else high} is out of range; the vocabulary of this network has "
                    f"{len(self.decoder.weight)} words, counted from 0."
                )

    def _mask(self, probability: float, *shape: int) -> Tensor | None:
        """What is multiplied to drop: 0, or the inverse of the share that is kept."""
        if not self.training or probability == 0.0:
            return None
        keep = torch.rand(shape) >= probability
        return keep.to(self.decoder.weight) / (1 - probability)


def _masked(values: Tensor, mask: Tensor | None) -> Tensor:
    return values if mask is None else values * mask


class RecurrentNetwork(nn.Module):
    """The language model of one architecture.

    Args:
        connections: activation and predecessor of each step.
        vocabulary: number of words.
        units: of the embedding and of all states.
        dropouts: while training.
        normalize: see `RecurrentCell`.
    """

    def __init__(
        self, connections: Sequence[Connection], vocabulary: int, units: int, dropouts: Dropouts, *, normalize: bool
    ) -> None:
        super().__init__()
        self.connections = tuple(connections)
        self.model = _LanguageModel(vocabulary, units, len(self.connections), dropouts, normalize=normalize)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(batch, time)`` int64 to the logits of the words that follow, ``(batch, vocabulary, time)``.

        The state before the first word is zero; `carry` continues a text.
        """
        return self.carry(tokens)[0]

    def carry(self, tokens: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As `forward`, from a state ``(batch, units)``, and with the state after the last word."""
        return self.model(tokens, state, self._combine)

    def _combine(self, step: int, states: list[Tensor], mask: Tensor | None) -> Tensor:
        name, source = self.connections[step]
        gate, candidate = self.model.cell.gates(step, states[source], mask)
        return states[source] + gate * (ACTIVATIONS[name](candidate) - states[source])


class RecurrentSupernet(Supernet):
    """Every activation of every predecessor of every step: ``s_j = sum_{i<j} sum_o w_{ij,o} s_j(i, o)``.

    All predecessors of a step share its `W_j`. ``none`` contributes nothing. See `Supernet` for what the weights mean.

    Args:
        choices: one row per edge; the first column is ``none``.
        rows: those of each step, in the order of its predecessors.
        vocabulary: number of words.
        units: of the embedding and of all states.
        dropouts: while training.
        normalize: see `RecurrentCell`.
    """

    def __init__(
        self,
        choices: Choices,
        rows: Sequence[range],
        vocabulary: int,
        units: int,
        dropouts: Dropouts,
        *,
        normalize: bool,
    ) -> None:
        super().__init__()
        self.choices, self.rows = choices, tuple(rows)
        self.model = _LanguageModel(vocabulary, units, len(self.rows), dropouts, normalize=normalize)

    def forward(self, images: Tensor, weights: Tensor, drawn: Drawn | None = None) -> Tensor:
        """See `Supernet.forward`.

        Args:
            images: the tokens, ``(batch, time)`` int64; the state before the first is zero.
            weights: ``(36, 5)``.
            drawn: the options of each row that are evaluated.

        Returns:
            Logits of the words that follow, ``(batch, vocabulary, time)``.
        """
        self.choices.require_shape(weights)
        factors = weights.to(self.model.decoder.weight)
        if drawn is None:
            # Weights per step, as columns that multiply (predecessors, batch, units).
            columns = [factors[rows.start : rows.stop].T[..., None, None] for rows in self.rows]
            return self.model(images, None, lambda *step: self._mixed(columns, *step))[0]
        paths = [self._path(rows, factors, drawn) for rows in self.rows]
        logits = self.model(images, None, lambda *step: self._drawn(paths, *step))[0]
        return connected(logits, weights)

    def _mixed(self, columns: list[Tensor], step: int, before: list[Tensor], mask: Tensor | None) -> Tensor:
        """``sum_i a_i s_i + g_i (sum_o w_io o(d_i) - a_i s_i)`` with `a` the sum of a row's weights but ``none``'s."""
        states = torch.stack(before)
        gate, candidate = self.model.cell.gates(step, states, mask)
        factors = columns[step][1:]
        kept = factors.sum(dim=0) * states
        changed = sum(factor * ACTIVATIONS[name](candidate) for name, factor in zip(ACTIVATIONS, factors, strict=True))
        return torch.lerp(kept, changed, gate).sum(dim=0)

    @staticmethod
    def _path(rows: range, factors: Tensor, drawn: Drawn) -> list[tuple[int, str, Tensor]]:
        """Predecessor, activation and weight of everything but ``none`` that a step evaluates, each once."""
        names = ("none", *ACTIVATIONS)
        return [
            (source, names[option], factors[row, option])
            for source, row in enumerate(rows)
            for option in dict.fromkeys(drawn[row])
            if option != 0
        ]

    def _drawn(
        self, paths: list[list[tuple[int, str, Tensor]]], step: int, before: list[Tensor], mask: Tensor | None
    ) -> Tensor:
        path = paths[step]
        if not path:
            return torch.zeros_like(before[0])
        states = torch.stack([before[source] for source, _, _ in path])
        gate, candidate = self.model.cell.gates(step, states, mask)
        changed = torch.stack([ACTIVATIONS[name](d) for (_, name, _), d in zip(path, candidate, strict=True)])
        factors = torch.stack([factor for _, _, factor in path])[:, None, None]
        return (factors * torch.lerp(states, changed, gate)).sum(dim=0)
