import json
from pathlib import Path

import pytest

from nas_search import RunFolderError
from nas_search.run_folder import RunFolder


def test_a_new_folder_is_made_and_an_empty_one_is_taken(tmp_path: Path) -> None:
    RunFolder(tmp_path / "deep" / "run").claim(resume=False)
    assert (tmp_path / "deep" / "run" / "checkpoints").is_dir()
    (tmp_path / "empty").mkdir()
    RunFolder(tmp_path / "empty").claim(resume=False)


def test_a_file_in_the_place_of_the_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(RunFolderError, match="run is a file, and no folder; choose another one with --out"):
        RunFolder(tmp_path / "run").claim(resume=False)
    with pytest.raises(RunFolderError, match="cannot make .*; choose another folder with --out"):
        RunFolder(tmp_path / "run" / "inside").claim(resume=False)


def test_events_are_read_up_to_the_last_whole_line(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.read_events() == []
    folder.events.write_text('{"epoch": 1}\n{"epoch": 2}\n{"epo')
    assert folder.read_events() == [{"epoch": 1}, {"epoch": 2}]


def test_results_that_are_missing_or_damaged_are_said(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(
        RunFolderError, match=r"has no result\.json; its search has not finished, nor begun there; give the folder that"
    ):
        folder.read_result()
    folder.config.write_text("")
    with pytest.raises(
        RunFolderError, match=r"has no result\.json; its search has not finished: go on with `nascli search"
    ):
        folder.read_result()
    folder.result.write_text('{"method": ')
    with pytest.raises(RunFolderError, match="cannot be read .*damaged"):
        folder.read_result()
    folder.result.write_text(json.dumps([1]))
    with pytest.raises(RunFolderError, match="not a JSON object"):
        folder.read_result()
    with pytest.raises(RunFolderError, match="no run folder"):
        RunFolder(tmp_path / "nowhere").read_result()


def test_a_folder_that_cannot_be_looked_into_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="cannot read .* choose another folder with --out"):
        RunFolder(tmp_path / ("x" * 300)).check(resume=False)


def test_a_folder_with_the_weights_of_one_kind_says_which(tmp_path: Path) -> None:
    """As a bundle is when it is unpacked."""
    folder = RunFolder(tmp_path)
    folder.model.write_bytes(b"")
    folder.training.write_text('{"weights": "best"}')
    assert folder.model_of(None) == folder.model_of("best") == folder.model
    with pytest.raises(RunFolderError, match="has the best weights alone, as a bundle of them does"):
        folder.model_of("last")
    folder.training.write_text('{"weights": "last"}')
    assert folder.model_of("last") == folder.model
    with pytest.raises(RunFolderError, match="has no best weights: nothing validated"):
        folder.model_of("best")
