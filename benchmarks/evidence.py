"""The page "What holds and what does not" of the documentation, from the recorded runs in benchmarks/evidence/.

    python benchmarks/evidence.py                    # writes docs/evidence.md
    python benchmarks/evidence.py --collect FOLDER   # first takes in the JSON files that bench_proxy.py left there

A record keeps the settings, the seed, the history of the search and what it found. What a comparison is worth is decided by
one rule, `verdict`, and by nobody's eye; claims that are judged by a page of benchmarks/ say which.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bench_digits
from evidence_claims import COMPARISONS, MAIN, NOT_RUN, TOLD, Better, Main, Told
from proxy_report import spread

from nas_search.files import write_atomically

Record = dict[str, Any]
FOLDER = Path(__file__).parent / "evidence"
PROXY, DIGITS = FOLDER / "proxy.jsonl", FOLDER / "digits_methods.json"
PAGE = Path(__file__).parent.parent / "docs" / "evidence.md"
MEDIAN_OF_TABLE = 90.75
"""The test accuracy that half of NAS-Bench-201's architectures exceed, see benchmarks/proxy.md."""
KEPT = (
    "epoch",
    "architecture",
    "test",
    "regret",
    "skip_share",
    "train_loss",
    "valid_loss",
    "valid_accuracy",
    "entropy",
)


def trimmed(record: Record) -> Record:
    """A record without what says nothing of the claims: clocks of the epochs, and where the data lay."""
    source = record["settings"]["data"]
    settings = record["settings"] | {"data": f"{source.split(':')[0]}:{Path(source).name}"}
    history = [{key: epoch[key] for key in KEPT if key in epoch} for epoch in record["history"]]
    return rounded(record | {"settings": settings, "history": history})


def rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list) else value


def collect(folder: Path) -> None:
    records = {(each["method"], each["seed"]): each for each in read()}
    for file in sorted(folder.glob("*-*.json")):
        record = trimmed(json.loads(file.read_text()))
        records[record["method"], record["seed"]] = record
    lines = [json.dumps(records[key], separators=(",", ":"), allow_nan=False) for key in sorted(records)]
    write_atomically(PROXY, "\n".join(lines) + "\n")


def read() -> list[Record]:
    return [json.loads(line) for line in PROXY.read_text().splitlines()] if PROXY.exists() else []


def verdict(differences: Sequence[float]) -> str:
    """What the differences of the seeds that both have say of a claim that they are positive."""
    if not differences:
        return "not run"
    if len(differences) < 3:
        return f"not decided: {len(differences)} seed{'s' if len(differences) > 1 else ''} in common"
    better = sum(each > 0 for each in differences)
    if better == len(differences):
        return f"**holds** with all {better} seeds"
    if sum(each < 0 for each in differences) == len(differences):
        return f"**does not hold**: the other way with all {len(differences)} seeds"
    return f"not decided: {better} seeds of {len(differences)}"


def by_seed(records: list[Record], name: str, figure: str) -> dict[int, float]:
    """The seeds of a method that have the figure; a tau of equal scores is none."""
    return {each["seed"]: each[figure] for each in records if each["method"] == name and each.get(figure) is not None}


def main_row(each: Main, records: list[Record]) -> str:
    found = by_seed(records, each.runs, "test")
    if not found:
        return f"| {each.method} | {each.paper} | not run | | | |"
    tau, values = list(by_seed(records, each.runs, "tau").values()), list(found.values())
    above = sum(value > MEDIAN_OF_TABLE for value in values)
    epochs = next(len(record["history"]) for record in records if record["method"] == each.runs)
    return (
        f"| {each.method} | {each.paper} | {spread(values)} ({', '.join(f'{value:.2f}' for value in values)}) | {epochs} "
        f"| {spread(tau) if tau else '-'} | {above} of {len(values)} |"
    )


def comparison_row(each: Better, records: list[Record]) -> str:
    ours, theirs = (by_seed(records, name, each.figure) for name in (each.runs, each.than))
    common = sorted(ours.keys() & theirs.keys())
    means = [f"{statistics.mean(values[seed] for seed in common):.2f}" if common else "-" for values in (ours, theirs)]
    said = verdict([ours[seed] - theirs[seed] for seed in common])
    return f"| {each.claim} | {each.paper} | {' to '.join(means)} | {', '.join(map(str, common))} | {said} |"


