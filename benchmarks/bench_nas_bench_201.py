"""Methods on a proxy of NAS-Bench-201, judged by the table: seconds, memory, true accuracy, rank and regret.

    python benchmarks/bench_nas_bench_201.py --data npz:c10.npz --table nas_bench_201.npz --out RESULTS_FOLDER

Every search is its own process, so that peak memory and threads are those of one search. The figures go to stdout as a
Markdown table and to OUT/figures.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--table", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", default="darts,gdas,random_nas,random_search")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("options", nargs="*", help="more options of `nascli search`, after --")
    arguments = parser.parse_args()
    figures: dict[str, list[dict[str, Any]]] = {}
    print("| method | seconds | peak MiB | images/s | table test, mean ± s.d. | rank of 15,625 | regret |")
    print("|---|---|---|---|---|---|---|")
    for method in arguments.methods.split(","):
        figures[method] = [run(method, seed, arguments) for seed in range(arguments.seeds)]
        print(row(method, figures[method]), flush=True)
    (arguments.out / "figures.json").write_text(json.dumps(figures, indent=1))


def run(method: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """The result of one search; a finished one is read, not repeated."""
    out = arguments.out / f"{method}-{seed}"
    if not (out / "result.json").exists():
        command = ["search", "--data", arguments.data, "--table", arguments.table, "--method", method, "--seed", seed]
        command += ["--train-epochs", 0, "--out", out, "--json", *arguments.options]
        subprocess.run([sys.executable, "-m", "nas_cli", *map(str, command)], check=True, stdout=subprocess.DEVNULL)
    record: dict[str, Any] = json.loads((out / "result.json").read_text())
    return record


def row(method: str, records: list[dict[str, Any]]) -> str:
    """One line of the table."""
    tests = [record["metrics"]["table_test"] for record in records]
    spread = statistics.stdev(tests) if len(tests) > 1 else 0.0
    ranks = ", ".join(f"{record['metrics']['table_rank']:,}" for record in records)
    rates = [record["images_per_second"] for record in records if record["images_per_second"]]
    return (
        f"| {method} | {statistics.median(record['seconds'] for record in records):.0f} "
        f"| {statistics.median(record['peak_memory_mib'] for record in records):.0f} "
        f"| {f'{statistics.median(rates):.0f}' if rates else '-'} "
        f"| {statistics.mean(tests):.2f} ± {spread:.2f} | {ranks} "
        f"| {statistics.mean(record['metrics']['table_regret'] for record in records):.2f} |"
    )


if __name__ == "__main__":
    main()
