import re

import pytest

from nas_search import ConfigError, catalog, citations
from nas_search.references import _SOURCES, _entries


@pytest.mark.parametrize("method", catalog._METHODS)
def test_every_method_has_papers_in_bibtex(method: str) -> None:
    entries = citations(method)
    assert entries
    for entry in entries:
        fields = dict(re.findall(r"^  (\w+) = \{(.+)\},$", entry, flags=re.MULTILINE))
        assert {"author", "title", "year"} < set(fields), "and where it appeared"
        assert len(fields) == 4
        assert entry.count("{") == entry.count("}")
        assert re.match(r"@(article|inproceedings|phdthesis|misc)\{\w+,\n", entry)
        assert 1990 < int(fields["year"]) < 2030


def test_every_paper_belongs_to_a_method() -> None:
    assert {paper for papers in _SOURCES.values() for paper in papers} == set(_entries())
    assert set(_SOURCES) == set(catalog._METHODS)


def test_an_unknown_method_is_told_the_nearest() -> None:
    assert citations("pc-darts") == citations("pc_darts")
    with pytest.raises(ConfigError, match="did you mean 'gdas'"):
        citations("gdass")
