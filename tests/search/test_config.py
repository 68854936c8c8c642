from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas_search import ConfigError, catalog
from nas_search.config import RunConfig, parse_setting


def test_a_configuration_survives_toml(tmp_path: Path) -> None:
    config = RunConfig(method="darts", epochs=3, settings={"learning_rate": 0.1, "order": 1})
    (tmp_path / "config.toml").write_text(config.to_toml())
    assert RunConfig.from_toml(tmp_path / "config.toml") == config


def test_resolving_writes_out_every_setting_and_full_paths() -> None:
    config = RunConfig(
        method="random-nas", epochs=7, data="npz:some/file.npz", table="t.npz", settings={"samples": 5}
    ).resolved()
    assert config.method == "random_nas"
    assert config.settings == {
        "samples": 5, "validation_images": 512, "learning_rate": 0.025, "weight_decay": 5e-4, "momentum": 0.9, "clip": 5.0
    }  # fmt: skip
    assert config.train_learning_rate == 0.05
    assert config.train_epochs == 7
    assert config.data == f"npz:{Path.cwd()}/some/file.npz"
    assert Path(config.table).is_absolute()
    assert config.resolved() == config


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rate=0.1", ("learning_rate", 0.1)),
        ("epochs = 3", ("epochs", 3)),
        ("flag=true", ("flag", True)),
        ("data=npz:my file.npz", ("data", "npz:my file.npz")),
        ('method="gdas"', ("method", "gdas")),
    ],
)
def test_settings_are_read_as_toml_or_text(text: str, expected: tuple[str, Any]) -> None:
    assert parse_setting(text) == expected


@pytest.mark.parametrize("text", ["learning_rate", "=3", ""])
def test_a_setting_without_a_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not of the form KEY=VALUE"):
        parse_setting(text)


def test_unknown_keys_name_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown key 'learning_rat'; did you mean 'learning_rate'"):
        RunConfig().updated({"learning_rat": 0.1})
    (tmp_path / "c.toml").write_text("epoch = 3\n")
    with pytest.raises(ConfigError, match=r"unknown key 'epoch' in .*c\.toml; did you mean 'epochs'"):
        RunConfig.from_toml(tmp_path / "c.toml")
    (tmp_path / "c.toml").write_text('method = "gdas"\ntemperature = 3.0\n')
    with pytest.raises(ConfigError, match=r"it is a setting of gdas, and stands under \[settings\]"):
        RunConfig.from_toml(tmp_path / "c.toml")
    (tmp_path / "c.toml").write_text('method = "gads"\ntemperature = 3.0\n')
    with pytest.raises(ConfigError, match="unknown key 'temperature'"):
        RunConfig.from_toml(tmp_path / "c.toml")


def test_files_that_are_no_configuration_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none\.toml \(No such file"):
        RunConfig.from_toml(tmp_path / "none.toml")
    for content in (b"epochs = ", b"\xff\xfe"):
        (tmp_path / "c.toml").write_bytes(content)
        with pytest.raises(ConfigError, match="is not TOML"):
            RunConfig.from_toml(tmp_path / "c.toml")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": "three"}, "epochs is 'three'; expected int, such as 24"),
        ({"epochs": True}, "epochs is True"),
        ({"spectrum": 1}, "spectrum is 1; expected bool, such as False"),
        ({"epochs": 0}, "epochs is 0; expected 1 or more"),
        ({"channels": -4}, "channels is -4"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**64}, "seed is 18446744073709551616"),
        ({"batch_size": 1}, "batch_size is 1; expected 2 or more"),
        ({"train_learning_rate": float("nan")}, "train_learning_rate is nan"),
        ({"train_epochs": -2}, "train_epochs is -2"),
        ({"space": 5}, "space is 5; expected str"),
        ({"settings": [1]}, r"settings is \[1\]; expected a table"),
    ],
)
def test_values_of_the_wrong_type_or_size_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RunConfig(**values)


def test_the_architecture_of_a_short_search_of_digits_is_the_best_of_a_hundred_draws() -> None:
    assert RunConfig().resolved().settings["samples"] == 100
    assert RunConfig(settings={"samples": 0}).resolved().settings["samples"] == 0
    # The policy is learned for the most probable architecture then, and nothing is drawn.
    independent = RunConfig(settings={"independent": True}).resolved()
    assert independent.settings["samples"] == 0
    assert independent.settings["architectures"] == 2
    assert RunConfig(data="fake").resolved().settings["samples"] == 0


def test_short_searches_of_digits_have_a_larger_architecture_learning_rate_unless_told_otherwise() -> None:
    rate = "architecture_learning_rate"
    assert RunConfig().resolved().settings[rate] == RunConfig(method="darts").resolved().settings[rate] == 0.01
    assert RunConfig(data="fake:1x8x8").resolved().settings[rate] == 3e-4
    assert RunConfig(settings={rate: 0.5}).resolved().settings[rate] == 0.5


def test_settings_of_another_method_are_dropped_when_the_method_changes() -> None:
    config = RunConfig(method="gdas").resolved().updated({"method": "random_nas", "seed": 1})
    assert set(config.settings) <= {"learning_rate", "weight_decay", "momentum", "clip"}
    assert config.resolved().method == "random_nas"


@pytest.mark.parametrize("first", sorted(catalog.methods()))
def test_a_configuration_that_was_written_out_fits_every_other_method(first: str) -> None:
    before = RunConfig(method=first, data="fake:1x8x8").resolved()
    for second in sorted({*catalog.methods()} - {first, "augment_only"}):
        alone = RunConfig(method=second, data="fake:1x8x8").resolved()
        assert before.updated({"method": second}).resolved().settings == alone.settings


