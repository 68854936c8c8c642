"""The example package of a third party, installed for real."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _installer() -> list[str]:
    """A command that installs without an index, in front of its arguments."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install"]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--offline", "--python", sys.executable]
    if pip := shutil.which("pip"):
        return [pip, "--python", sys.executable, "install"]
    pytest.skip("neither pip nor uv is there to install the example with")


@pytest.fixture(scope="module")
def with_plugin(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Call ``nascli`` where the example is installed."""
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("setuptools, which builds the example, is not there")
    folder = tmp_path_factory.mktemp("plugin")
    # Building writes into the source.
    source = shutil.copytree(ROOT / "examples" / "nas-plugin-example", folder / "source")
    target = folder / "site"
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(target), str(source)]
    done = subprocess.run([*_installer(), *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    environment = os.environ | {"PYTHONPATH": str(target), "OMP_NUM_THREADS": "1"}

    def call(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "nas_cli", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_the_installed_example_is_listed_searched_with_and_resolved(with_plugin: Callable[..., str]) -> None:
    listed = json.loads(with_plugin("list", "methods", "--json"))
    assert listed["patient_gumbel"] == "GDAS that trains the weights alone for a while."
    assert "daas" in listed
    shown = with_plugin("list", "methods", "patient-gumbel")
    assert "the part of the search in which the architecture does not learn" in shown
    arguments = [
        "--space",
        "tiny-chain",
        "--method",
        "patient-gumbel",
        "--set",
        "policy=small_shifts",
        "--set",
        "patience=0.0",
    ]
    quick = ["--data", "fake:1x8x8", "--epochs", "1", "--train-epochs", "1", "--channels", "4", "--device", "cpu"]
    record = json.loads(with_plugin("search", *arguments, *quick, "--out", "run", "--json"))
    assert (record["space"], record["method"]) == ("tiny_chain", "patient_gumbel")
    assert set(record["architecture"].split("|")) <= {"conv_1", "conv_3", "conv_5"}


@pytest.mark.parametrize(("kind", "name"), [("spaces", "tiny_chain"), ("policies", "small_shifts")])
def test_its_space_and_policy_are_listed(with_plugin: Callable[..., str], kind: str, name: str) -> None:
    assert json.loads(with_plugin("list", kind, "--json"))[name]
