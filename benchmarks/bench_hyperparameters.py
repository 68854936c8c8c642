"""Learned hyper-parameters from bad starts, and the components of DHA on and off; one thread.

    OMP_NUM_THREADS=1 python benchmarks/bench_hyperparameters.py starts --out starts.json
    OMP_NUM_THREADS=1 python benchmarks/bench_hyperparameters.py components --out components.json
    OMP_NUM_THREADS=1 python benchmarks/bench_hyperparameters.py components --data npz:c10.npz --images 1000 --side 16
    python benchmarks/bench_hyperparameters.py draw starts.json --out benchmarks/figures/hyperparameters.svg

The tables of joint_hyperparameters.md are printed as Markdown. Needs matplotlib for the picture. The data are
digits where none are named; `--images` and `--side` make them small as in bench_planted.py, with all test images.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from bench_planted import smaller

from nas_search import ImageData, Method, methods, search
from nas_search.data_sources import load_data
from nas_search.evaluation import top1
from nas_search.hyperparameters import LearnedHyperparameters, Range
from nas_search.optimizers import SGD, Adam
from nas_search.schedules import Constant
from nas_spaces import nas_bench_201

GOOD_DECAY = 5e-4
FACTORS = (0.1, 0.3, 1, 3, 10, 30)
SEEDS = (0, 1, 2)


def fixed(rate: float, decay: float = GOOD_DECAY) -> Method:
    """One-stage ISTA-NAS at a constant learning rate."""
    return methods.dha(("architecture",), learning_rate=rate, weight_decay=decay, architecture_learning_rate=0.01)


def learned(rate: float, decay: float = GOOD_DECAY, **settings: Any) -> Method:
    """The same with both learned, in ranges of three to five decades."""
    tuned = LearnedHyperparameters(
        learning_rate=Range(rate, 1e-4, 10.0),
        weight_decay=Range(decay, 1e-6, 0.1),
        **{"optimizer": Adam(Constant(0.03), (0.9, 0.999), 0.0), **settings},
    )
    return replace(fixed(rate, decay), hyperparameters=tuned)


def starts(rate: float) -> dict[str, Method]:
    """Fixed and learned, from a rate and from a tenth and ten times of it."""
    return {
        **{f"fixed, rate x {factor:g}": fixed(rate * factor) for factor in FACTORS},
        "learned from rate / 10": learned(rate / 10),
        "learned from the rate": learned(rate),
        "learned from rate x 10": learned(rate * 10),
        "learned, decay / 10": learned(rate, GOOD_DECAY / 10),
        "learned, decay x 10": learned(rate, GOOD_DECAY * 10),
        "learned on the batch of the step, from rate / 10": learned(rate / 10, examples="same"),
        "learned on the batch of the step, from rate x 10": learned(rate * 10, examples="same"),
        "raw form, beta 1e-3, from rate / 10": learned(
            rate / 10, log=False, optimizer=SGD(Constant(1e-3), 0.9, 5e-4, clip=None)
        ),
        "raw form, beta 1e-8 (released), from rate / 10": learned(
            rate / 10, log=False, optimizer=SGD(Constant(1e-8), 0.9, 5e-4, clip=None)
        ),
    }


_ALWAYS: dict[str, Any] = {"architecture_learning_rate": 0.01, "learning_rate": 0.05}
_TUNED: dict[str, Any] = {
    "lowest_learning_rate": 1e-3,
    "highest_learning_rate": 0.5,
    "logarithmic": True,
    "hyperparameter_learning_rate": 0.02,
}


def _variant(make: Callable[..., Method], *learn: str) -> Method:
    return make(("architecture", *learn), **_ALWAYS, **(_TUNED if "hyperparameters" in learn else {}))


COMPONENTS: dict[str, Method] = {
    "NAS alone (one-stage ISTA)": _variant(methods.dha),
    "sequential NAS + DA": _variant(methods.sequential_dha, "augmentation"),
    "sequential NAS + HPO": _variant(methods.sequential_dha, "hyperparameters"),
    "sequential DHA": _variant(methods.sequential_dha, "augmentation", "hyperparameters"),
    "joint NAS + DA": _variant(methods.dha, "augmentation"),
    "joint NAS + HPO": _variant(methods.dha, "hyperparameters"),
    "DHA": _variant(methods.dha, "augmentation", "hyperparameters"),
}


def measure(data: ImageData, cases: dict[str, Method], epochs: int, seeds: tuple[int, ...]) -> list[dict[str, Any]]:
    """Every case with every seed, the seeds outermost so that a busy machine disturbs all cases alike."""
    rows = []
    for seed in seeds:
        for name, method in cases.items():
            start = time.process_time()
            result = search(
                nas_bench_201(),
                data,
                method,
                epochs=epochs,
                batch_size=64,
                channels=8,
                cells=1,
                seed=seed,
                device="cpu",
            )
            seconds = time.process_time() - start
            assert result.network is not None
            row = {
                "case": name,
                "seed": seed,
                "test": 100 * top1(result.network, data.test, torch.device("cpu")),
                "train_loss": [record["train_loss"] for record in result.history],
                "schedule": dict(result.hyperparameters.get("schedule", {})),
                "architecture": str(result.architecture),
                "cpu_seconds": seconds,
            }
            rows.append(row)
            print(name, seed, f"{row['test']:.2f} %", f"{seconds:.0f} s", flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """A row per case: the mean and the standard deviation over the seeds."""
    lines = [
        "| case | test accuracy of each seed | mean ± s.d. | last train loss | "
        "learning rate: start, largest, last | weight decay: last | CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["case"] for row in rows):
        mine = [row for row in rows if row["case"] == name]
        tests = [row["test"] for row in mine]
        rates = [row["schedule"].get("learning_rate") for row in mine if row["schedule"]]
        decays = [row["schedule"]["weight_decay"][-1] for row in mine if row["schedule"]]
        three = (
            ", ".join(
                f"{statistics.mean(values):.3g}" for values in zip(*((r[0], max(r), r[-1]) for r in rates), strict=True)
            )
            if rates
            else ""
        )
        lines.append(
            f"| {name} | {', '.join(f'{value:.2f}' for value in tests)} | {statistics.mean(tests):.2f} ± "
            f"{statistics.stdev(tests) if len(tests) > 1 else 0:.2f} | "
            f"{statistics.mean(row['train_loss'][-1] for row in mine):.3f} | {three} | "
            f"{f'{statistics.mean(decays):.2g}' if decays else ''} | {statistics.median(row['cpu_seconds'] for row in mine):.0f} |"
        )
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]], rate: float, out: Path) -> None:
    """The learned values over the epochs, one thin line a seed; `rate` is that of the run."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "nas"
    panels = (
        (
            "learning_rate",
            "learning rate",
            ("learned from rate / 10", "learned from the rate", "learned from rate x 10"),
        ),
        ("weight_decay", "weight decay", ("learned, decay / 10", "learned from the rate", "learned, decay x 10")),
    )
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), constrained_layout=True)
    for axis, (key, label, cases) in zip(axes, panels, strict=True):
        for color, case in zip(("#0072b2", "#444444", "#d55e00"), cases, strict=True):
            for index, row in enumerate(row for row in rows if row["case"] == case):
                axis.plot(row["schedule"][key], color=color, linewidth=1.2, label=case if index == 0 else None)
        axis.set(yscale="log", xlabel="epoch", ylabel=label)
        axis.legend(frameon=False, fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    losses = {
        rate * factor: statistics.mean(
            row["train_loss"][-1] for row in rows if row["case"] == f"fixed, rate x {factor:g}"
        )
        for factor in FACTORS
    }
    best = [each for each, loss in losses.items() if loss < 2 * min(losses.values())]
    axes[0].axhspan(min(best), max(best), color="#009e73", alpha=0.2, linewidth=0)
    axes[0].set_title("shaded: fixed rates that end with less than twice the smallest train loss", fontsize=8)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, format="svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("starts", "components", "draw", "table"))
    parser.add_argument("rows", nargs="?", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--images", type=int, default=0, help="train images that are used; 0 for all")
    parser.add_argument("--side", type=int, default=0, help="of the images, in pixels; 0 as they are")
    parser.add_argument("--rate", type=float, default=0.03, help="the middle one of the starts")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    args = parser.parse_args()
    if args.part in ("draw", "table"):
        rows = json.loads(args.rows.read_text())
        if args.part == "table":
            print(table(rows))
        else:
            draw(rows, args.rate, args.out)
        return
    torch.set_num_threads(1)
    cases = starts(args.rate) if args.part == "starts" else COMPONENTS
    epochs = args.epochs or {"starts": 12, "components": 30}[args.part]
    data = load_data(args.data)
    assert isinstance(data, ImageData)
    data = replace(smaller(data, args.images, args.side), test=smaller(data, 0, args.side).test)
    chosen = {name: method for name, method in cases.items() if args.only in name}
    rows = measure(data, chosen, epochs, tuple(range(args.seeds)))
    if args.out:
        args.out.write_text(json.dumps(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
