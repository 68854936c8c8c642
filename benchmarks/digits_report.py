"""What the shipped table of digits is like: spread, noise between seeds, rank correlation between seeds, histogram.

Reads the trainings that `make_digits_table.py` keeps, also those of seeds that not every network has had yet::

    python benchmarks/digits_report.py --json benchmarks/digits_runs.json --figure benchmarks/figures/digits_table.svg
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

CHANCE = 20.0
"""Cells that pass nothing on answer at random, near 10 %."""


def first(runs: dict[str, Any], metric: str, seeds: int) -> NDArray[np.float64]:
    """The figures of the networks that have had so many seeds, ``(networks, seeds)``."""
    full = [found for found in runs.values() if all(str(seed) in found for seed in range(seeds))]
    return np.array([[found[str(seed)][metric] for seed in range(seeds)] for found in full]).reshape(-1, seeds)


def spread(runs: dict[str, Any]) -> None:
    """Quartiles of seed 0 over all networks that are not at chance."""
    print("| accuracy, seed 0 | networks above chance | least | quartile | median | quartile | best |")
    print("|---|---|---|---|---|---|---|")
    for metric in ("valid", "test", "train"):
        values = first(runs, metric, 1)[:, 0]
        above = values[values > CHANCE]
        quartiles = " | ".join(f"{value:.2f}" for value in np.percentile(above, (0, 25, 50, 75, 100)))
        print(f"| {metric} | {len(above)} of {len(values)} | {quartiles} |")


def agreement(runs: dict[str, Any]) -> None:
    """Of the first two seeds, over the networks that have both and are not at chance."""
    print("\n| accuracy, seeds 0 and 1 | networks | s.d. of seeds | s.d. of networks, seed 0 | Spearman | Kendall |")
    print("|---|---|---|---|---|---|")
    for metric in ("valid", "test"):
        pairs = first(runs, metric, 2)
        pairs = pairs[pairs.max(axis=1) > CHANCE]
        a, b = pairs.T
        noise = float(((a - b) ** 2 / 2).mean() ** 0.5)
        rho, tau = spearmanr(a, b).statistic, kendalltau(a, b).statistic
        print(f"| {metric} | {len(pairs)} | {noise:.2f} | {a.std(ddof=1):.2f} | {rho:.2f} | {tau:.2f} |")


def draw(runs: dict[str, Any], figure: Path) -> None:
    """The histogram; the networks that answer at random are named below it, so that the axis shows the others."""
    import matplotlib.pyplot as plt

    values = first(runs, "valid", 1)[:, 0]
    shown = values[values > CHANCE]
    axes = plt.figure(figsize=(7, 3.6), layout="constrained").gca()
    axes.hist(shown, bins=24, color="#2b6cb0")
    axes.set(xlabel=f"validation accuracy, seed 0 (%); {len(values) - len(shown)} more at chance", ylabel="networks")
    axes.figure.savefig(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--figure", type=Path, help="draw the histogram")
    arguments = parser.parse_args()
    runs = json.loads(arguments.json.read_text())
    spread(runs)
    agreement(runs)
    valid, test = first(runs, "valid", 1)[:, 0], first(runs, "test", 1)[:, 0]
    above = valid > CHANCE
    rho = spearmanr(valid[above], test[above]).statistic
    print(f"\nSpearman of validation and test accuracy, seed 0, above chance: {rho:.2f}")
    print(f"CPU seconds of a training, mean: {first(runs, 'train_time', 1).mean():.2f}")
    if arguments.figure:
        draw(runs, arguments.figure)


if __name__ == "__main__":
    main()
