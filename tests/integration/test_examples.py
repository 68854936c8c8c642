"""The examples run."""

import importlib.util
import json
import sys
from functools import partial
from pathlib import Path

import pytest

from nas_search.methods import darts

ROOT = Path(__file__).parents[2]


def test_the_collapse_of_darts_is_run_once_drawn_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("collapse_of_darts", ROOT / "examples" / "collapse_of_darts.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    # One skip connection is enough to be stopped by: a search of three epochs is.
    stopped_early = partial(darts, stop_skips=1)
    monkeypatch.setitem(
        example.METHODS, "stopped by skips", lambda rate, _: stopped_early(architecture_learning_rate=rate)
    )
    stem = tmp_path / "figure"
    methods = "DARTS,stopped by skips"
    arguments = ["", "--images", "200", "--epochs", "3", "--rate", "0.1", "--methods", methods, "--out", str(stem)]
    monkeypatch.setattr(sys, "argv", arguments)
    example.main()
    first = capsys.readouterr().out
    runs = list(json.loads(stem.with_suffix(".json").read_text()).values())
    assert [run["method"] for run in runs] == methods.split(",")
    assert all(len(run["share"]) == 3 for run in runs)
    # Both are the same search until one is stopped: then it keeps what it found.
    whole, stopped = runs
    assert stopped["epochs"] < whole["epochs"] == 3
    assert stopped["share"][: stopped["epochs"]] == whole["share"][: stopped["epochs"]]
    assert set(stopped["share"][stopped["epochs"] - 1 :]) == {stopped["share"][-1]}
    assert "<svg" in stem.with_suffix(".svg").read_text()
    kept = stem.with_suffix(".json").read_text()
    example.main()
    assert capsys.readouterr().out == first
    assert (
        stem.with_suffix(".json").read_text() == kept
    )  # with the seconds of the first time: nothing is searched again
