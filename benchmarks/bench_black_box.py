"""Black-box searchers on the table of NAS-Bench-201: regret after so many queries, and seconds a suggestion.

A query is one architecture's validation accuracy; what a searcher has found is its best by validation, and the regret is
how far that is from the table's best, in validation and in test accuracy. A run is ended where the table's best validation
accuracy has been found, since nothing can change after that.

    python benchmarks/bench_black_box.py --table nas_bench_201.npz --seeds 20 --json black_box.json
    python benchmarks/bench_black_box.py --table nas_bench_201.npz --only "Bayesian optimisation, Weisfeiler-Lehman" --queries 100
    python benchmarks/bench_black_box.py --plot black_box.json --figure regret.svg
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nas_search import Method, methods
from nas_search.data_sources import fake
from nas_search.evaluation import TableScore
from nas_search.roles import Evaluator
from nas_search.state import SearchState
from nas_spaces import Table, load_table, nas_bench_201

# After how many queries the regrets are reported, and drawn.
QUERIES = (50, 100, 200, 300)
CURVE = tuple(range(10, max(QUERIES) + 1, 10))

SEARCHERS: dict[str, Callable[[Evaluator], Method]] = {
    "random search": lambda score: methods.random_search(evaluator=score),
    "local search": lambda score: methods.local_search(evaluator=score),
    "regularised evolution, 10 / 3": lambda score: methods.regularized_evolution(evaluator=score),
    "regularised evolution, 50 / 10": lambda score: methods.regularized_evolution(
        population=50, tournament=10, evaluator=score
    ),
    "regularised evolution, 100 / 25": lambda score: methods.regularized_evolution(
        population=100, tournament=25, evaluator=score
    ),
    "Bayesian optimisation": lambda score: methods.bayesian_optimization(evaluator=score),
    "Bayesian optimisation, Weisfeiler-Lehman": lambda score: methods.bayesian_optimization(
        kernel="weisfeiler_lehman", evaluator=score
    ),
    "Bayesian optimisation, paths": lambda score: methods.bayesian_optimization(kernel="paths", evaluator=score),
}


def begin(method: Method, seed: int) -> SearchState:
    """A search at its beginning; the images are never looked at."""
    return SearchState(
        nas_bench_201(),
        fake("1x8x8", count=64),
        method,
        epochs=max(QUERIES),
        batch_size=8,
        seed=seed,
        device=torch.device("cpu"),
        channels=4,
        cells=1,
    )


def suggestion(table: Table, kernel: str, cost: str = "none", observations: int = 200, repeat: int = 5) -> float:
    """Median seconds of a suggestion of Bayesian optimisation after so many random observations."""
    score = TableScore(table)
    state = begin(methods.random_search(evaluator=score), 0)
    for _ in range(observations):
        state.advance()
    state.method = methods.bayesian_optimization(kernel=kernel, cost=cost, evaluator=score)
    seconds = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        state.method.sampler(state)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])  # the first one imports botorch


def run(method: Method, table: Table, seed: int, most: int) -> dict[str, Any]:
    """The regrets of one run after each number of `QUERIES` up to the most, and how many queries it took."""
    state = begin(method, seed)
    best = table.best("valid") / 100
    while len(state.archive) < most and (not state.archive or state.archive[-1][1] < best):
        state.advance()
    counts = sorted(count for count in {*QUERIES, *CURVE} if count <= most)
    found = {count: max(state.archive[:count], key=lambda entry: entry[1])[0] for count in counts}
    return {
        "valid": {count: table.regret(text, "valid") for count, text in found.items()},
        "test": {count: table.regret(text, "test") for count, text in found.items()},
        "queries": len(state.archive),
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard error of both regrets, and the mean number of queries until the best was found or the end."""
    row: dict[str, Any] = {}
    for metric in ("valid", "test"):
        for count in (each for each in QUERIES if each in runs[0][metric]):
            values = [each[metric][count] for each in runs]
            error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
            row[f"{metric} {count}"] = [statistics.mean(values), error]
    row["curve"] = [
        statistics.mean(each["test"][count] for each in runs) for count in CURVE if count in runs[0]["test"]
    ]
    row["queries"] = statistics.mean(each["queries"] for each in runs)
    return row


def plot(results: dict[str, Any], figure: Path) -> None:
    """Mean test regret over the queries."""
    import matplotlib.pyplot as plt

    axes = plt.figure(figsize=(7, 4.2), layout="constrained").gca()
    styles = ("-", "--", "-.", ":")
    rows = [(name, row) for name, row in results.items() if isinstance(row, dict) and "curve" in row]
    for place, (name, row) in enumerate(rows):
        # A regret of zero has no place on a logarithmic axis: the line ends there.
        axes.plot(CURVE[: len(row["curve"])], [value or None for value in row["curve"]], styles[place % 4], label=name)
    axes.set(xlabel="queries", ylabel="mean test regret (points of accuracy)", yscale="log")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    axes.figure.savefig(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", choices=list(SEARCHERS))
    parser.add_argument("--queries", type=int, default=max(QUERIES), choices=QUERIES, help="end after so many")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--plot", type=Path, help="draw what an earlier run wrote with --json, and end")
    parser.add_argument("--figure", type=Path, default=Path("black_box.svg"))
    options = parser.parse_args()
    if options.plot:
        plot(json.loads(options.plot.read_text()), options.figure)
        return
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    table = load_table(options.table)
    kinds = (("hamming", "none"), ("weisfeiler_lehman", "none"), ("paths", "none"), ("hamming", "parameters"))
    seconds = {f"{kernel}, cost {cost}": suggestion(table, kernel, cost) for kernel, cost in kinds}
    results: dict[str, Any] = {"seconds a suggestion at 200 observations": seconds}
    print(results, flush=True)
    for name, make in SEARCHERS.items():
        if options.only in (None, name):
            runs = [run(make(TableScore(table)), table, seed, options.queries) for seed in range(options.seeds)]
            results[name] = summary(runs)
            print(name, json.dumps(results[name]), flush=True)
            if options.json:
                options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
