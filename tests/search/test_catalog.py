import contextlib
import importlib.metadata
import sys
import types
from typing import Any

import pytest

from nas_augment import catalog as policy_catalog
from nas_augment.fixed import cutout
from nas_hypergrad import HypergradError
from nas_search import ConfigError, catalog, methods
from nas_search.describe import describe
from nas_search.method import Method
from nas_spaces import catalog as space_catalog


def test_our_methods_are_all_found() -> None:
    assert set(catalog.methods()) == set(methods.__all__)
    for name in catalog.methods():
        assert catalog.method(name).name == name


def test_settings_reach_the_method() -> None:
    composed = catalog.method("random-nas", {"samples": 3, "learning_rate": 1})
    assert describe(composed) == describe(methods.random_nas(samples=3, learning_rate=1.0))


def test_unknown_names_have_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown method 'dart'; did you mean 'darts'"):
        catalog.method("dart")
    with pytest.raises(ConfigError, match="unknown policy 'cut_out'; did you mean 'cutout'"):
        catalog.policy("cut_out")
    with pytest.raises(ConfigError, match="method 'gdas' has no setting 'temprature'; did you mean 'temperature'"):
        catalog.method("gdas", {"temprature": 1.0})


@pytest.mark.parametrize(
    ("name", "key", "value", "near"),
    [
        ("augment_only", "policy", "dad", "dada"),
        ("augment_only", "per", "img", "image"),
        ("bayesian_optimization", "kernel", "haming", "hamming"),
        ("bayesian_optimization", "cost", "params", "parameters"),
        ("daas", "share", "oper", "operation"),
        ("dha", "learn", ["architecture", "augment"], "augmentation"),
        ("dha", "weighting", "scores", "score"),
        ("en2as", "encoding", "logit", "logits"),
        ("en2as", "selection", "evolve", "evolution"),
        ("enas", "reward", "acc", "accuracy"),
        ("nsas", "base", "gads", "gdas"),
        ("nsas", "strategy", "prev", "previous"),
    ],
)
def test_a_word_that_is_none_of_those_known_has_the_nearest(name: str, key: str, value: Any, near: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean '{near}'"):
        catalog.method(name, {key: value})


@pytest.mark.parametrize("value", ["0.1", None, True, [0.1]])
def test_a_value_of_the_wrong_type_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="expected float"):
        catalog.method("gdas", {"learning_rate": value})


def test_policies_are_values() -> None:
    assert catalog.policy("cutout") == cutout().decide()
    with pytest.raises(ConfigError, match="policy 'daas' is learned, and needs a method that learns it"):
        catalog.policy("daas")


def needs(required: int) -> None: ...


def test_plug_ins_that_do_not_work_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        importlib.metadata.EntryPoint("my-method", "nas_search.methods:random_search", "nas.methods"),
        importlib.metadata.EntryPoint("gone", "no_such_module:make", "nas.methods"),
        importlib.metadata.EntryPoint("needs", f"{__name__}:needs", "nas.methods"),
    ]
    monkeypatch.setattr(catalog, "entry_points", lambda group: points)
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or types.SimpleNamespace(needs=needs))
    assert catalog.method("my-method").name == "random_search"
    with pytest.raises(ConfigError, match="no_such_module:make cannot be imported"):
        catalog.method("gone")
    with pytest.raises(ConfigError, match="setting 'required' of method 'needs' has no default"):
        catalog.settings("needs")


def test_methods_of_others_are_found_and_do_not_replace_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        importlib.metadata.EntryPoint("mine", "nas_search.methods:random_search", "nas.methods"),
        importlib.metadata.EntryPoint("gdas", "somewhere:else", "nas.methods"),
    ]
    monkeypatch.setattr(catalog, "entry_points", lambda group: points if group == "nas.methods" else [])
    assert catalog.method("mine").name == "random_search"
    assert catalog.methods()["gdas"] == "nas_search.methods:gdas"
    assert catalog.method("gdas").name == "gdas"


def test_ours_are_found_without_a_look_at_every_installed_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look takes as long as hundreds of methods take to be made."""
    for module in (catalog, space_catalog, policy_catalog):
        monkeypatch.delattr(module, "entry_points")
    assert catalog.method("random-nas", {"samples": 3}).name == "random_nas"
    assert space_catalog.space("nas-bench-201").name == "nas_bench_201"
    assert policy_catalog.policy("cutout").decide() == cutout().decide()


ODD_VALUES = [3, -1, 2.5, "x", [3], ["x"], {"a": 1}, [["a"]], [{"a": 1}], [1, "a"], [], True]


@pytest.mark.parametrize("name", sorted(catalog.methods()))
def test_a_value_that_does_not_fit_a_setting_is_a_clear_error(name: str) -> None:
    """Whatever is given to whatever setting: a method, or an error of ours that names the setting's value."""
    for key in catalog.settings(name):
        for value in ODD_VALUES:
            with contextlib.suppress(ConfigError, HypergradError):
                assert isinstance(catalog.method(name, {key: value}), Method)


def test_a_part_is_no_plain_value() -> None:
    with pytest.raises(
        ConfigError, match=r"'limits' of method 'dha' is 3; it is a part of the search and no value.*limits=\.\.\."
    ):
        catalog.method("dha", {"limits": 3})
    with pytest.raises(ConfigError, match="'learn' of method 'dha' has 3 in it; expected str"):
        catalog.method("dha", {"learn": ["architecture", 3]})
