"""Train every network of nas_bench_201_small on scikit-learn's digits: the table that `load_table("digits")` reads.

    python benchmarks/make_digits_table.py --json benchmarks/digits_runs.json
    python benchmarks/make_digits_table.py --json benchmarks/digits_runs.json --csv packages/nas-spaces/src/nas_spaces/digits.csv

There are 375 trainings; what is done is not repeated. The data are those of `nascli search --data digits`: its test part, and a
quarter of its train part to train on, the rest of which validates. Few images and narrow networks, so that the networks differ;
how much of that is noise stands in digits_table.md. One thread.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from nas_search.data import ImageData
from nas_search.data_sources import digits
from nas_search.evaluation import top1
from nas_search.files import write_atomically
from nas_search.loop import drive
from nas_search.optimizers import SGD
from nas_search.schedules import Cosine
from nas_search.training import TrainState
from nas_spaces import Architecture, nas_bench_201_small

SPACE = nas_bench_201_small()
SIZES = {"classes": 10, "channels": 3, "cells": 1}
EPOCHS, BATCH, TRAIN_SHARE = 80, 64, 0.25
OPTIMIZER = SGD(Cosine(0.05))
CPU = torch.device("cpu")
METRICS = ("test", "valid", "train", "train_time")


def trained(architecture: Architecture, data: ImageData, seed: int) -> dict[str, float]:
    """Accuracies in percent at the end of a training, and its seconds of CPU time."""
    train, valid = data.split(TRAIN_SHARE, 0)
    begin = time.process_time()
    state = TrainState(
        lambda: SPACE.network(architecture, **SIZES, in_channels=1),
        train,
        policy=data.policy,
        optimizer=OPTIMIZER,
        epochs=EPOCHS,
        batch_size=BATCH,
        seed=seed,
        device=CPU,
    )
    drive(state)
    seconds = time.process_time() - begin
    network = state.network.eval()
    parts = {"test": data.test, "valid": valid, "train": train}
    return {name: 100 * top1(network, part, CPU) for name, part in parts.items()} | {"train_time": seconds}


def train_all(path: Path, seeds: int) -> None:
    """Every network with one seed, then with the next; the file is written again after each training."""
    runs: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    data = digits()
    for seed in range(seeds):
        for number, architecture in enumerate(SPACE):
            if str(seed) not in runs.setdefault(str(architecture), {}):
                runs[str(architecture)][str(seed)] = trained(architecture, data, seed)
                write_atomically(path, json.dumps(runs, indent=0) + "\n")
                print(seed, number, architecture, runs[str(architecture)][str(seed)], flush=True)


def to_csv(runs: dict[str, Any], seeds: int) -> str:
    """The columns that `Table` documents: a figure, the epochs, the seed; and what does not depend on training."""
    names = [f"digits_{metric}_{EPOCHS}_seed{seed}" for metric in METRICS for seed in range(seeds)]
    lines = [",".join(["arch", "digits_params", "digits_flops", *names])]
    for architecture in SPACE:
        counts = SPACE.count(architecture, image=(1, 8, 8), **SIZES)
        found = runs[str(architecture)]
        figures = [f"{found[str(seed)][metric]:.3f}" for metric in METRICS for seed in range(seeds)]
        lines.append(
            ",".join([str(architecture), f"{counts.parameters / 1e6}", f"{counts.multiply_adds / 1e6}", *figures])
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="what is done; is continued")
    parser.add_argument("--csv", type=Path, help="write the table")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train_all(arguments.json, arguments.seeds)
    if arguments.csv:
        write_atomically(arguments.csv, to_csv(json.loads(arguments.json.read_text()), arguments.seeds))


if __name__ == "__main__":
    main()
