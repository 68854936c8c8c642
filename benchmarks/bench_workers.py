"""How much faster two workers score candidates that are trained: ``python bench_workers.py``.

Random search on digits, two candidates an epoch, each trained for five epochs unless said otherwise; by this process, by one
worker and by two, in turn, one thread each. What counts is the time of the epochs after the first, in which workers start; that
is told beside.
"""

import argparse
import statistics

from nas_search import methods, search
from nas_search.data_sources import load_data
from nas_search.engines import LocalEngine
from nas_spaces import nas_bench_201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="searches of each kind")
    parser.add_argument("--epochs", type=int, default=4, help="of a search")
    parser.add_argument("--candidate-epochs", type=int, default=5, help="of the training of a candidate")
    arguments = parser.parse_args()
    space, data = nas_bench_201(), load_data("digits")
    method = methods.random_search(parallel=2, candidate_epochs=arguments.candidate_epochs)
    seconds: dict[int, list[float]] = {0: [], 1: [], 2: []}
    first: dict[int, list[float]] = {0: [], 1: [], 2: []}
    found = set()
    for _ in range(arguments.rounds):
        for workers in seconds:
            engine = LocalEngine(workers) if workers else None
            result = search(
                space,
                data,
                method,
                epochs=arguments.epochs,
                batch_size=64,
                channels=8,
                cells=1,
                device="cpu",
                engine=engine,
            )
            first[workers].append(result.history[0]["seconds"])
            seconds[workers] += [record["seconds"] for record in result.history[1:]]
            found.add((str(result.architecture), tuple(record["valid_accuracy"] for record in result.history)))
    assert len(found) == 1, "the result depends on the workers"
    for workers, times in seconds.items():
        said = f"{workers} worker(s)" if workers else "this process"
        median = statistics.median(times)
        ratio = statistics.median(seconds[0]) / median
        print(
            f"{said}: {median:.2f} s an epoch of two candidates ({min(times):.2f} to {max(times):.2f}), {ratio:.2f} times as fast; "
            f"the first epoch {statistics.median(first[workers]):.1f} s"
        )


if __name__ == "__main__":
    main()
