"""What one outer step of each method costs, in units of one weight step, beside the passes that its equation needs.

    python benchmarks/bench_methods.py [--rounds 15] [--channels 16] [--cells 1] [--batch-size 64] [--image 16]

NAS-Bench-201, one thread. Rounds are interleaved: each times one weight step and then one outer step of every method, and
the ratio is taken within the round, in CPU time. The table has medians and quartiles over the rounds.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from nas_search import Method, methods
from nas_search.data_sources import fake
from nas_search.state import Batch, SearchState
from nas_search.updates import OuterStep, WeightStep
from nas_spaces import nas_bench_201

# A pass is forward and backward once; those of the first order need no weight gradients. A product is one more pass backward,
# through the kept graph of the train batch's gradient.
METHODS: dict[str, tuple[Callable[[], Method], str]] = {
    "darts(1)": (lambda: methods.darts(1), "1 valid, without weight gradients"),
    "darts(2)": (lambda: methods.darts(2), "1 valid + 1 train + 1 product"),
    "darts(2), central difference": (lambda: methods.darts(2, central_difference=True), "1 valid + 3 train"),
    "amended_darts()": (lambda: methods.amended_darts(), "1 valid + 1 train + 2 products"),
    "amended_darts(), central difference": (
        lambda: methods.amended_darts(central_difference=True),
        "1 valid + 4 train",
    ),
    "allegro()": (lambda: methods.allegro(), "1 valid + 2 train + 1 product"),
    "allegro(), central difference": (lambda: methods.allegro(central_difference=True), "1 valid + 4 train"),
    "idarts(terms=0)": (lambda: methods.idarts(terms=0), "1 valid + 1 train + 1 product"),
    "idarts(terms=2)": (lambda: methods.idarts(terms=2), "1 valid + 1 train + 3 products"),
    "idarts(terms=2), central difference": (
        lambda: methods.idarts(terms=2, central_difference=True),
        "1 valid + 6 train",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--image", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    states = {name: make(name, arguments) for name in METHODS}
    ratios: dict[str, list[float]] = {name: [] for name in METHODS}
    units: list[float] = []
    for number in range(arguments.rounds + 1):
        unit = timed(states["darts(1)"], WeightStep(), number)
        for name, state in states.items():
            seconds = timed(state, OuterStep(), number)
            if number:  # the first round warms up
                ratios[name].append(seconds / unit)
        units.append(unit)
    print(f"One weight step: {1000 * statistics.median(units[1:]):.0f} ms of CPU time.\n")
    print("| outer step of | passes of its equation | CPU time in weight steps | quartiles |")
    print("|---|---|---|---|")
    for name, values in ratios.items():
        low, middle, high = statistics.quantiles(values, n=4)
        print(f"| `{name}` | {METHODS[name][1]} | {middle:.2f} | {low:.2f}-{high:.2f} |")


def make(name: str, arguments: argparse.Namespace) -> SearchState:
    data = fake(f"3x{arguments.image}x{arguments.image}", count=20 * arguments.batch_size, classes=10)
    state = SearchState(
        nas_bench_201(),
        data,
        METHODS[name][0](),
        epochs=10,
        batch_size=arguments.batch_size,
        seed=0,
        device=torch.device("cpu"),
        channels=arguments.channels,
        cells=arguments.cells,
    )
    WeightStep()(state, Batch(state.train, state.valid, 0))  # so that there are momentum buffers
    return state


def timed(state: SearchState, update: WeightStep | OuterStep, position: int) -> float:
    batch = Batch(state.train, state.valid, position)
    _ = batch.train, batch.valid  # loading is no part of the step
    begin = time.process_time()
    update(state, batch)
    return time.process_time() - begin


if __name__ == "__main__":
    main()
