import errno
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nas_search import RunFolderError
from nas_search.config import RunConfig
from nas_search.run_folder import RunFolder
from nas_search.runs import run_search, run_training


def claim(root: Path) -> None:
    with RunFolder(root).claimed(resume=False):
        pass


def test_two_processes_do_not_write_into_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both would say that they had succeeded, and the network of one would be gone."""
    monkeypatch.setattr("nas_search.files._PATIENCE", 0.0)
    config = RunConfig(data="fake:1x8x8", epochs=1, batch_size=16, channels=4, cells=1, train_epochs=0, device="cpu")
    run_search(config, tmp_path / "run")
    holding = (
        "import sys; from nas_search.run_folder import RunFolder\n"
        "with RunFolder(sys.argv[1]).taken(): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holding, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        (tmp_path / "run" / "checkpoints" / ".last.pt.1.tmp").touch()  # as while the other one saves
        before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
        used = r"run is in use: another process is writing there.* Wait until it has ended"
        with pytest.raises(RunFolderError, match=used):
            run_search(config, tmp_path / "run", resume=True)
        with pytest.raises(RunFolderError, match=used):
            run_training(tmp_path / "run", epochs=1)
        assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
        other.kill()  # which lets go of the folder
    assert run_training(tmp_path / "run", epochs=1)["epochs"] == 1


def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: int, operation: int) -> None:
        raise OSError(number, "no locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    number = errno.ENOLCK
    with pytest.warns(UserWarning, match="cannot be locked .* see to it that no other process writes there"):
        claim(tmp_path / "run")
    number = errno.EIO
    with pytest.raises(RunFolderError, match=r"cannot write .*\.lock .*make the folder writable"):
        claim(tmp_path / "other")


def test_a_new_folder_is_made_and_an_empty_one_is_taken(tmp_path: Path) -> None:
    claim(tmp_path / "deep" / "run")
    assert (tmp_path / "deep" / "run" / "checkpoints").is_dir()
    claim(tmp_path / "deep" / "run")  # as a run leaves it that was killed at once
    (tmp_path / "empty").mkdir()
    claim(tmp_path / "empty")


def test_a_file_in_the_place_of_the_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(RunFolderError, match="run is a file, and no folder; choose another one with --out"):
        claim(tmp_path / "run")
    with pytest.raises(RunFolderError, match="cannot make .*; choose another folder with --out"):
        claim(tmp_path / "run" / "inside")


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


def test_a_run_that_was_changed_while_a_training_waited_is_not_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RunConfig(data="fake:1x8x8", epochs=1, batch_size=16, channels=4, cells=1, train_epochs=0, device="cpu")
    run_search(config, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    # An earlier release took what no JSON is: it must not look like a change.
    folder.events.write_text(folder.events.read_text().replace("{", '{"odd": NaN, ', 1))
    assert run_training(folder.root, epochs=1)["epochs"] == 1

    @contextmanager
    def after_another(root: Path, lock: Path) -> Iterator[None]:
        folder.result.write_text(folder.result.read_text().replace('"seed": 0', '"seed": 1'))
        yield

    monkeypatch.setattr("nas_search.run_folder.locked", after_another)
    with pytest.raises(
        RunFolderError, match="run was changed by the process that this one has waited for; start again"
    ):
        run_training(folder.root, epochs=1)


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_that_was_changed_while_it_was_waited_for_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume: bool
) -> None:
    """A search that began and ended in between would pass for this one's; a checkpoint would not be there any more."""
    folder = RunFolder(tmp_path / "run")
    if resume:
        folder.root.mkdir()
        folder.config.touch()

    @contextmanager
    def after_another(root: Path, lock: Path) -> Iterator[None]:
        if resume:
            folder.config.unlink()
        else:
            folder.result.touch()
        yield

    monkeypatch.setattr("nas_search.run_folder.locked", after_another)
    expected = "holds no run to resume" if resume else "holds another run"
    with pytest.raises(RunFolderError, match=expected), folder.claimed(resume=resume):
        pass
