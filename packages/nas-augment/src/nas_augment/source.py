"""Where a transform in a data loader draws from."""

import os
from typing import Any

import torch

__all__ = ["Source"]


class Source:
    """Where a transform draws from: the generator it was given, or one for each process.

    Without a generator, the first draw in a process seeds one from `torch.initial_seed()`, which is another number in
    every worker and every epoch of a data loader. The global random state is only read.

    Args:
        generator: on the CPU.
    """

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self._given = generator
        self._own: tuple[tuple[int, int], torch.Generator] | None = None

    def generator(self) -> torch.Generator:
        """The one to draw from now."""
        if self._given is not None:
            return self._given
        key = (os.getpid(), torch.initial_seed())
        if self._own is None or self._own[0] != key:
            self._own = (key, torch.Generator().manual_seed(key[1]))
        return self._own[1]

    def __getstate__(self) -> dict[str, Any]:
        return {"_given": self._given, "_own": None}
