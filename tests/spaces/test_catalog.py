import pickle
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from nas_spaces import UnknownSpaceError, catalog


def test_every_name_builds_a_space_of_that_name() -> None:
    for name in catalog.names():
        assert catalog.space(name).name == name


def test_every_space_can_be_sent_to_another_process() -> None:
    for name in catalog.names():
        space = catalog.space(name)
        assert repr(pickle.loads(pickle.dumps(space))) == repr(space)


def test_hyphens_and_underscores_are_the_same() -> None:
    assert catalog.space("nas-bench-201").name == "nas_bench_201"


def test_spaces_of_others_are_found_and_cannot_replace_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = EntryPoint("theirs", "nas_spaces.nas_bench_201:nas_bench_201", "nas.spaces")
    hijack = EntryPoint("nas_bench_201", "somewhere:else", "nas.spaces")
    monkeypatch.setattr(catalog, "entry_points", lambda group: EntryPoints([theirs, hijack]))
    assert catalog.names()["theirs"] == theirs.value
    assert catalog.names()["nas_bench_201"] == "nas_spaces.nas_bench_201:nas_bench_201"
    assert catalog.space("theirs").size == 15_625


@pytest.mark.parametrize("name", ["nas_bench_102", "Nas_Bench_201", "nas-bench"])
def test_an_unknown_name_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(UnknownSpaceError, match=r"did you mean 'nas_bench_\w+'\? Installed: .*nas_bench_201"):
        catalog.space(name)


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(UnknownSpaceError):
        catalog.space("")
