"""Every method against the table of digits: how good what it finds is, beside random search at equal cost.

    python benchmarks/bench_digits.py --json digits_methods.json                        # black-box methods, 20 seeds
    python benchmarks/bench_digits.py --json digits_methods.json --searches --seeds 5   # methods with a supernet
    python benchmarks/bench_digits.py --json digits_variants.json --variants --seeds 5   # the same with other settings

A black-box method is given `QUERIES` validation accuracies of the table, as random search is. A method with a supernet searches
for `EPOCHS` epochs on the digits; its cost is CPU time, and random search is given as many queries as trainings of the table's
length fit into that time, at least one: the mean seconds of a training stand in the table. Both end with the architecture
of best validation accuracy, or with the one they derive; the figure is its place among the 125 by mean test accuracy. What
random search finds is no run but its exact mean over all draws. The first seed of every method comes first, then the
second; `--table` prints the rows of what is done, and searches nothing.
"""

import argparse
import inspect
import json
import math
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from variants import SAME, VARIANTS, Variant

from nas_search import Method, methods
from nas_search.config import RunConfig
from nas_search.data_sources import digits
from nas_search.evaluation import TableScore
from nas_search.files import write_atomically
from nas_search.searching import complete
from nas_search.state import SearchState
from nas_spaces import load_table, nas_bench_201_small

SPACE, TABLE = nas_bench_201_small(), load_table("digits")
QUERIES, EPOCHS = 24, 12
RACES = ("hyperband", "successive_halving")
"""Their evaluators are made for a budget; the table has a single one."""


def is_black_box(name: str) -> bool:
    return name not in VARIANTS and "evaluator" in inspect.signature(getattr(methods, name)).parameters


def names(*, black_box: bool) -> list[str]:
    """The methods of the catalogue that search an architecture (augment_only does not)."""
    return [name for name in methods.__all__ if is_black_box(name) == black_box and name != "augment_only"]


def variants() -> list[str]:
    """The variants that are no method of the catalogue as it is."""
    return [name for name in VARIANTS if SAME.get(name) not in methods.__all__]


def composed(name: str) -> Method:
    """The method with the settings that `nascli search --data digits` gives it, or with the table as its evaluator."""
    if is_black_box(name):
        score = TableScore(TABLE)
        return getattr(methods, name)(evaluator=(lambda budget: score) if name in RACES else score)
    variant = VARIANTS.get(name, Variant(name))
    config = RunConfig(space=SPACE.name, method=variant.method, data="digits").resolved()
    return variant.composed(config.settings)


def search(name: str, seed: int, epochs: int | None = None) -> dict[str, Any]:
    """What one search finds: the figures of the table, and the CPU seconds."""
    method = composed(name)
    method.prepare(SPACE)
    begin = time.process_time()
    state = SearchState(
        SPACE,
        digits(),
        method,
        epochs=epochs or (QUERIES if is_black_box(name) else EPOCHS),
        batch_size=64,
        seed=seed,
        device=torch.device("cpu"),
        channels=4,
        cells=1,
    )
    found = complete(state, None).architecture
    return {
        "architecture": str(found),
        "test": TABLE.query(found),
        "rank": TABLE.rank(found),
        "seconds": time.process_time() - begin,
    }


def median() -> float:
    """The median mean test accuracy of the space."""
    return statistics.median(TABLE.query(a) for a in SPACE)


def equal_queries(seconds: float) -> int:
    """How many trainings of the table's length fit into the time."""
    return max(1, math.floor(seconds / TABLE.mean("train_time")))


def random_search(queries: int) -> float:
    """The mean test accuracy of the best by validation among so many uniform draws with replacement, exactly.

    The `i`-th of `n` by validation is the best of `q` draws with probability ``(i / n)^q - ((i - 1) / n)^q``.
    """
    ascending = sorted(SPACE, key=lambda each: TABLE.query(each, "valid"))
    n = len(ascending)
    best = [(place / n) ** queries - ((place - 1) / n) ** queries for place in range(1, n + 1)]
    return sum(chance * TABLE.query(each) for chance, each in zip(best, ascending, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="what is done; is continued")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--searches", action="store_true", help="the methods with a supernet")
    parser.add_argument("--variants", action="store_true", help="what variants.py has and the methods do not")
    parser.add_argument("--only", help="names of methods, separated by commas")
    parser.add_argument("--table", action="store_true", help="search nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    done: dict[str, Any] = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    every = variants() if arguments.variants else names(black_box=not arguments.searches)
    chosen = arguments.only.split(",") if arguments.only else every
    for seed in [] if arguments.table else range(arguments.seeds):
        for name in chosen:
            runs = done.setdefault(name, {})
            if str(seed) not in runs:
                runs[str(seed)] = search(name, seed)
                write_atomically(arguments.json, json.dumps(done, indent=0) + "\n")
    for name in chosen:
        if done.get(name):
            print(row(name, list(done[name].values())))


def row(name: str, runs: list[dict[str, Any]]) -> str:
    """One row of the table of `digits_table.md`."""
    tests, ranks = [run["test"] for run in runs], [run["rank"] for run in runs]
    seconds = statistics.mean(run["seconds"] for run in runs)
    queries = QUERIES if is_black_box(name) else equal_queries(seconds)
    above = sum(test > median() for test in tests)
    error = f" ± {statistics.stdev(tests) / len(tests) ** 0.5:.2f}" if len(tests) > 1 else ""
    return (
        f"| `{name}` | {statistics.mean(tests):.2f}{error} | {statistics.median(ranks):.0f} | {above} of {len(tests)} "
        f"| {seconds:.0f} | {queries} | {random_search(queries):.2f} |"
    )


if __name__ == "__main__":
    main()
