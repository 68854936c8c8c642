"""Which operations a learnable policy draws together, and which of its parameters each of them uses."""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Layout"]

Choice = Literal["slots", "joint", "unordered"]
Share = Literal["position", "operation", "pair"]


@dataclass(frozen=True)
class Layout:
    """The shape of a learnable policy; see `learnable.LearnablePolicy` for `choice` and `share`.

    Args:
        operations: of the space.
        count: operations for an image.
        choice: what is chosen at once.
        share: what has a row of its own in the probabilities and level logits.
    """

    operations: int
    count: int
    choice: Choice
    share: Share

    @cached_property
    def tuples(self) -> Tensor:
        """The operations that can be drawn together, in order, ``(tuples, count)``."""
        every = range(self.operations)
        drawn = combinations(every, self.count) if self.choice == "unordered" else product(every, repeat=self.count)
        # On the host whatever the default device is: policies are also made on "meta", and filled later.
        return torch.tensor(list(drawn), device="cpu").view(-1, self.count)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        if self.share == "pair":
            return len(self.tuples) * self.count
        return self.operations if self.share == "operation" else self.operations * self.count

    def row(self, op: Tensor) -> Tensor:
        """Which row of the probabilities and level logits each operation of ``op (..., count)`` uses."""
        if self.share == "operation":
            return op
        position = torch.arange(self.count, device=op.device)
        if self.share == "position":
            return position * self.operations + op
        return self.tuple_index(op)[..., None] * self.count + position

    def tuple_index(self, op: Tensor) -> Tensor:
        """Which of the tuples ``op (..., count)`` is, ``(...)``; -1 for one that is never drawn."""
        size = self.operations
        weight = size ** torch.arange(self.count - 1, -1, -1, device=op.device)
        index = torch.full((size**self.count,), -1, device=op.device)
        tuples = self.tuples.to(op.device)
        index[(tuples * weight).sum(1)] = torch.arange(len(tuples), device=op.device)
        found: Tensor = index[(op * weight).sum(-1)]
        return found
