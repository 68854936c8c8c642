"""The table and the figure of bench_proxy.py, from the files that its searches left."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Record = dict[str, Any]

_PANELS = 16


def load(folder: Path, names: Sequence[str]) -> dict[str, list[Record]]:
    """The records of each method that has any, by seed."""
    records = [json.loads(file.read_text()) for file in sorted(folder.glob("*-*.json"))]
    runs = {name: [record for record in records if record["method"] == name] for name in names}
    return {name: found for name, found in runs.items() if found}


def markdown(runs: dict[str, list[Record]]) -> str:
    """One line a method: means over seeds, and standard deviations where they matter."""
    lines = [
        "| method | seeds | table test | valid | regret | ranks of 15,625 | tau | CPU s | wall s | peak MiB | above start |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, records in runs.items():
        taus = [record["tau"] for record in records if record.get("tau") is not None]
        memory = statistics.median(record["peak_memory_mib"] for record in records)
        above = statistics.median(record["peak_memory_mib"] - record["start_memory_mib"] for record in records)
        cells = [
            f"`{name}`",
            str(len(records)),
            spread([record["test"] for record in records]),
            spread([record["valid"] for record in records]),
            f"{statistics.mean(record['regret'] for record in records):.2f}",
            ", ".join(f"{record['rank']:,}" for record in records),
            spread(taus) if taus else "-",
            f"{statistics.median(record['cpu_seconds'] for record in records):.0f}",
            f"{statistics.median(record['wall_seconds'] for record in records):.0f}",
            f"{memory:.0f}",
            f"{above:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation; the deviation of one value is not known."""
    mean = f"{statistics.mean(values):.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean


def figures(runs: dict[str, list[Record]], stem: Path) -> None:
    """A panel for each method, sixteen a figure: STEM, then STEM_2 and so on."""
    names = list(runs)
    for number, first in enumerate(range(0, len(names), _PANELS), 1):
        part = {name: runs[name] for name in names[first : first + _PANELS]}
        _figure(part, stem if number == 1 else stem.with_name(f"{stem.name}_{number}"))


def _figure(runs: dict[str, list[Record]], stem: Path) -> None:
    """The regret of every seed after each epoch, and their mean."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.fonttype"] = "none"  # text as text: a quarter of the size
    from matplotlib import pyplot as plt

    columns = 4
    rows = -(-len(runs) // columns)
    size = (2.6 * columns, 1.7 * rows + 0.4)
    grid, axes = plt.subplots(rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    for place, axis in enumerate(axes.flat):
        axis.set_visible(place < len(runs))
    for place, (axis, (name, records)) in enumerate(zip(axes.flat, runs.items(), strict=False)):
        curves = [
            {epoch["epoch"]: epoch["regret"] for epoch in record["history"] if "regret" in epoch} for record in records
        ]
        for curve in curves:
            axis.plot(list(curve), list(curve.values()), color="#9db8cf", linewidth=0.8)
        epochs = sorted(max(curves, key=lambda curve: len(curve)))
        # A search that has ended keeps what it found.
        mean = [statistics.mean(curve.get(epoch, list(curve.values())[-1]) for curve in curves) for epoch in epochs]
        axis.plot(epochs, mean, color="#1f6fb2", linewidth=1.8)
        axis.set_title(name, fontsize=8)
        axis.set_yscale("log")
        axis.set_yticks([1, 10, 80], ["1", "10", "80"])
        axis.minorticks_off()
        axis.locator_params(axis="x", nbins=3, integer=True)
        axis.tick_params(labelsize=7, labelbottom=place + columns >= len(runs))
        axis.grid(alpha=0.3)
    grid.supxlabel("epoch", fontsize=8)
    grid.supylabel("regret in table test accuracy, percentage points", fontsize=8)
    grid.tight_layout()
    for ending in (".svg", ".png"):
        grid.savefig(stem.with_suffix(ending), dpi=120)
    plt.close(grid)
