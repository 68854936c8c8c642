"""What the one-shot searchers cost, in units of a weight step on one path, and how diverse the paths of EN2AS are.

    python benchmarks/bench_one_shot.py [--rounds 60] [--channels 16] [--cells 1] [--batch-size 64] [--image 16]
    python benchmarks/bench_one_shot.py --diversity

One thread. The first form has two tables. *Steps*: rounds are interleaved, each one weight step of every method on
NAS-Bench-201, in CPU time; the ratio is that of the sums over the rounds, since the paths of a round differ in cost, with the
interval of 90 % of the ratios of 2000 resamplings of the rounds. *Archives*: the time of choosing alone, soon after the archive
is full and much later. The second form compares the archive of EN2AS with as many uniform architectures.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch

from nas_search import Method, methods
from nas_search.archive import novelties
from nas_search.batches import Batch
from nas_search.data_sources import fake
from nas_search.encodings import Integers, behavior
from nas_search.losses import Archive, Pieces, Replay, complement, previous
from nas_search.samplers import Novelty
from nas_search.state import SearchState
from nas_search.updates import WeightStep
from nas_spaces import SearchSpace, darts, nas_bench_201

# The method, and the passes forward and backward of its weight step. The first is measured twice: the noise of the measure.
METHODS: dict[str, tuple[Method, int]] = {
    "random_nas(), again": (methods.random_nas(), 1),
    **{f"nsas(constraints={count})": (methods.nsas(constraints=count), count + 1) for count in (1, 2, 3, 5)},
    'nsas(strategy="lg", constraints=2)': (methods.nsas(strategy="lg", constraints=2), 3),
    'nsas(strategy="archive", constraints=8)': (methods.nsas(strategy="archive", constraints=8), 9),
    "complementation": (replace(methods.random_nas(), loss=Replay(Pieces((previous, complement)))), 3),
    "en2as()": (methods.en2as(), 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--image", type=int, default=16)
    parser.add_argument("--diversity", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.diversity:
        for space in (nas_bench_201(), darts()):
            diversity(space)
        return
    unit = steps(arguments)
    archives(unit)


def steps(arguments: argparse.Namespace) -> float:
    """Print the table of steps; the seconds of a weight step on one path."""
    every = {"unit": (methods.random_nas(), 1), **METHODS}
    states = {name: make(method, arguments) for name, (method, _) in every.items()}
    seconds: dict[str, list[float]] = {name: [] for name in every}
    for number in range(arguments.rounds + 12):
        for name, state in states.items():
            batch = Batch(state.train, state.valid, number)
            _ = batch.train  # loading is no part of the step
            begin = time.process_time()
            WeightStep()(state, batch)
            if number >= 12:  # by then the archive of nsas is full
                seconds[name].append(time.process_time() - begin)
    unit = statistics.mean(seconds["unit"])
    print(f"One weight step on one path: {1000 * unit:.0f} ms of CPU time on average.\n")
    print("| weight step of | passes | CPU time in steps of one path | 90 % |")
    print("|---|---|---|---|")
    resample = random.Random(0)
    for name, (_, passes) in METHODS.items():
        ratios = []
        for _ in range(2000):
            rounds = resample.choices(range(arguments.rounds), k=arguments.rounds)
            ratios.append(sum(seconds[name][k] for k in rounds) / sum(seconds["unit"][k] for k in rounds))
        cuts = statistics.quantiles(ratios, n=20)
        print(f"| `{name}` | {passes} | {statistics.mean(seconds[name]) / unit:.2f} | {cuts[0]:.2f}-{cuts[-1]:.2f} |")
    return unit


def make(method: Method, arguments: argparse.Namespace) -> SearchState:
    data = fake(f"3x{arguments.image}x{arguments.image}", count=20 * arguments.batch_size, classes=10)
    return SearchState(
        nas_bench_201(),
        data,
        method if method.name != "en2as" else methods.en2as(archive=10),  # full after as many rounds as are left out
        epochs=10,
        batch_size=arguments.batch_size,
        seed=0,
        device=torch.device("cpu"),
        channels=arguments.channels,
        cells=arguments.cells,
    )


def archives(unit: float) -> None:
    """Print how long choosing takes at 100 steps after the archive is full, and at the 100 steps 2000 later."""
    print("\n| choosing by | space | ms at first | ms 2000 steps later | ratio | of a step of one path |")
    print("|---|---|---|---|---|---|")
    for space in (nas_bench_201(), darts()):
        choosers: dict[str, tuple[Callable[[Any], Any], int]] = {
            "Archive(8) of nsas": (lambda state: Archive(8)(state, state.space.sample(state.generator).options), 58),
            "Novelty(100) of en2as": (Novelty(100), 100),
            "Novelty(1000) of en2as": (Novelty(1000), 1000),
        }
        for name, (choose, full) in choosers.items():
            spent = choosing(space, choose, full + 2200)
            early, late = statistics.median(spent[full : full + 100]), statistics.median(spent[-100:])
            part = f"{early / unit:.2f}" if space.name == "nas_bench_201" else ""  # the step is one of that space
            print(f"| `{name}` | {space.name} | {1000 * early:.2f} | {1000 * late:.2f} | {late / early:.2f} | {part} |")


def choosing(space: SearchSpace, choose: Callable[[Any], Any], count: int) -> list[float]:
    """CPU seconds of so many choices, one after the other."""
    state = SimpleNamespace(space=space, generator=torch.Generator().manual_seed(0), memory={})
    spent: list[float] = []
    for _ in range(count):
        begin = time.process_time()
        choose(state)
        spent.append(time.process_time() - begin)
    return spent


def diversity(space: SearchSpace) -> None:
    """Print the mean distance to the ten nearest within an archive of 100, after rounds in which each member moves once."""
    generator = torch.Generator().manual_seed(5)
    uniform = [spread(torch.stack([behavior(space, space.sample(generator)) for _ in range(100)])) for _ in range(20)]
    print(
        f"\n{space.name}: 100 uniform architectures {statistics.mean(uniform):.4f} +- {statistics.stdev(uniform):.4f}\n"
    )
    print("| archive | share of steps that change an architecture | 1 round | 2 | 5 | 10 | 20 |")
    print("|---|---|---|---|---|---|---|")
    made = {f"step size {size}": Novelty(step_size=size) for size in (0.5, 1.0, 1.5, 2.0, 3.0)}
    made["integers, step size 1"] = Novelty(encoding=Integers(), step_size=1.0)
    made["as released"] = Novelty(encoding=Integers(), step_size=0.01, standardized=False)
    for name, sampler in made.items():
        state: Any = SimpleNamespace(space=space, generator=torch.Generator().manual_seed(1), memory={})
        for _ in range(100):
            sampler(state)
        found, changed = [], 0
        for number in range(1, 21):
            before = state.memory["novelty_behaviors"]
            for _ in range(100):
                sampler(state)
            changed += int((before != state.memory["novelty_behaviors"]).any(dim=1).sum())
            if number in (1, 2, 5, 10, 20):
                found.append(f"{spread(state.memory['novelty_behaviors']):.3f}")
        print(f"| {name} | {changed / 2000:.2f} | {' | '.join(found)} |")


def spread(points: torch.Tensor) -> float:
    others = [torch.cat([points[:place], points[place + 1 :]]) for place in range(len(points))]
    return sum(float(novelties(points[place][None], rest, 10)) for place, rest in enumerate(others)) / len(points)


if __name__ == "__main__":
    main()
