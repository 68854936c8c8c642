"""The language model around a recurrent cell: the supernet, and the network of one architecture."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_spaces.choices import Choices
from nas_spaces.errors import InputError
from nas_spaces.recurrent import ACTIVATIONS, INITIAL, Combine, Connection, Dropouts, RecurrentCell, masked
from nas_spaces.supernet import Drawn, Supernet, connected

__all__ = ["RecurrentNetwork", "RecurrentSupernet"]


class _LanguageModel(nn.Module):
    """Embedding, cell and decoder, whose weight is the embedding's (Press and Wolf, 2017), with dropout between them."""

    def __init__(self, vocabulary: int, units: int, steps: int, dropouts: Dropouts, *, normalize: bool) -> None:
        super().__init__()
        self.dropouts = dropouts
        self.cell = RecurrentCell(units, steps, normalize=normalize)
        self.decoder = nn.Linear(units, vocabulary)
        nn.init.uniform_(self.decoder.weight, -INITIAL, INITIAL)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, tokens: Tensor, state: Tensor | None, combine: Combine) -> tuple[Tensor, Tensor]:
        """``(batch, time)`` to logits ``(batch, vocabulary, time)`` and the last state ``(batch, units)``."""
        self._check(tokens)
        table, units, batch = self.decoder.weight, self.cell.units, len(tokens)
        words = F.embedding(tokens, masked(table, self._mask(self.dropouts.embedding, len(table), 1)))
        words = masked(words, self._mask(self.dropouts.inputs, batch, 1, units))
        if state is None:
            state = words.new_zeros(batch, units)
        if state.shape != (batch, units):
            raise InputError(
                f"the state has shape {tuple(state.shape)}; {batch} sequences in this network have {(batch, units)}."
            )
        outputs, state = self.cell(
            words,
            state,
            combine,
            word_mask=self._mask(self.dropouts.x, batch, 1, units),
            mask=self._mask(self.dropouts.h, batch, units),
        )
        outputs = masked(outputs, self._mask(self.dropouts.outputs, batch, 1, units))
        return self.decoder(outputs).transpose(1, 2), state

    def _check(self, tokens: Tensor) -> None:
        if tokens.ndim != 2 or tokens.dtype != torch.int64 or 0 in tokens.shape:
            raise InputError(
                f"tokens are {tokens.dtype} of shape {tuple(tokens.shape)}; a recurrent network reads the numbers of "
                f"words, int64 (batch, time)."
            )
        if self.cell.normalize and len(tokens) < 2:
            raise InputError("one sequence only; batch normalisation of the states needs 2 or more in a batch.")
        # Elsewhere looking at them would wait for the device, and a compiled graph would break.
        if tokens.device.type == "cpu" and not torch.compiler.is_compiling():
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
        """As `forward`, from a state ``(batch, units)``, and with the state after the last word.

        Raises:
            InputError: what is given are no tokens, or the state has another shape.
        """
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
        self.choices.require_shape(weights, drawn)
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
