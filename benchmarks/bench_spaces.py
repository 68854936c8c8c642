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
from typing import Any, cast

import torch
from reference_darts import ReferenceSupernet
from torch import Tensor, nn
from torch.nn import functional as F

from nas_spaces import darts, fused, twice

SPACE = darts()
VARIANTS = ("reference", "ours", "checkpoint", "single path")
clock = time.process_time


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


def clocked(run: Callable[[], object]) -> float:
    """CPU seconds of one call, or with ``--wall`` its seconds."""
    start = clock()
    run()
    return clock() - start


def report(name: str, theirs: list[float], ours: list[float]) -> None:
    a, b = statistics.median(theirs), statistics.median(ours)
    print(f"| {name} | {a:.3f} | {b:.3f} | {a / b:.2f} |", flush=True)


def compare(name: str, theirs: Callable[[], object], ours: Callable[[], object], repeats: int) -> None:
    theirs()
    ours()
    times = [(clocked(theirs), clocked(ours)) for _ in range(repeats)]
    report(name, [first for first, _ in times], [second for _, second in times])


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
    beside_convolutions("its convolutions", theirs, ours, batch, repeats, channels_last)
    beside_convolutions("those that they are replaced by", ours, ours, batch, repeats, lambda features: features)
    single_path(ours, batch, repeats)


def channels_last(features: Tensor) -> Tensor:
    return features.contiguous(memory_format=torch.channels_last)


def beside_convolutions(
    name: str, network: nn.Module, ours: nn.Module, batch: int, repeats: int, arrange: Callable[[Tensor], Tensor]
) -> None:
    """A step beside the sum of a network's convolutions, forward and backward, by PyTorch's routines.

    Those of the reference are the supernet's by its definition, here in channels-last, in which they are faster. Ours has as
    many, of which the dilated ones are replaced by ordinary ones on quarters of the features. Inputs are recorded anew in
    every round and let go of before the step is timed: held beside it, they are memory that it has to be moved around.
    """
    images, _, weights = problem(batch)
    whole = step(ours, batch, of="weights")
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 1):
        runs = recorded(network, images, weights, arrange)
        start = clock()
        for run in runs:
            run()
        times[0].append(clock() - start)
        del run
        runs.clear()
        times[1].append(clocked(whole))
    report(f"mixed, weights (against the sum of {name})", times[0][1:], times[1][1:])


def recorded(
    network: nn.Module, images: Tensor, weights: Tensor, arrange: Callable[[Tensor], Tensor]
) -> list[Callable[[], object]]:
    """Every convolution of a forward pass as a function that does it again, forward and backward, by PyTorch's routine.

    What the supernet computes as products of matrices is among them, as the convolutions that they are. `arrange` puts
    features, kernels and gradients into another format.
    """
    originals, by_hand = cast(Any, F.conv2d), twice.by_hand
    runs: list[Callable[[], object]] = []

    def spy(x: Tensor, w: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        y = originals(x, w, *args, **kwargs)
        data, kernel, grad = arrange(x.detach()), arrange(w.detach()), arrange(torch.randn_like(y))
        data.requires_grad_(), kernel.requires_grad_()
        runs.append(lambda: torch.autograd.grad(originals(data, kernel, *args, **kwargs), [data, kernel], grad))
        return y

    functional: Any = F
    functional.conv2d, twice.by_hand, fused.by_hand = spy, lambda *_: False, lambda *_: False
    try:
        with torch.no_grad():
            network(images, weights)
    finally:
        functional.conv2d, twice.by_hand, fused.by_hand = originals, by_hand, by_hand
    return runs


def path_step(supernet: Any, batch: int) -> Callable[[], None]:
    """One forward and backward pass of a drawn path, with respect to the weights that it uses."""
    images, labels, _ = problem(batch)
    a = SPACE.sample(torch.Generator().manual_seed(1))
    weights = SPACE.weights(a)
    return lambda: F.cross_entropy(supernet(images, weights, a.options), labels).backward()


def single_path(supernet: nn.Module, batch: int, repeats: int) -> None:
    """A drawn path against an ordinary network of the same architecture in channels-last format."""
    a = SPACE.sample(torch.Generator().manual_seed(1))
    images, labels, _ = problem(batch)
    network = SPACE.network(a, cells=8).to(memory_format=torch.channels_last)
    last = channels_last(images)

    def theirs() -> None:
        F.cross_entropy(network(last), labels).backward()

    compare("single path (against one network)", theirs, path_step(supernet, batch), 3 * repeats)


def peak(variant: str, batch: int) -> None:
    """Peak resident MiB of one step, above the network's own."""
    network: nn.Module = (
        ReferenceSupernet() if variant == "reference" else SPACE.supernet(checkpoint=variant == "checkpoint")
    )
    run = path_step(network, batch) if variant == "single path" else step(network, batch, of="weights")
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    run()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10 - before)


def memory(batch: int) -> None:
    figures = {}
    for variant in VARIANTS:
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
    parser.add_argument("--peak", choices=VARIANTS)
    parser.add_argument(
        "--wall", action="store_true", help="seconds and not CPU seconds, on a machine that does nothing else"
    )
    options = parser.parse_args()
    global clock
    clock = time.perf_counter if options.wall else time.process_time
    torch.set_num_threads(options.threads)
    if options.peak:
        peak(options.peak, options.batch)
    elif options.memory:
        memory(options.batch)
    else:
        timing(options.batch, options.repeats)


if __name__ == "__main__":
    main()
