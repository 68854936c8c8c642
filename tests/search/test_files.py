import os
from pathlib import Path

import pytest

from nas_search import RunFolderError
from nas_search.files import write_atomically


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    for text in ("first", "second"):
        write_atomically(path, text)
        assert path.read_text() == text
    write_atomically(path, b"\x00\x01")
    assert path.read_bytes() == b"\x00\x01"
    assert os.listdir(tmp_path) == ["x.txt"]


def test_a_folder_that_is_missing_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(
        RunFolderError, match=r"cannot write .*No such file.*Free space, or choose a folder that exists"
    ):
        write_atomically(tmp_path / "missing" / "x.txt", "text")


def test_a_write_that_fails_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFolderError, match="No space left on device"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]
