"""Files in the official format of NATS-Bench, written by the package's own classes."""

import bz2
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_spaces import nas_bench_201

SEEDS = (777, 888)
PARTS = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("x-valid", "x-test", "ori-test"),
    "ImageNet16-120": ("x-valid", "x-test", "ori-test"),
}
SPACE = nas_bench_201()
TEXTS = [str(SPACE.architecture(options)) for options in ([0] * 6, [3] * 6, [1, 2, 3, 4, 0, 1])]


def accuracy(index: int, epochs: int, dataset: str, part: str, seed: int) -> float:
    return 10 * index + epochs / 10 + len(dataset) + len(part) / 100 + (seed - 832.5) / 55.5


def results(index: int, epochs: int) -> Any:
    """One architecture's results as the package stores them."""
    api = pytest.importorskip("nats_bench.api_utils")
    archive = api.ArchResults(index, TEXTS[index])
    for dataset, parts in PARTS.items():
        for seed in SEEDS:
            losses = OrderedDict((epoch, 1.0) for epoch in range(epochs))
            config = {"channel": 16, "num_cells": 5, "arch_str": TEXTS[index], "class_num": 10}
            one = api.ResultsCount(dataset, None, losses, losses, 1.5 + index, 20.0, config, seed, epochs, [0.1])
            one.reset_pseudo_train_times(2.0)
            for part in parts:
                final = accuracy(index, epochs, dataset, part, seed)
                keys = [f"{part}@{epoch}" for epoch in range(epochs)]
                one.update_eval(
                    {key: np.float64(final) if key == keys[-1] else 0.0 for key in keys},
                    dict.fromkeys(keys, 0.5),
                    dict.fromkeys(keys, 0.25),
                )
            archive.update(dataset, seed, one)
    return archive.state_dict()


def content(lengths: tuple[int, int] = (12, 200)) -> dict[str, Any]:
    infos = {
        index: OrderedDict((str(epochs), results(index, epochs)) for epochs in lengths) for index in range(len(TEXTS))
    }
    return {"meta_archs": TEXTS, "arch2infos": infos, "evaluated_indexes": set(infos)}


def write(path: Path, value: Any, protocol: int = 4) -> Path:
    path.write_bytes(bz2.compress(pickle.dumps(value, protocol=protocol)))
    return path


def single(folder: Path, value: Any, protocol: int = 4) -> Path:
    return write(folder / "NATS-tss-v1_0-small.pickle.pbz2", value, protocol)


def simple(folder: Path, name: str = "{:06d}.pickle.pbz2") -> Path:
    folder = folder / "NATS-tss-v1_0-small-simple"
    folder.mkdir()
    everything = content()
    write(folder / "meta.pickle.pbz2", {key: everything[key] for key in ("meta_archs", "evaluated_indexes")})
    for index, info in everything["arch2infos"].items():
        write(folder / name.format(index), info)
    return folder
