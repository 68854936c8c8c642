"""Images per second of a GDAS search with one rank and with two, one thread each, in turn: ``python bench_ranks.py``.

The batch of each rank is the same, so that twice the ranks see twice the images in a step.
"""

import os
import statistics
import subprocess
import sys
import time

import torch

from nas_search import distributed, methods
from nas_search.data_sources import fake
from nas_search.state import SearchState
from nas_spaces import nas_bench_201

BATCH, STEPS, WARM, ROUNDS = 32, 8, 2, 3


def measure() -> None:
    """One process of those that torchrun starts; the first prints the images per second of all together."""
    torch.set_num_threads(1)
    with distributed.joined("cpu"):
        size = BATCH * distributed.size()
        state = SearchState(
            nas_bench_201(), fake("3x16x16", count=256, classes=10), methods.gdas(), epochs=1, batch_size=size, seed=0,
            device=torch.device("cpu"), channels=16, cells=2,
        )  # fmt: skip
        for step in range(WARM + STEPS):
            if step == WARM:
                distributed.wait_for_all()
                start = time.perf_counter()
            state.advance()
        distributed.wait_for_all()
        if distributed.is_first():
            print(STEPS * size / (time.perf_counter() - start))


def main() -> None:
    found: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(ROUNDS):
        for ranks, speeds in found.items():
            launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks), __file__]
            done = subprocess.run([sys.executable, *launch], stdout=subprocess.PIPE, text=True, check=True)
            speeds.append(float(done.stdout))
            print(f"{ranks} ranks: {speeds[-1]:.0f} images/s", flush=True)
    one, two = (statistics.median(found[ranks]) for ranks in (1, 2))
    print(f"1 rank {one:.0f} images/s, 2 ranks {two:.0f} images/s: {two / one:.2f} times (medians of {ROUNDS} rounds)")


if __name__ == "__main__":
    measure() if "LOCAL_RANK" in os.environ else main()
