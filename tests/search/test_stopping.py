"""Ending early: the rules on records, and a search that stops, saves and resumes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nas_search import ConfigError, ImageData, Interrupted, SearchResult, methods, search
from nas_search.diagnostics import HessianSpectrum
from nas_search.early_stopping import stopped_by_eigenvalue, stopped_by_skips
from nas_search.optimizers import Adam
from nas_search.roles import Event
from nas_search.run_folder import RunFolder
from nas_search.schedules import Constant
from nas_search.selection import BeforeStop
from nas_search.state import SearchState
from nas_search.stopping import EigenvalueRise, Never, SkipLimit
from nas_spaces import nas_bench_201

SPACE = nas_bench_201()


def eigenvalues(*values: float) -> list[dict[str, float]]:
    return [{"hessian_eigenvalue": value} for value in values]


def test_never_stops() -> None:
    assert not Never()([{}])
    assert not Never()([])


def test_the_eigenvalue_rule_compares_two_windows() -> None:
    rule = EigenvalueRise(0.75, window=2)
    assert not rule([])
    assert not rule(eigenvalues(1, 1, 9))  # one window and a half
    assert not rule(eigenvalues(1.0, 1.0, 1.3, 1.3))  # 1 / 1.3 is 0.77
    assert rule(eigenvalues(1.0, 1.0, 1.35, 1.35))  # 0.74
    assert rule(eigenvalues(9.0, 1.0, 1.0, 1.0, 2.0))
    assert not rule(eigenvalues(0, 0, 0, 0))


def test_the_skip_rule_looks_at_the_last_epoch() -> None:
    rule = SkipLimit(2)
    assert not rule([])
    assert not rule([{"skip_connections": 3}, {"skip_connections": 1}])
    assert rule([{"skip_connections": 0}, {"skip_connections": 2}])


def test_rules_without_what_they_read_say_what_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"reads 'hessian_eigenvalue'.*add nas_search\.diagnostics\.HessianSpectrum"):
        EigenvalueRise()([{"epoch": 1}])
    with pytest.raises(ConfigError, match=r"reads 'skip_connections'.*SkipConnections"):
        SkipLimit()([{"epoch": 1}])


@pytest.mark.parametrize(
    "make", [lambda: EigenvalueRise(0.0), lambda: EigenvalueRise(1.1), lambda: EigenvalueRise(window=0)]
)
def test_settings_of_the_eigenvalue_rule_are_checked(make: Any) -> None:
    with pytest.raises(ConfigError, match=r"expected a ratio in \(0, 1\] and a window of 1 or more"):
        make()


def test_other_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="limit is 0; expected 1 or more"):
        SkipLimit(0)
    with pytest.raises(ConfigError, match="lag is 0"):
        BeforeStop(0)
    with pytest.raises(ConfigError, match="either stop_eigenvalue or stop_skips"):
        methods.darts(stop_eigenvalue=0.75, stop_skips=2)


class Planned:
    """An observer that writes a planned figure into each record, and keeps the architectures."""

    def __init__(self, name: str, values: list[float]) -> None:
        self.name, self.values = name, values

    def __call__(self, event: Event) -> None:
        if event.kind == "epoch":
            event.record[self.name] = self.values[event.epoch - 1]


def moving(rule: Any, name: str, values: list[float], lag: int) -> Any:
    """A method whose architecture changes from epoch to epoch, and which stops by planned figures."""
    method = methods.darts(architecture_learning_rate=0.5, learning_rate=0.1)
    return replace(
        method, observers=(Planned(name, values),), stop=rule, selector=BeforeStop(lag), outer=Adam(Constant(0.5))
    )


def test_a_search_that_is_stopped_ends_with_the_architecture_before(
    data: ImageData, small: dict[str, Any], tmp_path: Path
) -> None:
    method = moving(EigenvalueRise(0.75, 2), "hessian_eigenvalue", [1, 1, 1, 1, 9, 9], lag=2)
    result = search(SPACE, data, method, out=tmp_path / "run", **small | {"epochs": 6})
    architectures = [record["architecture"] for record in result.history]
    assert len(architectures) == 5  # 1 + 1 against 1 + 9
    assert str(result.architecture) == architectures[2]
    assert result.metrics["stopped_after"] == 5
    assert len(set(architectures)) > 1
    assert SearchResult.load(tmp_path / "run").history == result.history
    again = search(SPACE, data, method, out=tmp_path / "run", resume=True, **small | {"epochs": 6})
    assert (again.architecture, len(again.history)) == (result.architecture, 5)


def test_a_search_that_is_not_stopped_ends_as_ever(data: ImageData, small: dict[str, Any]) -> None:
    method = moving(EigenvalueRise(0.75, 1), "hessian_eigenvalue", [1, 1, 1], lag=2)
    result = search(SPACE, data, method, **small | {"epochs": 3})
    assert str(result.architecture) == result.history[-1]["architecture"]
    assert "stopped_after" not in result.metrics


def test_a_rise_in_the_last_epoch_counts_too(data: ImageData, small: dict[str, Any]) -> None:
    method = moving(EigenvalueRise(0.75, 1), "hessian_eigenvalue", [1, 1, 9], lag=1)
    result = search(SPACE, data, method, **small | {"epochs": 3})
    assert str(result.architecture) == result.history[1]["architecture"]


def test_the_spectrum_of_the_rule_and_that_of_the_caller_are_measured_once(
    data: ImageData, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[HessianSpectrum] = []
    measure = HessianSpectrum.measure

    def counted(self: HessianSpectrum, state: SearchState) -> dict[str, float]:
        measured.append(self)
        return measure(self, state)

    monkeypatch.setattr(HessianSpectrum, "measure", counted)
    method = stopped_by_eigenvalue(methods.darts(), spectrum=HessianSpectrum(2, 2))
    result = search(SPACE, data, method, observers=(HessianSpectrum(3, 2),), **small)
    assert measured == [HessianSpectrum(2, 2)] * len(result.history)


def test_a_stopped_search_resumes_bit_for_bit(data: ImageData, small: dict[str, Any], tmp_path: Path) -> None:
    method = stopped_by_eigenvalue(methods.darts(), ratio=1.0, window=2, spectrum=HessianSpectrum(6, 2))
    settings = small | {"epochs": 8}
    whole = search(SPACE, data, method, out=tmp_path / "whole", **settings)
    assert 4 <= len(whole.history) < 8

    def interrupt(event: Event) -> None:
        if event.epoch == len(whole.history) - 1 and event.step == 1:
            raise Interrupted("for the test")

    with pytest.raises(Interrupted):
        search(SPACE, data, method, out=tmp_path / "parts", observers=(interrupt,), **settings)
    result = search(SPACE, data, method, out=tmp_path / "parts", resume=True, **settings)
    assert result.architecture == whole.architecture
    saved = [
        torch.load(tmp_path / name / "checkpoints" / "last.pt", weights_only=True)["state"]
        for name in ("whole", "parts")
    ]
    for name, value in saved[0]["modules"]["supernet"].items():
        assert torch.equal(value, saved[1]["modules"]["supernet"][name])
    figures = ("hessian_eigenvalue", "hessian_trace", "train_loss", "architecture")
    assert [[e[f] for f in figures] for e in saved[0]["history"]] == [
        [e[f] for f in figures] for e in saved[1]["history"]
    ]
    assert len(RunFolder(tmp_path / "parts").read_events()) == len(whole.history)


def test_a_search_stopped_by_its_skip_connections_ends_there(data: ImageData, small: dict[str, Any]) -> None:
    result = search(SPACE, data, methods.darts(stop_skips=1, architecture_learning_rate=0.1), **small | {"epochs": 5})
    counts = [record["skip_connections"] for record in result.history]
    assert counts[-1] >= 1
    assert all(count < 1 for count in counts[:-1])
    assert str(result.architecture).count("skip_connect") == counts[-1]


def test_what_the_method_observes_is_told_before_the_caller(data: ImageData, small: dict[str, Any]) -> None:
    seen: list[Any] = []
    search(
        SPACE,
        data,
        stopped_by_skips(methods.darts(), 6),
        observers=(lambda event: seen.append("skip_connections" in event.record),),
        **small,
    )
    assert seen == [False, False, True] * 2
