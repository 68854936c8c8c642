"""The claims of DAAS about joint search, re-measured at the scale of two cores: Tables 4, 6 and 7, and the time of a step.

For each seed, `daas` searches an architecture and a policy jointly, and once more one after the other (`independent`), on the
same number of steps. Then networks are trained anew on all train images and tested:

* Table 4: each joint architecture with the policy found for it, and with what is customary alone;
* Table 6: joint against independent, each architecture with its own policy;
* Table 7: architecture of search i with the policy of search j, all trained from one and the same seed a row.

    python benchmarks/bench_joint.py --data npz:c10.npz --out joint.json
    python benchmarks/bench_joint.py --out joint.json --table

Every result is written to the file at once; a run that was interrupted goes on where it was. The time of a step is CPU time
of one thread, the median over steps of settings that take turns, beside the count of passes through the supernet.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from bench_planted import smaller, train

from nas_augment import Policy
from nas_search import methods
from nas_search.batches import Batch
from nas_search.data import ImageData
from nas_search.data_sources import load_data
from nas_search.method import Method
from nas_search.searching import complete
from nas_search.state import SearchState
from nas_spaces import nas_bench_201

PASSES: Mapping[str, Callable[[], Method]] = {
    "daas, 5 architectures, 2 policies, 10 paths": lambda: methods.daas(5, 2, 10, warmup=0.0),
    "daas, 2 architectures, 2 policies, 4 paths": lambda: methods.daas(2, 2, 4, warmup=0.0),
    "daas, 1 architecture, 2 policies, 1 path": lambda: methods.daas(1, 2, 1, warmup=0.0),
    "dha": methods.dha,
    "dha, architecture alone": lambda: methods.dha(("architecture",)),
}


class Results:
    """What was measured, by its name, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, name: str, measure: Callable[[], Any]) -> Any:
        """The value of that name, measured if it is not there."""
        if name not in self.values:
            self.values[name] = measure()
            partial = self.path.with_suffix(".partial")
            partial.write_text(json.dumps(self.values, indent=1))
            partial.replace(self.path)
            print(name, str(self.values[name])[:90], flush=True)
        return self.values[name]


def find(data: ImageData, independent: bool, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    method = methods.daas(
        2,
        2,
        4,
        warmup=0.5 if independent else 0.2,
        independent=independent,
        all_options=options.all_options,
        share="operation",
        per="image",
        architecture_learning_rate=0.01,
        policy_learning_rate=0.05,
    )
    sizes = {"epochs": options.epochs, "batch_size": 64, "channels": options.channels, "cells": 1}
    state = SearchState(nas_bench_201(), data, method, seed=seed, device=torch.device("cpu"), **sizes)
    started = time.process_time()
    result = complete(state, None)
    seconds = time.process_time() - started
    return {"architecture": str(result.architecture), "policy": json.loads(result.policy.to_json()), "cpu": seconds}


def passes(data: ImageData, channels: int) -> dict[str, Any]:
    """CPU seconds of a step and passes through the supernet, for each setting of `PASSES`."""
    states, counts, seconds = {}, dict.fromkeys(PASSES, 0), {name: [] for name in PASSES}
    for name, make in PASSES.items():
        state = SearchState(
            nas_bench_201(),
            data,
            make(),
            epochs=1,
            batch_size=64,
            seed=0,
            device=torch.device("cpu"),
            channels=channels,
            cells=1,
        )

        def note(_module: object, _inputs: object, name: str = name) -> None:
            counts[name] += 1

        state.require_supernet().register_forward_pre_hook(note)
        states[name] = state
    for step in range(13):
        for name, state in states.items():
            before, started = counts[name], time.process_time()
            batch = Batch(state.train, state.valid, step % state.steps)
            for update in state.method.sequence:
                update(state, batch)
            if step >= 2:  # the first ones make what is made once
                seconds[name].append(time.process_time() - started)
            last = counts[name] - before
            counts[name] = before + last
    return {
        name: {"passes": counts[name] / 13, "milliseconds": 1000 * statistics.median(times)}
        for name, times in seconds.items()
    }


def measure(data: ImageData, results: Results, options: argparse.Namespace) -> None:
    seeds, space = [int(each) for each in options.seeds.split(",")], nas_bench_201()
    results.get("passes", lambda: passes(data, options.channels))
    found = {
        (kind, seed): results.get(
            f"search {kind} {seed}", lambda kind=kind, seed=seed: find(data, kind == "independent", seed, options)
        )
        for seed in seeds
        for kind in ("joint", "independent")
    }

    def accuracy(kind: str, seed: int, policy: Policy) -> float:
        architecture = space.parse(found[kind, seed]["architecture"])
        return train(space, architecture, data, policy, options.train_epochs, seed, options.channels)

    def learned(kind: str, seed: int) -> Policy:
        return Policy.from_json(json.dumps(found[kind, seed]["policy"]))

    for i in seeds:
        results.get(f"default {i}", lambda i=i: accuracy("joint", i, data.policy))
        results.get(f"joint {i} {i}", lambda i=i: accuracy("joint", i, learned("joint", i)))
        results.get(f"independent {i}", lambda i=i: accuracy("independent", i, learned("independent", i)))
    for i in seeds:
        for j in seeds:
            results.get(f"joint {i} {j}", lambda i=i, j=j: accuracy("joint", i, learned("joint", j)))


def table(values: Mapping[str, Any], seeds: list[int]) -> str:
    def row(name: str, each: list[float]) -> str:
        spread = statistics.stdev(each) if len(each) > 1 else 0.0
        cells = ", ".join(f"{100 * value:.1f}" for value in each)
        return f"| {name} | {100 * statistics.mean(each):.1f} ± {100 * spread:.1f} | {cells} |"

    lines = ["| trained with | accuracy, % | seeds |", "|---|---:|---|"]
    lines.append(row("joint architecture, customary alone (Table 4)", [values[f"default {i}"] for i in seeds]))
    lines.append(row("joint architecture, its policy (Tables 4, 6)", [values[f"joint {i} {i}"] for i in seeds]))
    lines.append(row("independent (Table 6)", [values[f"independent {i}"] for i in seeds]))
    lines += ["", "| architecture | " + " | ".join(f"policy {j}" for j in seeds) + " |", "|---|" + "---:|" * len(seeds)]
    lines += [f"| {i} | " + " | ".join(f"{100 * values[f'joint {i} {j}']:.1f}" for j in seeds) + " |" for i in seeds]
    lines += ["", "| step | passes | ms | ms a pass |", "|---|---:|---:|---:|"]
    for name, each in values["passes"].items():
        count, took = each["passes"], each["milliseconds"]
        lines.append(f"| {name} | {count:g} | {took:.0f} | {took / count:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=20, help="of a search")
    parser.add_argument("--train-epochs", type=int, default=30)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument(
        "--all-options", action="store_true", help="differentiate the options that are not drawn as well"
    )
    parser.add_argument("--table", action="store_true", help="only print what the file holds")
    options = parser.parse_args()
    results = Results(options.out)
    if not options.table:
        data = load_data(options.data)
        assert isinstance(data, ImageData)
        # All test images: the differences are small.
        data = replace(smaller(data, options.images, options.side), test=smaller(data, 0, options.side).test)
        measure(data, results, options)
    print(table(results.values, [int(each) for each in options.seeds.split(",")]))


if __name__ == "__main__":
    main()
