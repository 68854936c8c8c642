import doctest

import pytest

from nas_search import catalog, docstrings


def test_the_examples_hold() -> None:
    done = doctest.testmod(docstrings)
    assert (done.failed, done.attempted) == (0, 4)


@pytest.mark.parametrize("name", catalog.methods())
def test_every_setting_of_every_method_is_documented(name: str) -> None:
    documented = catalog.documentation(name)
    assert [each.name for each in documented.settings if not each.text or "as in `" in each.text] == []
    assert docstrings.differences(documented.text)
    told = docstrings.introduction(documented.text)
    assert "Args:" not in told
    assert told.splitlines()[0] == docstrings.summary(documented.text)
