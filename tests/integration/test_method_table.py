"""The tables of methods in the README and in the documentation say what the code and the benchmarks say."""

from pathlib import Path
from types import ModuleType

import pytest
from scripts import loaded

from nas_search import methods

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def table() -> ModuleType:
    return loaded(ROOT / "docs" / "method_table.py")


@pytest.mark.nightly
@pytest.mark.parametrize("page", ["docs/choosing.md", "README.md"])
def test_tables_are_what_they_would_be_made_anew(
    page: str, table: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert table.written(ROOT / page) == (ROOT / page).read_text(), "run python docs/method_table.py"


def test_every_figure_of_the_benchmarks_finds_its_method(table: ModuleType) -> None:
    """A page that is laid out otherwise would leave the cells empty without a word."""
    costs, found = table._costs(), table._found()
    measured = {name for name in methods.__all__ if table._COSTS.get(name, f"{name}()") in costs}
    assert measured >= {
        "darts",
        "snas",
        "pc_darts",
        "ista",
        "idarts",
        "amended_darts",
        "allegro",
        "balenas",
        "drnas",
        "gdas",
    }
    assert {table._FOUND.get(name, name) for name in methods.__all__} >= {"ista 2 stages", "darts", "random_search"}
    assert found["darts"][0].startswith("91.80")
    assert all(float(seconds) > 0 for _, seconds in found.values())


def test_a_space_without_a_column_is_an_error(table: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(table.COLUMNS, "mobile")
    table.by_space.cache_clear()
    with pytest.raises(ValueError, match="no column for mobile"):
        table.by_space()
