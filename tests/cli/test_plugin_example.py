"""The example package of a third party, installed for real."""

import json
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def _installed(name: str) -> bool:
    """By its metadata: to look for the module of pip would have setuptools replace distutils in this process."""
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _installer() -> list[str]:
    """A command that installs without an index, in front of its arguments."""
    if _installed("pip"):
        return [sys.executable, "-m", "pip", "install"]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--offline", "--python", sys.executable]
    if pip := shutil.which("pip"):
        return [pip, "--python", sys.executable, "install"]
    pytest.skip("neither pip nor uv is there to install the example with")


@pytest.mark.slow
def test_the_example_is_installed_listed_and_searched_with(
    nascli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not _installed("setuptools"):
        pytest.skip("setuptools, which builds the example, is not there")
    # Building writes into the source.
    source = shutil.copytree(ROOT / "examples" / "nas-plugin-example", tmp_path / "source")
    target = tmp_path / "site"
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(target), str(source)]
    done = subprocess.run([*_installer(), *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [
        "list spaces --json",
        "list methods --json",
        "list policies --json",
        "list methods patient-gumbel --json",
        "list data --json",
        "search --space tiny-chain --method patient-gumbel --set policy=small_shifts --set patience=0.0 --cells 3 "
        "--data fake:1x8x8 --epochs 1 --train-epochs 1 --channels 8 --device cpu --out run --json",
    ]
    monkeypatch.syspath_prepend(target)
    records = []
    for line in lines:
        outcome = nascli(*line.split())
        assert outcome.status == 0, outcome.stderr
        records.append(json.loads(outcome.stdout))
    spaces, methods, policies, documented, data, found = records
    assert spaces["tiny_chain"].startswith("Three layers in a row")
    assert methods["patient_gumbel"] == "GDAS that trains the weights alone for a while."
    assert "daas" in methods
    assert policies["small_shifts"] == "Images moved by at most one pixel."
    assert data["stripes:..."] == "Upright and lying stripes in noise, SIZE pixels wide."
    assert "digits" in data
    assert documented["settings"]["patience"] == {
        "type": "float",
        "default": 0.5,
        "text": "the part of the search in which the architecture does not learn.",
    }
    assert (found["space"], found["method"]) == ("tiny_chain", "patient_gumbel")
    assert set(found["architecture"].split("|")) <= {"conv_1", "conv_3", "conv_5"}
    assert "'small_shifts'" in (tmp_path / "run" / "config.toml").read_text().replace('"', "'")
