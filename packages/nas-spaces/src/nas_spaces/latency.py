"""How long networks and single operations take, and tables of that."""

import copy
import json
import os
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas_spaces.costs import Place, places
from nas_spaces.errors import InputError, TableError
from nas_spaces.space import SearchSpace

__all__ = ["LatencyTable", "measure_latency"]


def measure_latency(
    network: nn.Module, inputs: tuple[int, ...] | Tensor, *, repeats: int = 20, warmup: int = 3, device: str = "cpu"
) -> float:
    """Seconds of one forward pass without gradients, the median of `repeats`; the network is copied, not touched.

    Args:
        network: any module of one input; weights on the meta device are taken as zeros.
        inputs: shape of what it reads, the batch first, which are zeros then; or what it reads, such as tokens.
        repeats: timed passes.
        warmup: passes before them that are not timed.
        device: where it runs; the passes are waited for.

    Raises:
        InputError: no pass would be timed.
    """
    if repeats < 1 or warmup < 0:
        raise InputError(f"repeats={repeats}, warmup={warmup}: expected at least one timed pass.")
    network = _zeros(network, device) if _on_meta(network) else copy.deepcopy(network).to(device)
    images = inputs.to(device) if isinstance(inputs, Tensor) else torch.zeros(inputs, device=device)
    accelerator = torch.device(device).type != "cpu"
    seconds = []
    with torch.no_grad():
        network.eval()
        for index in range(warmup + repeats):
            start = time.perf_counter()
            network(images)
            if accelerator:
                torch.accelerator.synchronize(torch.device(device))
            if index >= warmup:
                seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _on_meta(network: nn.Module) -> bool:
    return any(x.is_meta for x in (*network.parameters(), *network.buffers()))


@torch.no_grad()
def _zeros(network: nn.Module, device: str) -> nn.Module:
    """A copy whose weights are zero: what memory happens to hold may be subnormal, and those numbers take longer."""
    network = copy.deepcopy(network).to_empty(device=device)
    for value in (*network.parameters(), *network.buffers()):
        value.zero_()
    return network


@dataclass(frozen=True)
class LatencyTable:
    """Seconds per operation: a `Measure`, so that ``operation_costs(space, measure=table)`` looks them up.

    Args:
        seconds: by `Place.key`, such as ``nor_conv_3x3 16x32x32 16x32x32``.

    Example:
        >>> from nas_spaces import nas_bench_201
        >>> from nas_spaces.costs import operation_costs, places
        >>> space, sizes = nas_bench_201(), {"channels": 4, "cells": 1, "image": (3, 8, 8)}
        >>> table = LatencyTable({place.key: 0.001 for place in places(space, **sizes)})
        >>> a = space.architecture([3, 0, 0, 0, 0, 0])
        >>> round(float(operation_costs(space, measure=table, **sizes).of(space.weights(a))), 6)
        0.003
    """

    seconds: Mapping[str, float] = field(hash=False)  # a dict has no hash, and a measure is a key of caches

    def __call__(self, place: Place) -> float:
        """Look an operation up.

        Raises:
            TableError: the table does not have it.
        """
        if place.key not in self.seconds:
            raise TableError(
                f"the latency table has no {place.key!r} (operation, input, output); it has {len(self.seconds)} entries. "
                "Measure it for the same channels and image size."
            )
        return self.seconds[place.key]

    @classmethod
    def measure(
        cls,
        space: SearchSpace,
        *,
        image: tuple[int, int, int] = (3, 32, 32),
        channels: int = 16,
        cells: int | None = None,
        batch: int = 1,
        repeats: int = 20,
        device: str = "cpu",
    ) -> "LatencyTable":
        """Time every operation of a space alone, each shape once; see `measure_latency`."""
        found: dict[str, float] = {}
        for place in places(space, image=image, channels=channels, cells=cells):
            if place.key not in found:
                shape = (batch, *place.inputs[1:])
                found[place.key] = measure_latency(place.module, shape, repeats=repeats, device=device)
        return cls(found)

    def save(self, path: str | Path) -> None:
        """Write the table as JSON: an object of seconds by key; complete or not at all.

        Raises:
            TableError: the file cannot be written.
        """
        path = Path(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_text(json.dumps(dict(self.seconds), indent=1, sort_keys=True) + "\n", encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            raise TableError(f"the latency table cannot be written to {path}: {error}.") from error
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> "LatencyTable":
        """Read a table.

        Raises:
            TableError: the file is missing, or not an object of seconds by key.
        """
        try:
            content: Any = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise TableError(f"{path} cannot be read as a latency table: {error}.") from error
        if not isinstance(content, dict):
            raise TableError(f"{path} holds {type(content).__name__}; expected an object of seconds by operation.")
        for key, value in content.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise TableError(f"{path}: {key!r} is {value!r}; expected seconds, a number of at least 0.")
        return cls({key: float(value) for key, value in content.items()})
