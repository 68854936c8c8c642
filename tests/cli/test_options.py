import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from nas_cli.main import _COMMANDS

QUICK = [
    "--data",
    "fake:1x8x8",
    "--method",
    "gdas",
    "--epochs",
    "1",
    "--train-epochs",
    "0",
    "--channels",
    "4",
    "--device",
    "cpu",
]


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_help_has_examples_line_by_line(nascli: Any, name: str) -> None:
    shown = nascli(name, "--help").stdout
    assert "\n  Example" in shown
    assert f"\n    nascli {name}" in shown
    assert "\\b" not in shown


def test_the_help_of_search_has_each_option_under_one_heading(nascli: Any) -> None:
    command = import_module("nas_cli.commands.search").command
    named = [name for names in command.sections.values() for name in names]
    assert sorted(named) == sorted(parameter.name for parameter in command.params)
    shown = nascli("search", "--help").stdout
    assert [line for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")] == [
        *(f"{heading}:" for heading in command.sections),
        "Options:",
    ]
    # An argument stands in the first line alone.
    assert nascli("train", "--help").stdout.count("RUN\n") == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_what_a_shell_takes(nascli: Any, shell: str) -> None:
    done = nascli("completion", shell)
    assert done.status == 0
    assert "_NASCLI_COMPLETE" in done.stdout
    assert nascli("completion", "tcsh").status == 2


@pytest.mark.parametrize(
    ("begun", "expected"),
    [
        ("nascli search --ep", {"--epochs"}),
        ("nascli search --method da", {"daas", "darts"}),
        ("nascli search --space nas_bench_2", {"nas_bench_201", "nas_bench_201_small"}),
        ("nascli train run --data cifar", {"cifar10:", "cifar100:"}),
        ("nascli init --method dh", {"dha"}),
        # Of names with commas between them the last one is completed.
        ("nascli sweep --methods darts,random_", {"darts,random_nas", "darts,random_search"}),
    ],
)
def test_a_shell_that_asks_is_answered(begun: str, expected: set[str]) -> None:
    asked = {"_NASCLI_COMPLETE": "bash_complete", "COMP_WORDS": begun, "COMP_CWORD": str(len(begun.split()) - 1)}
    program = "import sys; sys.argv = ['nascli']; from nas_cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", program], env=os.environ | asked, capture_output=True, text=True)
    assert {line.partition(",")[2] for line in done.stdout.split()} == expected


def test_quiet_verbose_and_json_keep_apart(nascli: Any) -> None:
    quiet = nascli("search", *QUICK, "--out", "a", "--quiet")
    assert (quiet.stderr, "architecture" in quiet.stdout) == ("", True)
    verbose = nascli("search", *QUICK, "--out", "b", "--verbose", "--json")
    assert "search epoch 1/1  " in verbose.stderr
    assert 'method = "gdas"' in verbose.stderr
    assert json.loads(verbose.stdout)["run"] == "b"
    both = nascli("search", *QUICK, "--quiet", "--verbose")
    assert (both.status, "exclude each other" in both.stderr) == (2, True)
    reported = json.loads(nascli("report", "a", "--json").stdout)
    assert reported == {"file": "a/report.html", "runs": ["a"]}
    shown = json.loads(nascli("show", "a", "--json").stdout)
    assert shown["space"] == "nas_bench_201"
    assert Path(shown["picture"]).exists()
    assert json.loads(nascli("doctor", "--json").stdout)["packages"]["torch"]
