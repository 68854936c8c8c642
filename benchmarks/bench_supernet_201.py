"""The NAS-Bench-201 supernet in both memory formats: one forward and backward pass, mixed and single path.

    python benchmarks/bench_supernet_201.py --threads 2

The formats take turns in one process; medians, and the ratio of the default format to the better one.
"""

import argparse
import statistics
import time

import torch
from torch import Tensor, nn

from nas_spaces import nas_bench_201

SIZES = ((16, 1, 64, 8), (8, 1, 64, 32), (16, 5, 16, 32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| channels, cells, batch, image | step | contiguous ms | channels-last ms | ratio |")
    print("|---|---|---|---|---|")
    for channels, cells, batch, size in SIZES:
        for step in ("mixed", "single path"):
            old, new = measure(channels, cells, batch, size, step == "mixed", arguments.rounds)
            print(
                f"| {channels}, {cells}, {batch}, {size} | {step} | {1e3 * old:.1f} | {1e3 * new:.1f} | {old / new:.2f} |"
            )


def measure(channels: int, cells: int, batch: int, size: int, mixed: bool, rounds: int) -> tuple[float, float]:
    """Median seconds of a pass: contiguous, channels-last."""
    space = nas_bench_201()
    formats = (torch.contiguous_format, torch.channels_last)
    contenders = []
    for memory_format in formats:
        network = space.supernet(channels=channels, cells=cells).to(memory_format=memory_format)
        images = torch.randn(batch, 3, size, size).contiguous(memory_format=memory_format)
        contenders.append((network, images))
    generator = torch.Generator().manual_seed(0)
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 2):
        architecture = space.sample(generator)
        weights = torch.full((6, 5), 0.2) if mixed else space.weights(architecture)
        for taken, (network, images) in zip(seconds, contenders, strict=True):
            spent = one(network, images, weights, None if mixed else architecture.options)
            if turn >= 2:
                taken.append(spent)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def one(network: nn.Module, images: Tensor, weights: Tensor, drawn: object) -> float:
    """Seconds of one forward and backward pass."""
    start = time.perf_counter()
    network(images, weights, drawn).sum().backward()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
