import pytest

from nas_cli import source
from nas_search import catalog
from nas_search.docstrings import summary


def test_the_source_tells_what_the_imported_methods_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "entry_points", lambda group: ())
    told = source.told_methods()
    assert told == {name: summary(catalog.load(place).__doc__) for name, place in catalog._METHODS.items()}
    monkeypatch.setattr(source, "entry_points", lambda group: ("another",))
    assert source.told_methods() is None
