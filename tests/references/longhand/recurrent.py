"""The recurrent supernet of DARTS, with loops over time, steps, predecessors and operations."""

from collections.abc import Callable

import torch
from torch import Tensor

from longhand.operations import Parameters

__all__ = ["darts_rnn_logits"]

FUNCTIONS: tuple[Callable[[Tensor], Tensor], ...] = (torch.tanh, torch.relu, torch.sigmoid, lambda x: x)
"""In the order of the columns behind that of ``none``."""


def darts_rnn_logits(p: Parameters, tokens: Tensor, weights: Tensor, *, normalize: bool = True) -> Tensor:
    """Eight steps, each of which mixes the four activations of every state before it; logits ``(batch, words, time)``."""
    embedding = p["model.decoder.weight"]
    units = embedding.shape[1]
    first = torch.cat([p["model.cell.from_word.weight"], p["model.cell.from_state.weight"]], dim=1)
    norm = _norm if normalize else (lambda state: state)
    h = torch.zeros(len(tokens), units, dtype=embedding.dtype)
    logits = []
    for t in range(tokens.shape[1]):
        c, d = (torch.cat([embedding[tokens[:, t]], h], dim=1) @ first.T).split(units, dim=1)
        states = [norm(h + torch.sigmoid(c) * (torch.tanh(d) - h))]
        row = 0
        for j in range(1, 9):
            total = torch.zeros_like(h)
            for i in range(j):
                c, d = (states[i] @ p[f"model.cell.steps.{j - 1}.weight"].T).split(units, dim=1)
                for o, function in enumerate(FUNCTIONS, start=1):
                    total = total + weights[row, o] * (states[i] + torch.sigmoid(c) * (function(d) - states[i]))
                row += 1
            states.append(norm(total))
        h = sum(states[2:], states[1]) / 8
        logits.append(h @ embedding.T + p["model.decoder.bias"])
    return torch.stack(logits, dim=2)


def _norm(state: Tensor) -> Tensor:
    mean = state.mean(dim=0)
    return (state - mean) / (((state - mean) ** 2).mean(dim=0) + 1e-5).sqrt()
