"""What the shipped table of digits is like: spread, noise between seeds, rank correlation between seeds, histogram.

Run it as::

python benchmarks/digits_report.py --figure benchmarks/figures/digits_table.svg
"""

import argparse
import itertools
import statistics
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from nas_spaces import load_table, nas_bench_201_small

SEEDS = 3


def column(metric: str) -> NDArray[np.float64]:
    """The figures of all architectures, ``(architectures, seeds)``."""
    table = load_table("digits")
    return np.array([[table.query(a, metric, seed=s) for s in range(SEEDS)] for a in nas_bench_201_small()])


def noise(values: NDArray[np.float64]) -> float:
    """Standard deviation between the seeds of one architecture: the root of the mean variance."""
    return float(values.var(axis=1, ddof=1).mean() ** 0.5)


def correlations(values: NDArray[np.float64]) -> tuple[float, float]:
    """Spearman's and Kendall's coefficient, each the mean over the pairs of seeds."""
    pairs = list(itertools.combinations(values.T, 2))
    return (
        statistics.mean(float(spearmanr(a, b).statistic) for a, b in pairs),
        statistics.mean(float(kendalltau(a, b).statistic) for a, b in pairs),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", type=Path, help="draw the histogram of the mean test accuracy")
    arguments = parser.parse_args()
    columns = {metric: column(metric) for metric in ("valid", "test", "train")}
    # Cells that pass nothing on answer at random; among the others the ranking is harder.
    connected = columns["test"].max(axis=1) > 20
    print("| accuracy | networks | least | median | best | s.d. of networks | s.d. of seeds | Spearman | Kendall |")
    print("|---|---|---|---|---|---|---|---|---|")
    for metric, values in columns.items():
        for name, kept in (("all", values), ("connected", values[connected])):
            means = kept.mean(axis=1)
            rho, tau = correlations(kept)
            figures = [means.min(), np.median(means), means.max(), means.std(ddof=1), noise(kept), rho, tau]
            print(f"| {metric} | {name}, {len(kept)} | " + " | ".join(f"{figure:.2f}" for figure in figures) + " |")
    valid, test = (columns[metric].mean(axis=1) for metric in ("valid", "test"))
    print(f"\nSpearman of mean valid and mean test accuracy: {spearmanr(valid, test).statistic:.2f}")
    print(f"CPU seconds of all trainings: {column('train_time').sum():.0f}")
    order = np.argsort(-valid)
    architectures = list(nas_bench_201_small())
    print("\n| rank | architecture | valid | test |\n|---|---|---|---|")
    for rank in (*range(5), 31, 62, 93, 124):
        index = order[rank]
        print(
            f"| {rank + 1} | `{str(architectures[index]).replace('|', '/')}` | {valid[index]:.2f} | {test[index]:.2f} |"
        )
    if arguments.figure:
        draw(valid, arguments.figure)


def draw(valid: NDArray[np.float64], figure: Path) -> None:
    """The histogram; the networks that answer at random are named beside it, so that the axis shows the others."""
    import matplotlib.pyplot as plt

    shown = valid[valid > 20]
    axes = plt.figure(figsize=(7, 3.6), layout="constrained").gca()
    axes.hist(shown, bins=24, color="#2b6cb0")
    axes.set(
        xlabel=f"validation accuracy, mean of three seeds (%); {len(valid) - len(shown)} more at chance, near 10",
        ylabel="networks",
    )
    axes.figure.savefig(figure)


if __name__ == "__main__":
    main()
