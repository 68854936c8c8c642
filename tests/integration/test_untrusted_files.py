"""What is read from disk runs no code, whatever stands there: thousands of damaged files, and pickles that try."""

import bz2
import io
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from damage import fuzz, read
from file_formats import FORMATS, READ_OR_LEFT_OUT, write_cifar, write_files

from nas_search import CheckpointError, DataError, RunFolderError, SearchResult
from nas_search.checkpoint import load_checkpoint
from nas_search.data_sources import load_data
from nas_search.reports.html import write_report
from nas_search.run_folder import RunFolder
from nas_spaces import TableError, load_table

FAST, SLOW = 20, 1000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run folder with one valid file of every format."""
    folder = tmp_path_factory.mktemp("files") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))
        write_files(folder)
        yield folder


def check(name: str, folder: Path, count: int) -> None:
    found = fuzz(name, FORMATS[name], folder, count)
    assert not found.failures
    assert found.refused > 0 or name in READ_OR_LEFT_OUT


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_read_or_refused(name: str, folder: Path) -> None:
    check(name, folder, FAST)


@pytest.mark.nightly
@pytest.mark.parametrize("name", FORMATS)
def test_a_thousand_damaged_files_are_read_or_refused(name: str, folder: Path) -> None:
    check(name, folder, SLOW)


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.sentinel,))


def pickles(path: Path, trap: Trap) -> Iterator[bytes]:
    """The file as what runs code where a reader trusts it: pickles in all the ways that libraries write them."""
    for protocol in (0, 2, 4):
        yield pickle.dumps(trap, protocol)
        yield bz2.compress(pickle.dumps({"meta_archs": [trap], "arch2infos": {0: trap}}, protocol))
    for zipped in (True, False):
        buffer = io.BytesIO()
        whole = torch.load(path, weights_only=True) if path.suffix == ".pt" else {}
        torch.save({**whole, "fingerprint": trap, "build": trap, "weights": trap, "state": trap}, buffer,
                   _use_new_zipfile_serialization=zipped)  # fmt: skip
        yield buffer.getvalue()
    buffer = io.BytesIO()
    names = ("arch", "cifar10_test_200", "x_train", "y_train", "x_test", "y_test")
    np.savez(buffer, **{name: np.array([trap, trap], dtype=object) for name in names})  # type: ignore[arg-type]
    yield buffer.getvalue()
    buffer = io.BytesIO()
    np.save(buffer, np.array([trap], dtype=object))
    yield buffer.getvalue()


@pytest.mark.parametrize("name", FORMATS)
def test_a_pickle_in_the_place_of_a_file_is_refused_and_not_executed(name: str, folder: Path, tmp_path: Path) -> None:
    form, trap = FORMATS[name], Trap(tmp_path / "ran")
    path = folder / form.file
    whole = path.read_bytes()
    try:
        for content in list(pickles(path, trap)):
            path.write_bytes(content)
            read(form, folder)
            assert not trap.sentinel.exists()
    finally:
        path.write_bytes(whole)


def test_a_pickle_in_the_place_of_an_official_table_is_refused_and_not_executed(folder: Path, tmp_path: Path) -> None:
    trap = Trap(tmp_path / "ran")
    path = tmp_path / "NATS-tss.pickle.pbz2"
    for content in pickles(folder / "model.pt", trap):
        path.write_bytes(content)
        with pytest.raises(TableError):
            load_table(path)
    assert not trap.sentinel.exists()
    pickle.loads(pickle.dumps(trap))  # the trap is one
    assert trap.sentinel.exists()


def test_a_version_that_is_no_number_and_figures_that_are_none_are_said(folder: Path) -> None:
    path = RunFolder(folder).last
    whole, record = path.read_bytes(), torch.load(path, weights_only=True)
    try:
        torch.save({**record, "version": torch.zeros(2)}, path)
        with pytest.raises(CheckpointError, match=r"is of version tensor\(\[0., 0.\]\); this release reads version 1"):
            load_checkpoint(path, {})
    finally:
        path.write_bytes(whole)
    path = folder / "result.json"
    whole, record = path.read_bytes(), json.loads(path.read_text())
    try:
        path.write_text(json.dumps({**record, "seconds": [1]}))
        with pytest.raises(RunFolderError, match=r"seconds is \[1\]; expected a number\); it was changed or damaged"):
            write_report([folder], folder / "page.html")
        path.write_text("[" * 100_000)
        with pytest.raises(RunFolderError, match="result.json cannot be read"):
            SearchResult.load(folder)
    finally:
        path.write_bytes(whole)


def test_a_batch_file_that_asks_for_more_memory_than_it_has_content_is_refused(tmp_path: Path) -> None:
    """An object of number 2^24 makes Python reserve 256 MiB; that of a damaged number ended the process."""
    write_cifar(tmp_path)
    path = tmp_path / "cifar" / "data_batch_1"
    path.write_bytes(b"\x80\x02}r" + (2**24).to_bytes(4, "little") + b".")
    with pytest.raises(DataError, match="has an object of number 16777216, and 9 bytes"):
        load_data(f"cifar10:{tmp_path / 'cifar'}")
