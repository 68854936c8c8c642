"""What is generated of the documentation without a search: the picture of the design, the table of versions."""

import re
from pathlib import Path
from xml.etree import ElementTree

from scripts import loaded

ROOT = Path(__file__).resolve().parents[2]


def test_the_picture_is_drawn_by_its_script_and_names_what_there_is() -> None:
    drawing = loaded(ROOT / "docs" / "design_picture.py")
    text = (ROOT / "docs" / "_static" / "design.svg").read_text(encoding="utf-8")
    assert text == drawing.picture(), "run python docs/design_picture.py"
    words = " ".join(each.text or "" for each in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}text"))
    for package in (ROOT / "packages").iterdir():
        assert package.name in words
    roles = (ROOT / "packages/nas-search/src/nas_search/roles.py").read_text(encoding="utf-8")
    named = {
        "Relaxation",
        "Supernet",
        "AugmentationPolicy",
        "SupernetLoss",
        "OuterLoss",
        "Hypergradient",
        "Selector",
        "Observer",
    }
    assert named <= set(re.findall(r"\w+", words)) & set(re.findall(r"\w+", roles))


def test_the_table_of_versions_is_that_of_the_packages() -> None:
    versions, page = loaded(ROOT / "docs" / "version_table.py"), ROOT / "docs" / "versions.md"
    assert versions.written(page) == page.read_text(encoding="utf-8"), "run python docs/version_table.py"
    assert versions.TESTED.keys() == versions.declared().keys()
    tested = {name: version for name, version in versions.TESTED.items() if version[0].isdigit()}
    for name, version in tested.items():
        for who, _, lowest in versions.declared()[name]:
            assert _parts(version) >= _parts(lowest), (
                f"{who} needs {name} {lowest}, which is newer than the tested {version}"
            )


def test_what_the_guides_import_stands_in_the_reference() -> None:
    packages = {path.name: path for path in (ROOT / "packages").glob("*/src/*")}
    pages = [
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "packages").glob("*/README.md"),
        *(ROOT / "examples").rglob("*.py"),
    ]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    reference = set(re.findall(r"automodule:: (\S+)", text)) | {
        "nas_spaces.chain",
        "nas_spaces.single",
    }  # functions too
    named = set(re.findall(r"(?:from |import |`)(nas_(?:spaces|hypergrad|augment|search)(?:\.\w+)+)", text))
    for name in sorted(named):
        package, *inner = name.split(".")
        while inner and not _is_module(packages[package].joinpath(*inner)):
            inner.pop()
        assert ".".join([package, *inner]) in reference, f"{name} stands on no page of docs/api"


def _is_module(path: Path) -> bool:
    return path.is_dir() or path.with_suffix(".py").exists()


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
