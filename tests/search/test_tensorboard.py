import sys
from pathlib import Path

import pytest

from nas_search import ConfigError
from nas_search.roles import Event
from nas_search.tensorboard import TensorBoard


def event(epoch: int, kind: str = "epoch") -> Event:
    record = {
        "epoch": epoch,
        "valid_loss": 1.0 / epoch,
        "architecture": "a",
        "operation_weights": {"cell": {"skip": 0.25}},
    }
    return Event(kind, "search", epoch, 2, 0, 5, record, None)  # type: ignore[arg-type]


def test_every_number_of_an_epoch_is_written_at_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    board = TensorBoard(tmp_path / "board")
    board(event(1, "step"))
    assert not (tmp_path / "board").exists()
    board(event(1))
    board(event(2))
    board(event(1))  # another run of the same name
    (file,) = (tmp_path / "board").iterdir()
    written = {
        (value.tag, line.step): value.tensor.float_val[0]
        for line in EventFileLoader(str(file)).Load()
        for value in line.summary.value
    }
    assert written == {
        ("search/valid_loss", 1): 1.0,
        ("search/operation_weights/cell/skip", 1): 0.25,
        ("search/valid_loss", 2): 0.5,
        ("search/operation_weights/cell/skip", 2): 0.25,
        ("search-2/valid_loss", 1): 1.0,
        ("search-2/operation_weights/cell/skip", 1): 0.25,
    }
    board.close()


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.summary_pb2", None)
    with pytest.raises(ConfigError, match=r"nas-search\[tensorboard\]"):
        TensorBoard(tmp_path)
