"""Speed and memory of the DARTS supernet against the straightforward one: ``python benchmarks/bench_spaces.py``.

8 cells, 16 channels, 32 x 32; each line times both in turn and gives medians and their ratio. ``--memory`` runs each
variant in a process of its own and reports the peak resident size above that after building the network.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from reference_darts import ReferenceSupernet
from torch import Tensor, nn
from torch.nn import functional as F

from nas_spaces import darts

SPACE = darts()


def problem(batch: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, 32, 32, generator=generator)
    labels = torch.randint(10, (batch,), generator=generator)
    return images, labels, torch.randn(28, 8, generator=generator).softmax(dim=1)


def step(network: nn.Module, batch: int, *, of: str) -> Callable[[], None]:
    """One forward and backward pass, with respect to the network's weights or to the choice weights alone."""
    images, labels, weights = problem(batch)
    if of == "choices":
        network.requires_grad_(False)
        weights.requires_grad_()
    wanted = [weights] if of == "choices" else [p for p in network.parameters() if p.requires_grad]

    def run() -> None:
        loss = F.cross_entropy(network(images, weights), labels)
        torch.autograd.grad(loss, wanted, allow_unused=True)

    return run


def compare(name: str, theirs: Callable[[], None], ours: Callable[[], None], repeats: int) -> None:
    theirs()
    ours()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for run, record in zip((theirs, ours), times, strict=True):
            start = time.process_time()
            run()
            record.append(time.process_time() - start)
    a, b = (statistics.median(record) for record in times)
    print(f"| {name} | {a:.3f} | {b:.3f} | {a / b:.2f} |", flush=True)


def pair(seed: int = 0) -> tuple[ReferenceSupernet, nn.Module]:
    torch.manual_seed(seed)
    ours, theirs = SPACE.supernet(), ReferenceSupernet()
    theirs.load(ours)
    return theirs, ours


def timing(batch: int, repeats: int) -> None:
    print(f"\n{torch.get_num_threads()} threads, batch {batch}, seconds (median of {repeats})\n")
    print("| step | reference | ours | ratio |\n|---|---|---|---|")
    theirs, ours = pair()
    weight_step = step(theirs, batch, of="weights")
    compare("mixed, weights", weight_step, step(ours, batch, of="weights"), repeats)
    frozen = pair()[1]
    compare(
        "mixed, choices (against the reference's weight step)", weight_step, step(frozen, batch, of="choices"), repeats
    )
    recomputing = SPACE.supernet(checkpoint=True)
    compare("mixed, weights, checkpoint (reference: ours without)", step(ours, batch, of="weights"),
            step(recomputing, batch, of="weights"), repeats)  # fmt: skip
    convolutions(ours, batch, repeats)
    single_path(ours, batch, repeats)


def convolutions(network: nn.Module, batch: int, repeats: int) -> None:
    """The sum of the network's own convolutions, forward and backward, in channels-last format."""
    originals: Any = F.conv2d
    shapes: list[Callable[[], None]] = []

    def spy(x: Tensor, w: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        y = originals(x, w, *args, **kwargs)
        data, kernel = x.detach().requires_grad_(), w.detach().requires_grad_()
        grad = torch.randn_like(y)

        def run() -> None:
            torch.autograd.grad(originals(data, kernel, *args, **kwargs), [data, kernel], grad)

        shapes.append(run)
        return y

    images, _, weights = problem(batch)
    functional: Any = F
    functional.conv2d = spy
    try:
        with torch.no_grad():
            network(images, weights)
    finally:
        functional.conv2d = originals

    def all_of_them() -> None:
        for run in shapes:
            run()

    compare(
        "mixed, weights (against the sum of its convolutions)", all_of_them, step(network, batch, of="weights"), repeats
    )


def single_path(supernet: nn.Module, batch: int, repeats: int) -> None:
    """A drawn path against an ordinary network of the same architecture in channels-last format."""
    a = SPACE.sample(torch.Generator().manual_seed(1))
    images, labels, _ = problem(batch)
    weights = SPACE.weights(a)
    network = SPACE.network(a, cells=8).to(memory_format=torch.channels_last)
    last = images.contiguous(memory_format=torch.channels_last)

    def theirs() -> None:
        F.cross_entropy(network(last), labels).backward()

    def ours() -> None:
        F.cross_entropy(supernet(images, weights, a.options), labels).backward()

    compare("single path (against one network)", theirs, ours, 3 * repeats)


def peak(variant: str, batch: int) -> None:
    """Peak resident MiB of one step, above the network's own."""
    network: nn.Module = (
        ReferenceSupernet() if variant == "reference" else SPACE.supernet(checkpoint=variant == "checkpoint")
    )
    run = step(network, batch, of="weights")
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    run()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10 - before)


def memory(batch: int) -> None:
    figures = {}
    for variant in ("reference", "ours", "checkpoint"):
        command = [sys.executable, __file__, "--peak", variant, "--batch", str(batch)]
        figures[variant] = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print(f"\nbatch {batch}, peak MiB of one weight step above the network\n")
    print("| variant | MiB | of the reference |\n|---|---|---|")
    for variant, figure in figures.items():
        print(f"| {variant} | {figure:.0f} | {figure / figures['reference']:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--peak", choices=("reference", "ours", "checkpoint"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak:
        peak(options.peak, options.batch)
    elif options.memory:
        memory(options.batch)
    else:
        timing(options.batch, options.repeats)


if __name__ == "__main__":
    main()
