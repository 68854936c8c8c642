"""How a long search by DARTS ends in skip connections, and what is done about it.

    python examples/collapse_of_darts.py                                        # under a minute, on digits, too easy to collapse on
    python examples/collapse_of_darts.py --data npz:c10.npz --table nas_bench_201.npz --epochs 160

The weights of the supernet learn the few train images by heart. What they have learned helps little on the validation
images, and a skip connection, which has no weights, then looks best: edge after edge takes one, although the network that
is derived gets worse. Some answers to that, each a method of nas_search:

* Amended-DARTS adds the term that first-order DARTS leaves out, with ``eta H`` in place of the inverse Hessian;
* BaLeNAS learns a distribution of the architecture parameters, and so looks around each of them;
* early stopping: when the dominant eigenvalue of the Hessian rises (RobustDARTS), or when three of the cell's six edges are
  skip connections (DARTS+, where it is two of eight).

It prints how each ends, and draws the share of skip connections after each epoch, and with a table of NAS-Bench-201 the
true accuracy of the derived architecture, a line for each seed; a search that was stopped keeps what it found. What was run
already is kept beside the figure, in a JSON file, and not repeated.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from nas_augment import Policy
from nas_search import Examples, ImageData, Method, methods, search
from nas_search.data_sources import load_data
from nas_spaces import Table, load_table, nas_bench_201

Run = dict[str, Any]

METHODS: dict[str, Callable[[float, int], Method]] = {
    "DARTS": lambda rate, _: methods.darts(architecture_learning_rate=rate),
    "Amended-DARTS": lambda rate, _: methods.amended_darts(architecture_learning_rate=rate),
    "BaLeNAS": lambda rate, images: methods.balenas(architecture_learning_rate=rate, observations=images),
    "stopped by eigenvalue": lambda rate, _: methods.darts(stop_eigenvalue=0.75, architecture_learning_rate=rate),
    "stopped by skips": lambda rate, _: methods.darts(stop_skips=3, architecture_learning_rate=rate),
}


def few(data: ImageData, images: int, size: int) -> ImageData:
    """The first train images, shrunk to ``size x size`` by averaging and not augmented: they are soon known by heart."""

    def shrink(examples: Examples) -> Examples:
        means = F.adaptive_avg_pool2d(examples.images.float(), size)
        return Examples(means.round().to(torch.uint8), examples.labels)

    taken = data.train.take(torch.arange(min(images, len(data.train.labels))))
    return ImageData(data.name, shrink(taken), shrink(data.test), Policy())


def ending(name: str, seed: int, data: ImageData, table: Table | None, options: argparse.Namespace) -> Run:
    """Search, and say how it ended and what the derived architecture was after each epoch."""
    result = search(
        nas_bench_201(),
        data,
        METHODS[name](options.rate, options.images // 2),
        epochs=options.epochs,
        batch_size=64,
        seed=seed,
        device="cpu",
        channels=4,
        cells=1,
    )
    texts = [record["architecture"] for record in result.history]
    # After the end of the search, what it found.
    held = texts + [str(result.architecture)] * (options.epochs - len(texts))
    return {
        "method": name,
        "seed": seed,
        "epochs": len(texts),
        "seconds": result.seconds,
        "architecture": str(result.architecture),
        "share": [text.count("skip_connect") / 6 for text in held],  # of six edges
        "truth": [table.query(text) for text in held] if table else [],
    }


def told(run: Run) -> str:
    """A run in one line."""
    share, truth = run["share"], run["truth"]
    true = f", table test {truth[-1]:.2f} %, lowest {min(truth):.2f} %" if truth else ""
    return (
        f"{run['method']}, seed {run['seed']}: {run['epochs']} epochs, {run['seconds']:.0f} s, skip share {share[-1]:.2f}, "
        f"highest {max(share):.2f}{true}; {run['architecture']}"
    )


def draw(runs: list[Run], stem: Path) -> None:
    """A panel for each figure, a colour and a dash for each method, a line for each seed."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.fonttype"] = "none"  # text as text: a quarter of the size
    from matplotlib import pyplot as plt

    panels = {"share": "share of skip connections", "truth": "table test accuracy, %"}
    panels = {key: label for key, label in panels.items() if all(run[key] for run in runs)}
    figure, axes = plt.subplots(1, len(panels), figsize=(4.8 * len(panels), 3.7), squeeze=False, layout="constrained")
    names, dashes = list(METHODS), ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
    for axis, (key, label) in zip(axes.flat, panels.items(), strict=True):
        seen: set[str] = set()
        for run in runs:
            name, values = run["method"], run[key]
            shown = name if name not in seen else None
            number = names.index(name)
            style = {"color": f"C{number}", "linestyle": dashes[number % len(dashes)], "linewidth": 1.2}
            axis.plot(range(1, len(values) + 1), values, label=shown, **style)
            seen.add(name)
        axis.set_xlabel("epoch")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(names), fontsize=8)
    for kind in (".svg", ".png"):
        figure.savefig(stem.with_suffix(kind), dpi=120)


def main() -> None:
    """Run every method with every seed, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="source of images, as in `nascli search`")
    parser.add_argument("--images", type=int, default=1000, help="train images; half of them validate")
    parser.add_argument("--size", type=int, default=8, help="height and width to which images are shrunk")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate of the architecture parameters")
    parser.add_argument("--methods", default=",".join(METHODS), help="names with commas between them")
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0])
    parser.add_argument("--table", help="NAS-Bench-201, for the true accuracies (CIFAR-10)")
    parser.add_argument(
        "--out", type=Path, default=Path("collapse_of_darts"), help="of figure and JSON, without their endings"
    )
    options = parser.parse_args()
    table = load_table(options.table) if options.table else None
    source = load_data(options.data)
    assert isinstance(source, ImageData), "give a source of images"
    data = few(source, options.images, options.size)
    file = options.out.with_suffix(".json")
    known: dict[str, Run] = json.loads(file.read_text()) if file.exists() else {}
    runs = []
    for name in options.methods.split(","):
        for seed in options.seeds:
            key = f"{name}, seed {seed}, {options.epochs} epochs at {options.rate} on {data.fingerprint}, {table}"
            if key not in known:
                known[key] = ending(name, seed, data, table, options)
                file.write_text(json.dumps(known, indent=1) + "\n")
            runs.append(known[key])
            print(told(known[key]), flush=True)
    draw(runs, options.out)
    print(f"drawn into {options.out.with_suffix('.svg')}")


if __name__ == "__main__":
    main()
