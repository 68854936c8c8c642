"""The examples run."""

import json
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from scripts import loaded

from nas_search import search
from nas_search.data_sources import fake
from nas_search.methods import darts, gdas
from nas_spaces import nas_bench_201

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """What an example prints, run in an empty folder as a person would, but for a process of its own."""

    def run(name: str, *arguments: str) -> str:
        script = str(ROOT / "examples" / name)
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(ROOT / "examples")
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        runpy.run_path(script, run_name="__main__")
        return capsys.readouterr().out

    yield run
    sys.modules.pop("digits", None)  # what examples import of each other


def percentages(text: str) -> list[float]:
    return [float(word) for word in re.findall(r"([\d.]+) ?%", text)]


# The nightly ones are, in other words, on pages of the documentation, whose blocks run in a test of every day.
@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "data_cleaning",
        "learned_weight_decay",
        "own_images",
        *(
            pytest.param(name, marks=pytest.mark.nightly)
            for name in ("meta_learning", "learned_augmentation", "own_space", "own_method")
        ),
    ],
)
def test_an_example_runs_and_gains_what_it_says(name: str, printed: Callable[..., str]) -> None:
    if name == "own_method":
        plain, wary = map(float, re.findall(r"weight of skips ([\d.]+)", printed("own_method.py")))
        assert wary < plain
        return
    few = ("--epochs", "6") if name == "own_images" else ()
    values = percentages(printed(f"{name}.py", *few))
    if name in ("own_space", "own_images"):
        assert min(values) > 80
    else:
        # The first is without, the last one with what is learned; what lies between is another comparison.
        assert values[-1] > values[0] + 1


def test_an_observer_hands_every_figure_of_an_epoch_to_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an installation of MLflow: what is called of it is written down."""
    told: list[tuple[int, dict[str, float]]] = []
    stand_in = ModuleType("mlflow")
    stand_in.log_metrics = lambda figures, step: told.append((step, figures))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", stand_in)
    example = loaded(ROOT / "examples" / "mlflow_observer.py")
    sizes: dict[str, Any] = {"epochs": 2, "batch_size": 32, "channels": 4, "cells": 1, "device": "cpu"}
    search(nas_bench_201(), fake("1x8x8"), gdas(), observers=(example.observer,), **sizes)
    assert [step for step, _ in told] == [1, 2]
    for _, figures in told:
        assert {"search/train_loss", "search/valid_accuracy", "search/entropy"} <= figures.keys()
        assert all(type(value) is float for value in figures.values())


def test_the_collapse_of_darts_is_run_once_drawn_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    example = loaded(ROOT / "examples" / "collapse_of_darts.py")
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
