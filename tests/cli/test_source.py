import pytest

import nas_hypergrad
from nas_augment import catalog as policies
from nas_cli import source
from nas_cli.names import _ESTIMATORS
from nas_search import catalog, data_sources
from nas_search.docstrings import summary
from nas_spaces import catalog as spaces


def test_the_source_tells_what_the_imported_methods_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "entry_points", lambda group: ())
    told = source.told_methods()
    assert told == {name: summary(catalog.load(place).__doc__) for name, place in catalog._METHODS.items()}
    monkeypatch.setattr(source, "entry_points", lambda group: ("another",))
    assert source.told_methods() is None


@pytest.mark.parametrize(("kind", "names"), [("spaces", spaces._OURS), ("policies", policies._OURS)])
def test_the_source_tells_what_spaces_and_policies_say(
    kind: str, names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "entry_points", lambda group: ())
    told = source.told_parts(kind)
    assert told == {name: summary(catalog.load(place).__doc__) for name, place in names.items()}
    assert all(told.values())
    monkeypatch.setattr(source, "entry_points", lambda group: ("another",))
    assert source.told_parts(kind) is None


def test_the_source_tells_what_data_and_hypergradients_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "entry_points", lambda group: ())
    assert source.told_data() == data_sources._OURS
    told = source.told_estimators(_ESTIMATORS)
    assert told == {name: summary(getattr(nas_hypergrad, name).__doc__) for name in _ESTIMATORS}
    monkeypatch.setattr(source, "entry_points", lambda group: ("another",))
    assert source.told_data() is None
