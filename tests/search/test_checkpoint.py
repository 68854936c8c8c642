from pathlib import Path
from typing import Any

import pytest
import torch

from nas_search import CheckpointError
from nas_search.checkpoint import load_checkpoint, save_checkpoint

FINGERPRINT = {"space": "'x'", "epochs": "3"}


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    state = {"weights": torch.randn(3), "step": 4, "history": [{"loss": 0.5}], "archive": [("a", 1.0)]}
    save_checkpoint(tmp_path / "last.pt", state, FINGERPRINT)
    loaded = load_checkpoint(tmp_path / "last.pt", FINGERPRINT)
    assert torch.equal(loaded.pop("weights"), state.pop("weights"))  # type: ignore[arg-type]
    assert loaded == state


def test_a_damaged_checkpoint_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"weights": torch.randn(100)}, FINGERPRINT)
    whole = path.read_bytes()
    for damaged in (b"", whole[:50], whole[: len(whole) // 2], b"not a checkpoint at all", whole[::-1]):
        path.write_bytes(damaged)
        with pytest.raises(
            CheckpointError,
            match="is damaged or not a checkpoint .*; delete it, and --resume starts the run from the beginning",
        ):
            load_checkpoint(path, FINGERPRINT)


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    for other in ({"model": torch.zeros(2)}, [1, 2], torch.zeros(3)):
        torch.save(other, tmp_path / "last.pt")
        with pytest.raises(CheckpointError, match="is not a checkpoint of this program"):
            load_checkpoint(tmp_path / "last.pt", FINGERPRINT)


def test_another_version_is_refused(tmp_path: Path) -> None:
    record = {"format": "nas-search-checkpoint", "version": 99, "fingerprint": FINGERPRINT, "state": {}}
    torch.save(record, tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match="is of version 99; this release reads version 1"):
        load_checkpoint(tmp_path / "last.pt", FINGERPRINT)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (marker.write_text, ("x",))

    torch.save(
        {"format": "nas-search-checkpoint", "version": 1, "fingerprint": Trap(), "state": {}}, tmp_path / "last.pt"
    )
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "last.pt", FINGERPRINT)
    assert not marker.exists()


def test_every_difference_of_the_configuration_is_named(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last.pt", {}, FINGERPRINT)
    with pytest.raises(CheckpointError, match="epochs was 3, is 5; seed was None, is 1"):
        load_checkpoint(tmp_path / "last.pt", {"space": "'x'", "epochs": "5", "seed": "1"})