def test_what_was_changed_goes_along_to_another_method_that_has_it() -> None:
    changed = RunConfig(method="daas", settings={"learning_rate": 0.3, "share": "operation", "samples": 7}).resolved()
    moved = changed.updated({"method": "sequential_dha"})
    assert moved.settings == {"learning_rate": 0.3}  # its `share` is a number, and it has no `samples`


def test_what_is_customary_for_some_data_does_not_stay_where_the_data_change() -> None:
    for before, after in (("digits", "fake:3x8x8"), ("digits", "fake-text:20"), ("fake-text:20", "digits")):
        spaces = ("darts_rnn" if data.startswith("fake-text") else "nas_bench_201" for data in (before, after))
        first, second = (
            RunConfig(method="darts", data=data, space=space)
            for data, space in zip((before, after), spaces, strict=True)
        )
        moved = first.resolved().updated({"data": after, "space": second.space}).resolved()
        assert moved == replace(second.resolved(), train_epochs=moved.train_epochs)
    changed = RunConfig(data="digits", settings={"learning_rate": 0.3}, train_learning_rate=0.7).resolved()
    moved = changed.updated({"data": "fake-text:20", "space": "darts_rnn"}).resolved()
    assert (moved.settings["learning_rate"], moved.train_learning_rate) == (0.3, 0.7)


def test_a_setting_that_is_no_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="setting 'temperature' of method 'gdas' is nan; expected a number"):
        RunConfig(method="gdas", settings={"temperature": float("nan")}).resolved()


def test_the_depth_of_a_chain_is_its_own_unless_it_is_given() -> None:
    assert RunConfig(space="mobile").resolved().cells == 21
    assert RunConfig(space="darts").resolved().cells == RunConfig().resolved().cells == 1
    assert RunConfig(space="mobile", cells=3).resolved().cells == 3
    with pytest.raises(ConfigError, match="cells is 0; expected 1 or more"):
        RunConfig(cells=0)


def test_the_depth_of_a_space_does_not_stay_where_the_space_changes() -> None:
    mobile = RunConfig(space="mobile").resolved()
    assert mobile.updated({"space": "nas_bench_201"}).resolved().cells == 1
    assert RunConfig().resolved().updated({"space": "mobile"}).resolved().cells == 21
    assert RunConfig(cells=3).resolved().updated({"space": "darts"}).resolved().cells == 3


def test_keys_and_settings_in_each_others_place(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('method = "darts"\n[settings]\nepochs = 2\n')
    with pytest.raises(ConfigError, match=r"'epochs' of .* is no setting of darts: it stands above \[settings\]"):
        RunConfig.from_toml(path)
    path.write_bytes(b'\xef\xbb\xbfmethod = "darts"\n')  # as editors of Windows begin a file
    assert RunConfig.from_toml(path).method == "darts"


def test_wrong_settings_are_found_when_resolving() -> None:
    with pytest.raises(
        ConfigError, match="setting 'learning_rate' of method 'gdas' is 'high'; expected float, such as 0.025"
    ):
        RunConfig(method="gdas", settings={"learning_rate": "high"}).resolved()
    with pytest.raises(ConfigError, match="method 'gdas' has no setting 'order'"):
        RunConfig(method="gdas", settings={"order": 1}).resolved()
    assert RunConfig(settings={"learning_rate": 1}).resolved().settings["learning_rate"] == 1


def test_text_is_searched_with_the_optimizer_of_recurrent_cells_unless_told_otherwise() -> None:
    config = RunConfig(method="darts", data="wikitext:some/folder").resolved()
    wanted = {"learning_rate": 20.0, "clip": 0.25, "momentum": 0.0, "weight_decay": 5e-7}
    assert wanted.items() <= config.settings.items()
    assert config.settings["architecture_learning_rate"] == 3e-3
    assert config.train_learning_rate == 20.0
    assert config.data == f"wikitext:{Path.cwd()}/some/folder"
    assert config.resolved() == config
    for method in ("random_nas", "nsas", "random_search"):
        assert wanted.items() <= RunConfig(method=method, data="fake-text").resolved().settings.items()
    given = RunConfig(data="ptb:x", train_learning_rate=1, settings={"learning_rate": 2.0}).resolved()
    assert (given.settings["learning_rate"], given.settings["clip"], given.train_learning_rate) == (2.0, 0.25, 1.0)


@pytest.mark.parametrize("name", catalog.methods())
def test_what_is_resolved_for_digits_are_settings_of_the_method(name: str) -> None:
    assert set(RunConfig(method=name).resolved().settings) <= set(catalog.settings(name))


def test_the_space_is_that_of_a_shipped_table_unless_another_is_asked_for(tmp_path: Path) -> None:
    config = RunConfig().updated({"table": "digits"})
    assert config.space == "nas_bench_201_small"
    assert config.resolved().table == "digits"
    assert RunConfig().updated({"table": "digits", "space": "nas_bench_201"}).space == "nas_bench_201"
    assert RunConfig(space="darts").updated({"table": "digits"}).space == "darts"
    (tmp_path / "config.toml").write_text('table = "digits"\n')
    assert RunConfig.from_toml(tmp_path / "config.toml").space == "nas_bench_201_small"
    (tmp_path / "config.toml").write_text('table = "digits"\nspace = "nas_bench_201"\n')
    assert RunConfig.from_toml(tmp_path / "config.toml").space == "nas_bench_201"
