"""Where a transform in a data loader draws from."""

import hashlib
import itertools
import os
from typing import Any

import torch
from torch.utils.data import get_worker_info

__all__ = ["Source"]

_numbers = itertools.count()


class Source:
    """Where a transform draws from: the generator it was given, or one of its own in each process.

    Its own is seeded by `torch.initial_seed()`, which is another number in every worker and every epoch of a data loader, and
    by which of the transforms of the process it is: no two draw the same numbers, nor those that torch draws, and one that
    is made anew after `torch.manual_seed` draws others. Give a generator where draws are to be repeated within a process;
    in a worker it only adds its seed, as its copies would draw the same in every worker and epoch. The global random state
    is only read.

    Args:
        generator: on the CPU.
    """

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self._given = generator
        self._number = next(_numbers)
        self._own: tuple[tuple[int, int], torch.Generator] | None = None

    def generator(self) -> torch.Generator:
        """The one to draw from now."""
        if self._given is not None and get_worker_info() is None:
            return self._given
        key = (os.getpid(), torch.initial_seed())
        if self._own is None or self._own[0] != key:
            # Of a generator the seed says which one it is; a number of this process would differ when it is made again.
            which = f"number {self._number}" if self._given is None else f"seed {self._given.initial_seed()}"
            text = f"nas_augment/{key[1]}/{which}"
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
            self._own = (key, torch.Generator().manual_seed(seed))
        return self._own[1]

    def __getstate__(self) -> dict[str, Any]:
        # As bytes: a generator, and the tensor of its state, cannot be sent to a worker that is spawned.
        given = None if self._given is None else (str(self._given.device), bytes(self._given.get_state().tolist()))
        return {"given": given}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._given, self._own = None, None
        self._number = next(_numbers)  # a copy is another transform
        if state["given"] is not None:
            device, numbers = state["given"]
            self._given = torch.Generator(device)
            self._given.set_state(torch.frombuffer(bytearray(numbers), dtype=torch.uint8))  # the seed is part of it
