"""The recurrent cell of DARTS, and its dropouts.

Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", ICLR 2019; the regularisation is that of Merity,
Keskar and Socher, "Regularizing and Optimizing LSTM Language Models", ICLR 2018.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_spaces.errors import InputError

__all__ = [
    "ACTIVATIONS",
    "EVALUATION",
    "INITIAL",
    "SEARCH",
    "Combine",
    "Connection",
    "Dropouts",
    "RecurrentCell",
    "masked",
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

INITIAL = 0.04
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
            nn.init.uniform_(parameter, -INITIAL, INITIAL)

    def gates(self, step: int, states: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """``sigmoid(c)`` and ``d`` of a step for predecessors `states`, all ``(..., batch, units)``."""
        # Under autocast the product is of half precision; the states are not.
        gate, candidate = self.steps[step](masked(states, mask)).to(states).chunk(2, dim=-1)
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
        driven = self.from_word(masked(words, word_mask))
        outputs = []
        for drive in driven.unbind(dim=1):
            gate, candidate = (drive + self.from_state(masked(state, mask))).chunk(2, dim=-1)
            states = [self._norm(state + gate.sigmoid() * (candidate.tanh() - state))]
            for step in range(len(self.steps)):
                states.append(self._norm(combine(step, states, mask)))
            state = torch.stack(states[1:]).mean(dim=0)
            outputs.append(state)
        return torch.stack(outputs, dim=1), state

    def _norm(self, state: Tensor) -> Tensor:
        return F.batch_norm(state, None, None, training=True) if self.normalize else state


def masked(values: Tensor, mask: Tensor | None) -> Tensor:
    """`values` times `mask`, where there is one."""
    return values if mask is None else values * mask
