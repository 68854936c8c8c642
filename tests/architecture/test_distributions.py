"""The five distributions move in lockstep, and declare what they are."""

import sys
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("nas-hypergrad", "nas-spaces", "nas-augment", "nas-search", "nas-cli")


def project(package: str) -> dict[str, Any]:
    record: dict[str, Any] = tomllib.loads((ROOT / "packages" / package / "pyproject.toml").read_text())["project"]
    return record


@pytest.mark.parametrize("package", PACKAGES)
def test_versions_pins_and_licence(package: str) -> None:
    declared = project(package)
    assert declared["version"] == project("nas-hypergrad")["version"]
    assert declared["license"] == "Apache-2.0"
    assert declared["requires-python"] == ">=3.10"
    extras = [line for lines in declared.get("optional-dependencies", {}).values() for line in lines]
    for line in [*declared["dependencies"], *extras]:
        name = line.partition("[")[0].partition("=")[0].partition(">")[0]
        if name in PACKAGES:
            assert line.endswith(f"=={declared['version']}"), line


@pytest.mark.parametrize("package", PACKAGES)
def test_every_distribution_is_typed_and_has_its_papers(package: str) -> None:
    folder = ROOT / "packages" / package
    for file in (f"src/{package.replace('-', '_')}/py.typed", "README.md", "LICENSE"):
        assert (folder / file).is_file(), file


def test_the_leaves_declare_no_sibling() -> None:
    for package in ("nas-hypergrad", "nas-spaces", "nas-augment"):
        assert not [line for line in project(package)["dependencies"] if line.startswith("nas-")]
    assert project("nas-hypergrad")["dependencies"] == ["torch>=2.9"]
