"""The tables of the ablations on the page that `evidence.py` writes."""

import statistics

from evidence_ablations import ABLATIONS, Ablation, Row, Shown
from evidence_records import ENOUGH_SEEDS, Record, on_digits, on_proxy, verdict

ABLATION = """### {title}

{source}.

| setting | paper | proxy: mean (each seed) | tau | digits: mean (each seed) | runs |
|---|---|---|---|---|---|
{rows}

| claim | paper | on the proxy | on digits |
|---|---|---|---|
{shows}"""

NOTHING = "| no setting of it was run | | | | | |"


def each_seed(found: dict[int, float]) -> str:
    """The mean and every seed; one seed is its own."""
    values = [found[seed] for seed in sorted(found)]
    listed = ", ".join(f"{value:.2f}" for value in values)
    return f"{statistics.mean(values):.2f} ({listed})" if len(values) > 1 else listed or "not run"


def setting_row(each: Row, records: list[Record]) -> str:
    tau = on_proxy(each.runs, records, "tau")
    return (
        f"| {each.setting} | {each.paper} | {each_seed(on_proxy(each.runs, records))} "
        f"| {f'{statistics.mean(tau.values()):.2f}' if tau else '-'} | {each_seed(on_digits(each.runs))} | `{each.runs}` |"
    )


def shown_row(each: Shown, printed: dict[str, str], records: list[Record]) -> str:
    paper = " to ".join(printed.get(name, "-") for name in (each.runs, each.than))
    said = []
    for find in (lambda name: on_proxy(name, records), on_digits):
        ours, theirs = find(each.runs), find(each.than)
        said.append(verdict([ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]))
    return f"| {each.claim} | {paper} | {said[0]} | {said[1]} |"


def tables(each: Ablation, records: list[Record]) -> str:
    """An ablation; settings of which there is no run are left to `unfinished`."""
    # A claim may compare with what another table has.
    printed = {row.runs: row.paper for other in (*ABLATIONS, each) for row in other.rows}
    return ABLATION.format(
        title=each.title,
        source=each.source[0].upper() + each.source[1:],
        rows="\n".join(setting_row(row, records) for row in each.rows if ran(row, records)) or NOTHING,
        shows="\n".join(shown_row(claim, printed, records) for claim in each.shows),
    )


def ran(each: Row, records: list[Record]) -> bool:
    return bool(on_proxy(each.runs, records) or on_digits(each.runs))


def unfinished(each: Ablation, records: list[Record]) -> list[str]:
    """The settings that have no three seeds on either measure."""
    return [
        row.setting
        for row in each.rows
        if max(len(on_proxy(row.runs, records)), len(on_digits(row.runs))) < ENOUGH_SEEDS
    ]
