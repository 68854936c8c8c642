"""What `nox -s bench` measured, as tables in RESULTS.md.

    python benchmarks/short_report.py [RAW.json ...]

Files of pytest-benchmark are merged into benchmarks/short.json, which keeps the medians, the extra information and the
versions, and nothing of the machine. The tables are made of that file and of benchmarks/growth.json, and the figure is drawn.
"""

import json
import sys
from pathlib import Path
from typing import Any

import growth

from nas_search.files import write_atomically
from nas_search.measure import versions

FOLDER = Path(__file__).parent
SHORT, GROWTH, PAGE = FOLDER / "short.json", FOLDER / "growth.json", FOLDER / "RESULTS.md"
FIGURE = FOLDER / "figures" / "growth.svg"
BEGIN, END = "<!-- nox -s bench: begin -->", "<!-- nox -s bench: end -->"


def merged(raw: list[Path]) -> dict[str, Any]:
    """What is kept, with what the files have in place of what was there of the same name."""
    kept: dict[str, Any] = json.loads(SHORT.read_text()) if SHORT.exists() else {"cases": {}}
    for file in raw:
        for each in json.loads(file.read_text())["benchmarks"]:
            stats, extra = each["stats"], each["extra_info"]
            group = kept["cases"].setdefault(each["group"], {})
            group[each["params"]["name"]] = {
                "value": extra.get("value", 1e3 * stats["median"]),
                "unit": extra.get("unit", "ms of CPU time"),
                "quartiles": None if "value" in extra else [1e3 * stats["q1"], 1e3 * stats["q3"]],
                "rounds": stats["rounds"],
            }
        kept["versions"] = versions()
    return kept


def tables(short: dict[str, Any], grown: dict[str, Any]) -> str:
    lines = []
    for group, cases in short["cases"].items():
        first = next(iter(cases.values()))
        lines += [f"| {group} | {first['unit']} | over the first | rounds |", "|---|---|---|---|"]
        for name, each in cases.items():
            ratio = each["value"] / first["value"]
            lines.append(f"| {name} | {each['value']:.3g} | {ratio:.2f} | {each['rounds']} |")
        lines.append("")
    lines += ["| growth with | sizes | exponent | between the two largest | CPU ms |", "|---|---|---|---|---|"]
    for name, each in grown.items():
        sizes = ", ".join(map(str, each["sizes"]))
        milliseconds = ", ".join(f"{1e3 * value:.3g}" for value in each["seconds"])
        lines.append(f"| {name} | {sizes} | {each['exponent']:.2f} | {each['last']:.2f} | {milliseconds} |")
    return "\n".join(lines)


def main() -> None:
    short = merged([Path(each) for each in sys.argv[1:]])
    write_atomically(SHORT, json.dumps(short, indent=1) + "\n")
    grown = json.loads(GROWTH.read_text())
    growth.draw(grown, FIGURE)
    page = PAGE.read_text()
    if BEGIN not in page or END not in page:
        sys.exit(f"{PAGE} has no lines {BEGIN} and {END}, between which the tables belong.")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    write_atomically(PAGE, f"{before}{BEGIN}\n\n{tables(short, grown)}\n\n{END}{after}")


if __name__ == "__main__":
    main()
