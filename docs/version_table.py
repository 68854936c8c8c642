"""The table of versions.md: `python docs/version_table.py` writes it anew.

The lowest versions are those of the ``pyproject.toml`` files; `TESTED` is what all the tests ran with. A test makes the table again
and compares.
"""

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]

TESTED = {
    "python": "3.11.7",
    "botorch": "0.18.1",
    "click": "8.5.1",
    "filelock": "4.3.1",
    "google-crc32c": "1.9.0",
    "gpytorch": "1.15.2",
    "kornia": "0.9.0",
    "loky": "3.7.0",
    "matplotlib": "3.11.2",
    "nats-bench": "1.8",
    "networkx": "3.6.1",
    "numpy": "2.4.6",
    "onnx": "1.23.2",
    "onnxruntime": "1.32.0",
    "onnxscript": "0.7.2",
    "pillow": "13.0.0",
    "ray": "2.60.0",
    "rich": "15.0.0",
    "scikit-learn": "1.9.1",
    "scipy": "1.17.1",
    "tensorboard": "2.21.0",
    "tomli": "not needed from Python 3.11 on",
    "tomli-w": "1.2.0",
    "torch": "2.15.0",
    "torchvision": "0.29.2",
}
_BEGIN, _END = "<!-- versions -->\n\n", "\n\n<!-- end -->"


def declared() -> dict[str, list[tuple[str, str, str]]]:
    """For every package of others, who needs it: our distribution, its extra or nothing, and the lowest version."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for file in sorted(ROOT.glob("packages/*/pyproject.toml")):
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        found.setdefault("python", []).append((project["name"], "", project["requires-python"].removeprefix(">=")))
        groups = {"": project["dependencies"], **project.get("optional-dependencies", {})}
        for extra, requirements in groups.items():
            for requirement in requirements:
                match = re.match(r"([\w-]+)(?:\[\w+\])?(?:>=([\w.]+))?", requirement)
                assert match is not None
                if match[2] is not None:  # the siblings are pinned to the same version
                    found.setdefault(match[1], []).append((project["name"], extra, match[2]))
    return found


def table() -> str:
    """The table in Markdown."""
    lines = ["| package | lowest | tested with | needed by |", "|---|---|---|---|"]
    for name, uses in sorted(declared().items(), key=lambda entry: (entry[0] not in ("python", "torch"), entry[0])):
        lowest = max(
            (version for _, _, version in uses), key=lambda version: [int(part) for part in version.split(".")]
        )
        who = ", ".join(f"{ours}[{extra}]" if extra else ours for ours, extra, _ in uses)
        who = "all" if name in ("python", "torch") else who
        lines.append(f"| {name} | {lowest} | {TESTED[name]} | {who} |")
    return "\n".join(lines)


def written(page: Path) -> str:
    """The page with its table made anew."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    return before + _BEGIN + table() + _END + rest.partition(_END)[2]


if __name__ == "__main__":
    page = ROOT / "docs" / "versions.md"
    page.write_text(written(page), encoding="utf-8")
