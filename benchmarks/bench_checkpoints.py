"""What checkpoints cost a search, in percent of its CPU time: ``python bench_checkpoints.py``.

Each search saves as `nascli search` does, after the first epoch, the last, and as many between as take a hundredth of the time;
with ``--every``, after every epoch. The CPU time of this process and of the kernel on its behalf is
summed apart for what saves (serialising, writing, fsync, the line of events) and for everything else; on a machine with other
work it says more than seconds of the clock, of which the share is shown too: it includes waiting for the disk, and for others.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from nas_search import Method, methods
from nas_search.data_sources import fake, load_data
from nas_search.run_folder import RunFolder, Store
from nas_search.run_state import RunState
from nas_search.searching import complete
from nas_search.state import SearchState
from nas_spaces import darts, nas_bench_201

RUNS: dict[str, tuple[Method, Any, dict[str, Any]]] = {
    "gdas on digits, `nascli search --method gdas`": (
        methods.gdas(), nas_bench_201(), {"data": "digits", "epochs": 24, "batch_size": 64, "channels": 16, "cells": 1}),
    "daas on digits, `nascli search`": (
        methods.daas(), nas_bench_201(), {"data": "digits", "epochs": 1, "batch_size": 64, "channels": 16, "cells": 1}),
    "en2as on digits": (
        methods.en2as(), nas_bench_201(), {"data": "digits", "epochs": 6, "batch_size": 64, "channels": 16, "cells": 1}),
    "darts, first order, 1,024 colour images of 16 x 16, darts space": (
        methods.darts(order=1), darts(), {"data": "", "epochs": 1, "batch_size": 64, "channels": 8, "cells": 3}),
}  # fmt: skip


class Timed(Store):
    """A store that sums the time it takes."""

    cpu = wall = 0.0
    size = count = 0

    every = False

    def save_if_due(self, state: RunState) -> None:
        if self.every:
            self.save(state)
        else:
            super().save_if_due(state)

    def save(self, state: RunState) -> None:
        cpu, wall = time.process_time(), time.perf_counter()
        super().save(state)
        Timed.cpu += time.process_time() - cpu
        Timed.wall += time.perf_counter() - wall
        Timed.size, Timed.count = self.checkpoint.stat().st_size, Timed.count + 1


def measure(method: Method, space: Any, sizes: dict[str, Any], out: Path) -> str:
    """One row of the table, but for its name."""
    from nas_search import searching

    settings = dict(sizes)
    name = settings.pop("data")
    data = load_data(name) if name else fake("3x16x16", count=1024, classes=10)
    state = SearchState(space, data, method, seed=0, device=torch.device("cpu"), **settings)
    folder = RunFolder(out)
    Timed.cpu = Timed.wall = 0.0
    Timed.count = 0
    library: Any = searching
    library.Store = Timed
    cpu, wall = time.process_time(), time.perf_counter()
    with folder.claimed(resume=False):
        complete(state, folder)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    epochs = settings["epochs"]
    saves = f"{Timed.size / 2**20:.2f} | {Timed.count} of {epochs} | {1000 * Timed.cpu / Timed.count:.0f}"
    return f"{saves} | {cpu / epochs:.2f} | {100 * Timed.cpu / cpu:.2f} % | {100 * Timed.wall / wall:.2f} %"


def main() -> None:
    torch.set_num_threads(1)
    Timed.every = "--every" in sys.argv[1:]
    print("| search | MiB | saves | CPU ms of one | CPU s of an epoch | CPU time, % | clock, % |")
    print("|---|---|---|---|---|---|---|")
    for name, (method, space, sizes) in RUNS.items():
        with tempfile.TemporaryDirectory() as place:
            print(f"| {name} | {measure(method, space, sizes, Path(place) / 'run')} |", flush=True)


if __name__ == "__main__":
    main()
