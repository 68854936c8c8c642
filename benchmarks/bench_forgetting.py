"""Multi-model forgetting: the validation accuracy of fixed architectures while others train the weights they share.

    python benchmarks/bench_forgetting.py --data npz:c10.npz --plot forgetting

Uniform paths train the supernet of bench_proxy.py, as they are and with two kinds of replay. Every few steps some fixed
architectures, the same for all, are scored with the shared weights; what others' steps take from them is seen as a fall.
Prints for each way of training: the mean accuracy in the last epoch, the mean fall between two scores (0 where there is a
rise), and the CPU time of the search without the scores.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from bench_proxy import begin, shrink

from nas_search import ImageData, Method, methods
from nas_search.data_sources import load_data
from nas_search.evaluation import SupernetAccuracy
from nas_search.losses import Pieces, Replay, complement, previous
from nas_search.roles import Event
from nas_search.searching import complete
from nas_search.state import SearchState

METHODS: dict[str, Callable[[], Method]] = {
    "uniform paths": methods.random_nas,
    "NSAS, M = 5": methods.nsas,
    "complementation": lambda: replace(methods.random_nas(), loss=Replay(Pieces((previous, complement)))),
}


class Scores:
    """Scores fixed architectures every few steps."""

    def __init__(self, texts: list[str], every: int) -> None:
        self.texts, self.every = texts, every
        self.steps: list[int] = []
        self.scores: list[list[float]] = [[] for _ in texts]
        self.cpu = 0.0

    def __call__(self, event: Event) -> None:
        """See `Observer`."""
        state = event.state
        if event.kind != "step" or not isinstance(state, SearchState) or state.position % self.every:
            return
        start, evaluate = time.process_time(), SupernetAccuracy(500)
        self.steps.append(state.position)
        for text, scores in zip(self.texts, self.scores, strict=True):
            scores.append(100 * evaluate(state.space.parse(text), state))
        self.cpu += time.process_time() - start


def falls(scores: list[float]) -> float:
    """The mean fall from one score to the next."""
    return statistics.mean(max(0.0, before - after) for before, after in itertools.pairwise(scores))


def draw(found: dict[str, list[Scores]], stem: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.fonttype"] = "none"  # text as text: a quarter of the size
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(3.4 * len(found), 3), sharey=True, squeeze=False)
    for axis, (name, runs) in zip(axes.flat, found.items(), strict=True):
        for scores in runs[0].scores:
            axis.plot(runs[0].steps, scores, linewidth=1)
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    axes.flat[0].set_ylabel("validation accuracy, %")
    figure.tight_layout()
    for kind in (".svg", ".png"):
        figure.savefig(stem.with_suffix(kind), dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--plot", type=Path, required=True, metavar="STEM")
    parser.add_argument("--architectures", type=int, default=5)
    parser.add_argument("--every", type=int, default=10, help="steps between two scores")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0])
    parser.add_argument("--image", type=int, default=16)
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--cells", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=64)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    source = load_data(arguments.data)
    assert isinstance(source, ImageData)
    data = shrink(source, arguments.image)
    found: dict[str, list[Scores]] = {}
    for name, make in METHODS.items():
        for seed in arguments.seeds:
            state = begin(make(), data, arguments.epochs, seed, arguments)
            generator = torch.Generator().manual_seed(0)
            watch = Scores(
                [str(state.space.sample(generator)) for _ in range(arguments.architectures)], arguments.every
            )
            start = time.process_time()
            complete(state, None, observers=[watch])
            seconds = time.process_time() - start - watch.cpu
            found.setdefault(name, []).append(watch)
            last = state.steps // arguments.every
            end = statistics.mean(statistics.mean(scores[-last:]) for scores in watch.scores)
            fall = statistics.mean(map(falls, watch.scores))
            print(
                f"{name}, seed {seed}: {end:.1f} %, falls by {fall:.2f} a time, {seconds:.0f} s of CPU time", flush=True
            )
    draw(found, arguments.plot)


if __name__ == "__main__":
    main()
