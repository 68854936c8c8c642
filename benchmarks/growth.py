"""How cost grows with cells, channels, batch, K, T, policies and the size of an archive: an exponent for each.

    python benchmarks/growth.py --json benchmarks/growth.json
    python benchmarks/growth.py --json benchmarks/growth.json --figure benchmarks/figures/growth.svg   # draws what is there

CPU seconds by one thread. The sizes of a quantity take turns in every round, and the smallest of the rounds counts, which
other work disturbs least. The exponent is the slope of the logarithm of the seconds over that of the size, by least squares:
1 is proportional, below 1 a part does not grow.
"""

import argparse
import json
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench_hypergrad
import bench_methods
import bench_one_shot
import bench_supernet_201
import numpy as np
import torch

from nas_hypergrad import Implicit, Unrolled, neumann, sgd
from nas_search import methods
from nas_search.files import write_atomically
from nas_search.policy_gradient import PolicyStep
from nas_search.samplers import Novelty
from nas_spaces import nas_bench_201

Call = Callable[[], object]


def supernet(channels: int = 8, cells: int = 1, batch: int = 16) -> Call:
    """A pass of the mixed NAS-Bench-201 supernet on images of 3 x 16 x 16."""
    network = nas_bench_201().supernet(channels=channels, cells=cells).to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    return lambda: bench_supernet_201.one(network, images, torch.full((6, 5), 0.2), None)


def policies(count: int) -> Call:
    """A policy step of DAAS over one path and so many policies."""
    sizes = Namespace(channels=8, cells=1, batch_size=16, image=16)
    state = bench_methods.make(methods.daas(1, count, 1, warmup=0.0), sizes)
    return lambda: bench_methods.timed(state, PolicyStep(1, count), 0)


def archive(size: int) -> Call:
    """Twenty choices of EN2AS from a full archive."""
    choose = Novelty(size)

    def call() -> float:
        return sum(bench_one_shot.choosing(nas_bench_201(), choose, size + 20)[size:])

    return call


WORK = bench_hypergrad.small()
QUANTITIES: dict[str, tuple[tuple[int, ...], Callable[[int], Call]]] = {
    "cells a stage": ((1, 2, 4, 8), lambda size: supernet(cells=size)),
    "channels": ((8, 16, 32, 64), lambda size: supernet(channels=size)),
    "batch": ((8, 16, 32, 64, 128), lambda size: supernet(batch=size)),
    "K of the Neumann series": ((1, 2, 4, 8, 16, 32), lambda size: bench_hypergrad.ours(WORK, Implicit(neumann(size, 1e-3)))),
    "T unrolled steps": ((1, 2, 4, 8, 16, 32), lambda size: bench_hypergrad.ours(WORK, Unrolled(sgd(1e-3), size))),
    "policies of DAAS": ((2, 4, 8, 16), policies),
    "archive of EN2AS": ((10, 40, 160, 640), archive),
}  # fmt: skip
RETURNS_SECONDS = ("policies of DAAS", "archive of EN2AS")


def measure(name: str, rounds: int) -> dict[str, Any]:
    """The smallest seconds of each size, and the exponent."""
    sizes, make = QUANTITIES[name]
    calls = {size: make(size) for size in sizes}
    taken: dict[int, list[float]] = {size: [] for size in sizes}
    for turn in range(rounds + 1):
        for size, call in calls.items():
            begin = time.process_time()
            found: Any = call()
            spent = found if name in RETURNS_SECONDS else time.process_time() - begin
            if turn:  # the first round warms up
                taken[size].append(spent)
    seconds = [min(taken[size]) for size in sizes]
    exponent = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
    return {"sizes": list(sizes), "seconds": seconds, "exponent": exponent, "last": last_exponent(sizes, seconds)}


def last_exponent(sizes: tuple[int, ...], seconds: list[float]) -> float:
    """That between the two largest sizes, where what does not grow weighs least."""
    return float(np.log(seconds[-1] / seconds[-2]) / np.log(sizes[-1] / sizes[-2]))


def draw(found: dict[str, Any], figure: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.fonttype"] = "none"  # text as text: a quarter of the size
    matplotlib.rcParams["svg.hashsalt"] = "growth"
    from matplotlib import pyplot as plt

    grid, axes = plt.subplots(2, 4, figsize=(11, 5), layout="constrained")
    for axis in axes.flat[len(found) :]:
        axis.set_visible(False)
    for axis, (name, each) in zip(axes.flat, found.items(), strict=False):
        sizes, milliseconds = np.array(each["sizes"]), 1e3 * np.array(each["seconds"])
        axis.loglog(sizes, milliseconds, "o", color="#1f6fb2")
        line = np.exp(np.polyval(np.polyfit(np.log(sizes), np.log(milliseconds), 1), np.log(sizes)))
        axis.loglog(sizes, line, color="#9db8cf")
        axis.set(title=f"{name}: exponent {each['exponent']:.2f}", ylabel="CPU ms")
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.minorticks_off()
        axis.title.set_fontsize(9)
    grid.savefig(figure, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="names of quantities, separated by commas; what else is in the file stays")
    parser.add_argument("--figure", type=Path, help="draw what is in the file, and measure nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    if arguments.figure:
        draw(found, arguments.figure)
        return
    for name in arguments.only.split(",") if arguments.only else QUANTITIES:
        found[name] = measure(name, arguments.rounds)
        print(name, found[name], flush=True)
        write_atomically(arguments.json, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
