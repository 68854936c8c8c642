import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from nas_search import catalog
from nas_search.config import RunConfig
from nas_search.config_template import commented_toml


@pytest.mark.parametrize("method", ["daas", "darts", "dha", "random_search", "e2nas"])
def test_what_is_written_reads_as_what_was_meant_and_every_comment_can_be_used(tmp_path: Path, method: str) -> None:
    config = RunConfig(method=method)
    text = commented_toml(config)
    (tmp_path / "a.toml").write_text(text)
    assert RunConfig.from_toml(tmp_path / "a.toml") == config
    # Uncommented, every setting is the one that a run without it has.
    settings = set(catalog.settings(method))
    kept = [
        re.sub(r"^# (\w+ = )", lambda m: m[1] if m[1][:-3] in settings else m[0], line) for line in text.split("\n")
    ]
    (tmp_path / "b.toml").write_text("\n".join(kept))
    assert RunConfig.from_toml(tmp_path / "b.toml").settings == config.resolved().settings
    for item in fields(RunConfig):
        assert item.name == "settings" or f"# {item.name}: " in text
    assert all(f"# {name}: " in text for name in settings)


def test_settings_that_are_given_stand_there_without_the_mark(tmp_path: Path) -> None:
    config = RunConfig(method="gdas", data='npz:a "b".npz', settings={"temperature": 5.0})
    (tmp_path / "a.toml").write_text(commented_toml(config))
    assert RunConfig.from_toml(tmp_path / "a.toml") == config


def test_init_writes_once_and_search_takes_it(nascli: Any) -> None:
    quick = ("--method", "gdas", "--data", "fake:1x8x8")
    assert json.loads(nascli("init", "c.toml", *quick, "--json").stdout) == {"file": "c.toml"}
    before = Path("c.toml").read_text()
    refused = nascli("init", "c.toml")
    assert (refused.status, Path("c.toml").read_text()) == (1, before)
    assert "--force" in refused.stderr
    assert nascli("init", "c.toml", *quick, "--force").stdout.endswith("nascli search --config c.toml\n")
    short = ("--epochs", 1, "--train-epochs", 0, "--channels", 4, "--device", "cpu", "--quiet")
    done = nascli("search", "--config", "c.toml", *short, "--out", "run")
    assert (done.status, done.stderr) == (0, "")
    assert RunConfig.from_toml("run/config.toml").method == "gdas"


def test_wrong_names_are_answered_with_the_nearest(nascli: Any) -> None:
    done = nascli("init", "--method", "dats")
    assert (done.status, "did you mean 'darts'" in done.stderr) == (2, True)
    for option, name, near in (
        ("--space", "dart", "darts"),
        ("--data", "digit", "digits"),
        ("--data", "npy:a", "npz:FILE"),
    ):
        done = nascli("init", option, name)
        assert (done.status, f"did you mean '{near}'" in done.stderr) == (2, True), done.stderr
    assert not Path("nas.toml").exists()
    Path("c.toml").write_text("[settings]\nwarmupp = 0.1\n")
    done = nascli("search", "--config", "c.toml")
    assert (done.status, "did you mean 'warmup'" in done.stderr) == (2, True)
