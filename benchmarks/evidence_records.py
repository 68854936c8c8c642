"""The recorded runs of benchmarks/evidence/, and the one rule by which they are judged."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from variants import SAME

from nas_search.files import write_atomically

Record = dict[str, Any]
FOLDER = Path(__file__).parent / "evidence"
PROXY, DIGITS, VARIED = (FOLDER / name for name in ("proxy.jsonl", "digits_methods.json", "digits_variants.json"))
ENOUGH_SEEDS = 3
"""Fewer decide nothing."""
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
    if len(differences) < ENOUGH_SEEDS:
        return f"not decided: {len(differences)} seed{'s' if len(differences) > 1 else ''} in common"
    better = sum(each > 0 for each in differences)
    if better == len(differences):
        return f"**holds** with all {better} seeds"
    if sum(each < 0 for each in differences) == len(differences):
        return f"**does not hold**: the other way with all {len(differences)} seeds"
    return f"not decided: {better} of {len(differences)} seeds"


def by_seed(records: list[Record], name: str, figure: str) -> dict[int, float]:
    """The seeds of a method that have the figure; a tau of equal scores is none."""
    return {each["seed"]: each[figure] for each in records if each["method"] == name and each.get(figure) is not None}


def on_digits(name: str) -> dict[int, float]:
    """The table's test accuracy of what a method or variant found on digits, by seed."""
    done = loaded(VARIED) | loaded(DIGITS)
    return {int(seed): run["test"] for seed, run in done.get(name, done.get(SAME.get(name, ""), {})).items()}


def on_proxy(name: str, records: list[Record], figure: str = "test") -> dict[int, float]:
    """The same on the proxy."""
    return by_seed(records, SAME.get(name, name), figure)


def loaded(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text()) if file.exists() else {}
