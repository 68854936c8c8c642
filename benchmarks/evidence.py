"""The page "What holds and what does not" of the documentation, from the recorded runs in benchmarks/evidence/.

    python benchmarks/evidence.py                    # writes docs/evidence.md
    python benchmarks/evidence.py --collect FOLDER   # first takes in the JSON files that bench_proxy.py left there

A record keeps the settings, the seed, the history of the search and what it found. What a comparison is worth is decided by
one rule, `verdict`, and by nobody's eye; claims that are judged by a page of benchmarks/ say which.
"""

import argparse
import statistics
from pathlib import Path

import bench_digits
from evidence_ablations import ABLATIONS
from evidence_claims import COMPARISONS, MAIN, NOT_RUN, TOLD, Better, Main, Told
from evidence_records import DIGITS, Record, by_seed, collect, loaded, read, verdict
from evidence_report import tables, unfinished
from proxy_report import spread

from nas_search.files import write_atomically

PAGE = Path(__file__).parent.parent / "docs" / "evidence.md"
MEDIAN_OF_TABLE = 90.75
"""The test accuracy that half of NAS-Bench-201's architectures exceed, see benchmarks/proxy.md."""


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
    done = loaded(DIGITS)
    names = bench_digits.names(black_box=False)
    return "\n".join(bench_digits.row(name, list(done[name].values())) for name in names if done.get(name))


def digits_said() -> str:
    """Which methods are not better than the median, and which not than random search, in the mean of their seeds."""
    done = loaded(DIGITS)
    runs = {name: done[name].values() for name in bench_digits.names(black_box=False) if done.get(name)}
    means = {name: statistics.mean(run["test"] for run in each) for name, each in runs.items()}
    costs = {name: statistics.mean(run["seconds"] for run in each) for name, each in runs.items()}
    random = {name: bench_digits.random_search(bench_digits.equal_queries(cost)) for name, cost in costs.items()}
    below = [f"`{name}`" for name, mean in means.items() if mean <= bench_digits.median()]
    no_better = [f"`{name}`" for name, mean in means.items() if mean <= random[name]]
    return (
        f"In the mean of their seeds, {len(below)} of {len(means)} are no better than the median of the space: {', '.join(below)}. "
        f"No better than random search at equal cost are {len(no_better)}: {', '.join(no_better)}."
    )


def not_run(records: list[Record]) -> list[str]:
    missing = {each.title: unfinished(each, records) for each in ABLATIONS}
    queued = [f"{title}, {len(left)} settings: {'; '.join(left)}" for title, left in missing.items() if left]
    return [*NOT_RUN, *(f"three seeds of: {each}" for each in queued)]


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
        ablations="\n\n".join(tables(each, records) for each in ABLATIONS),
        digits_said=digits_said(),
        not_run="\n".join(f"* {each}" for each in not_run(records)),
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

{digits_said}

## Ablations

    python benchmarks/bench_proxy.py --data {data} --truth nas_bench_201.npz --out proxy --variants
    python benchmarks/bench_digits.py --json benchmarks/evidence/digits_variants.json --variants --seeds 5

The settings that the papers vary, by the two measures above: the proxy of NAS-Bench-201 (one seed, or several in brackets;
test accuracy in its table, and tau), and the table of digits. The last column names the runs, in `benchmarks/variants.py`. The
rule of the verdicts is the one above. Of two settings that are worth the same, one is better with all of three seeds once in
eight times by chance, and with all of five once in 32: a single verdict of so many is weak evidence. More seeds are in the
queue of the two commands, which go on where they were interrupted.

{ablations}

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