def told_row(each: Told) -> str:
    return (
        f"| {each.claim} | {each.paper} | {each.ours} | {each.scale} | {each.seeds} | `{each.command}` | {each.verdict} "
        f"(`benchmarks/{each.page}`) |"
    )


def digits_rows() -> str:
    done: dict[str, Any] = json.loads(DIGITS.read_text()) if DIGITS.exists() else {}
    names = bench_digits.names(black_box=False)
    return "\n".join(bench_digits.row(name, list(done[name].values())) for name in names if done.get(name))


def page(records: list[Record]) -> str:
    common = records[0]["settings"]
    return TEMPLATE.format(
        median=MEDIAN_OF_TABLE,
        runs=len(records),
        **common,
        main="\n".join(main_row(each, records) for each in MAIN),
        comparisons="\n".join(comparison_row(each, records) for each in COMPARISONS),
        told="\n".join(told_row(each) for each in TOLD),
        digits=digits_rows(),
        digits_median=f"{bench_digits.median():.2f}",
        digits_epochs=bench_digits.EPOCHS,
        not_run="\n".join(f"* {each}" for each in NOT_RUN),
    )


TEMPLATE = """# What holds and what does not

This page is written by `python benchmarks/evidence.py` from the runs that are recorded in `benchmarks/evidence/` of the
repository (settings, seed, what every epoch would have ended with, what was found). Nothing is left out because it came
out badly.

**The scale is not that of the papers.** Theirs is CIFAR-10 whole, 16 channels, five cells a stage, 25 to 250 epochs on a
GPU. Ours is what two CPU cores reach; a claim that does not hold here may hold there, and what holds here is no proof for
there.

## Searches judged by the table of NAS-Bench-201

    python benchmarks/bench_proxy.py --data {data} --truth nas_bench_201.npz --out proxy

{runs} recorded searches on 8,000 CIFAR-10 images of {image} x {image}, {channels} channels, {cells} cell a stage, batches of
{batch_size}, architecture learning rate {rate}; what was found is looked up in the table (200 epochs of the full network).
Paper: the thesis' CIFAR-10 test accuracy. Tau is Kendall's, between the table and 100 paths of the trained supernet. Half of
all architectures are better than {median}, so that the last column is what separates a search from drawing lots.

| method | paper | here: mean ± s.d. (each seed) | epochs | tau | above the median architecture |
|---|---|---|---|---|---|
{main}

The verdict of a comparison is by one rule, over the seeds that both have: it *holds* or *does not hold* where there are
three or more and all say the same, and is not decided otherwise. "A to B" are the means of the two over these seeds.

| claim | paper | here | seeds | verdict |
|---|---|---|---|---|
{comparisons}

## Methods with a supernet on the table of digits

    python benchmarks/bench_digits.py --json benchmarks/evidence/digits_methods.json --searches --seeds 5

{digits_epochs} epochs on scikit-learn's digits in the 125 networks of `nas_bench_201_small`, 4 channels, one cell a stage, with
the settings that `nascli search --data digits` gives a method. The median of the space is {digits_median}. Random search has as
many queries as trainings of the table fit into the method's CPU time; the last column is its exact mean. A method without a row
has not been run, and one with fewer than five seeds not to the end.

| method | test | rank of 125 | above the median | CPU s | queries | random search |
|---|---|---|---|---|---|---|
{digits}

## Other claims

The figures stand in the pages of `benchmarks/` that are named, with how they were measured; the verdicts are those of the pages.

| claim | paper | here | scale | seeds | command | verdict |
|---|---|---|---|---|---|---|
{told}

## What was not run

Of these claims nothing is said here, for want of runs:

{not_run}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collect", type=Path, metavar="FOLDER", help="the --out of bench_proxy.py")
    arguments = parser.parse_args()
    if arguments.collect:
        collect(arguments.collect)
    write_atomically(PAGE, page(read()))


if __name__ == "__main__":
    main()
