"""The other commands, and the door itself."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from here import Here

from nas_cli.main import _COMMANDS
from nas_cli.options import engine_of
from nas_search import catalog
from nas_search.engines import LocalEngine
from nas_spaces import nas_bench_201, published

ARCHITECTURE = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    texts = [str(architecture) for architecture in nas_bench_201()]
    values = np.arange(len(texts), dtype=float)
    np.savez(tmp_path / "table.npz", arch=np.array(texts), cifar10_test_200=values, cifar10_valid_200=values / 2)
    return tmp_path / "table.npz"


def test_help_and_lists_are_shown_without_importing_torch() -> None:
    program = (
        "import sys; sys.argv = ['nascli', '--help']\n"
        "from nas_cli.main import main\n"
        "for kind in (None, 'data', 'hypergradients'):\n"
        "    if kind: sys.argv[1:] = ['list', kind]\n"
        "    try: main()\n"
        "    except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'nas_search', 'nas_spaces', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    for command in ("search", "train", "evaluate", "export", "sweep", "report", "show", "query", "list", "doctor"):
        assert f"  {command} " in done.stdout


@pytest.mark.parametrize("command", ["search", "train", "report", "show", "query", "list", "doctor"])
def test_every_command_has_help(nascli: Any, command: str) -> None:
    outcome = nascli(command, "--help")
    assert outcome.status == 0
    assert f"Usage: nascli {command}" in outcome.stdout
    # The overview repeats the first line of the command's own help, so as not to import it.
    own = import_module(f"nas_cli.commands.{command}").command.help
    assert own.splitlines()[0] == _COMMANDS[command]


def test_an_unknown_command_names_the_nearest(nascli: Any) -> None:
    outcome = nascli("serch")
    assert outcome.status == 2
    assert "No such command 'serch'. Did you mean 'search'?" in outcome.stderr


def test_the_version_is_that_of_the_distribution(nascli: Any) -> None:
    assert nascli("--version").stdout.strip() == "nascli, version 0.1.0"


def test_train_replaces_the_model(nascli: Any, run: Path) -> None:
    before = (run / "model.pt").read_bytes()
    outcome = nascli("train", "run", "--epochs", "3", "--json")
    assert outcome.status == 0
    assert json.loads(outcome.stdout)["epochs"] == 3
    assert (run / "model.pt").read_bytes() != before
    assert nascli("train", "run", "--epochs", "3", "--resume").stdout.startswith("test accuracy")
    assert nascli("train", "nowhere").status == 1


def test_evaluate_and_export(nascli: Any, run: Path) -> None:
    done = nascli("evaluate", run, "--device", "cpu")
    assert done.status == 0, done.stderr
    accuracy = json.loads((run / "result.json").read_text())["metrics"]["test_accuracy"]
    assert f"test accuracy {100 * accuracy:.2f} % of" in done.stdout
    assert json.loads(nascli("evaluate", run, "--device", "cpu", "--json").stdout)["test_accuracy"] == accuracy
    done = nascli("export", run, "--format", "torch", "--json")
    assert done.status == 0, done.stderr
    assert Path(json.loads(done.stdout)["file"]).name == "model.pt2"
    assert nascli("export", run, "--format", "json", "--out", "found.json").stdout.startswith("found.json")
    assert nascli("export", run, "--format", "bundle", "--out", "found.zip").stdout.startswith("found.zip")
    assert nascli("evaluate", "nowhere").status == 1


def test_sweep_puts_runs_side_by_side_and_repeats_nothing(nascli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def engine(*options: Any) -> Here:
        """In place of the engine that the options stand for, whose processes have tests of their own."""
        chosen = engine_of(*options)
        assert isinstance(chosen, LocalEngine)
        return Here(chosen.workers)

    monkeypatch.setattr("nas_cli.commands.sweep.engine_of", engine)
    sweep = ("sweep", "--methods", "random_nas", "--seeds", 1, "--out", "s", "--grid")
    quick = ("--data", "fake:1x8x8", "--epochs", 1, "--train-epochs", 0, "--channels", 4, "--device", "cpu")
    refused = nascli(*sweep, "samples=2,nonsense", *quick)
    assert (refused.status, "samples" in refused.stderr) == (2, True)
    refused = nascli(*sweep, "space=dart,darts", *quick)
    assert (refused.status, "did you mean 'darts'" in refused.stderr, Path("s").exists()) == (2, True, False)
    arguments = (*sweep, "samples=2", *quick, "--workers", "2")
    done = nascli(*arguments)
    assert done.status == 0, done.stderr
    assert "random_nas-samples=2" in done.stdout
    assert Path("s/results.csv").exists()
    again = nascli(*arguments, "--json")
    assert [each["status"] for each in json.loads(again.stdout)["trials"]] == ["done"]
    Path("s/random_nas-samples=2-seed0/result.json").write_text("{")
    damaged = nascli(*arguments, "--quiet")
    assert (damaged.status, damaged.stderr) == (1, "")
    assert "random_nas-samples=2-seed0  FAILED: s/random_nas-samples=2-seed0/result.json cannot be" in damaged.stdout
    assert nascli(*arguments, "--address", "here").status == 2
    assert nascli(*arguments, "--gpus", "1").status == 2


def test_report_of_one_and_of_several_runs(nascli: Any, run: Path) -> None:
    assert nascli("report", "run").stdout.strip() == "run/report.html"
    outcome = nascli("report", "run", "run", "--out", "both.html")
    assert outcome.stdout.strip() == "both.html"
    assert "2 runs compared" in Path("both.html").read_text()
    assert nascli("report", "run", "run").status == 2
    assert nascli("report", "nowhere").status == 1


def test_show_an_architecture_as_text_and_picture(nascli: Any) -> None:
    outcome = nascli("show", ARCHITECTURE, "--out", "cell.svg")
    assert outcome.stdout.splitlines()[:3] == [ARCHITECTURE, "  0 -> 1  nor_conv_3x3", "  0 -> 3  skip_connect"]
    ElementTree.parse("cell.svg")
    assert nascli("show", ARCHITECTURE, "--out", "cell.bmp").status == 2
    for name in ("nowhere/cell.png", "nowhere/cell.svg"):
        assert "no folder nowhere for the picture; make it" in nascli("show", ARCHITECTURE, "--out", name).stderr
    assert nascli("show", "|nonsense~0|").status == 2


def test_show_writes_png(nascli: Any) -> None:
    assert nascli("show", ARCHITECTURE, "--out", "cell.png").status == 0
    assert Path("cell.png").read_bytes().startswith(b"\x89PNG")


def test_show_takes_a_text_that_is_too_long_for_a_file_name(nascli: Any) -> None:
    text = str(published.DARTS_V2)
    assert len(text) > 255
    outcome = nascli("show", text, "--space", "darts")
    assert outcome.status == 0, outcome.stderr
    assert outcome.stdout.splitlines()[0] == text


def test_an_evaluation_at_another_size_than_that_of_the_training_is_refused(nascli: Any, run: Path) -> None:
    assert nascli("evaluate", run, "--data", "fake:1x8x8").status == 0
    refused = nascli("evaluate", run, "--data", "fake:1x12x12")
    assert refused.status == 2
    assert "are 12 x 12, and the network of" in refused.stderr
    assert "trained on 8 x 8; give images of that size, of a folder by imagefolder:DIR,size=8" in refused.stderr


@pytest.mark.parametrize(
    ("kind", "module", "remedy"),
    [
        ("InvalidCxxCompiler", "torch._inductor.exc", "It needs a C++ compiler: install one, or leave out --compile"),
        ("Unsupported", "torch._dynamo.exc", "Leave out --compile"),
    ],
)
def test_what_torch_cannot_compile_is_told_in_a_line(
    nascli: Any, run: Path, monkeypatch: pytest.MonkeyPatch, kind: str, module: str, remedy: str
) -> None:
    error = type(kind, (RuntimeError,), {"__module__": module})

    def fail(*_: Any, **__: Any) -> None:
        raise error("what torch says")

    monkeypatch.setattr("nas_search.runs.run_training", fail)
    outcome = nascli("train", run, "--epochs", 1, "--compile")
    assert outcome.status == 1
    assert f"torch.compile failed: what torch says. {remedy}" in outcome.stderr


def test_show_a_run(nascli: Any, run: Path) -> None:
    outcome = nascli("show", "run")
    assert json.loads((run / "result.json").read_text())["architecture"] in outcome.stdout
    ElementTree.parse(run / "architecture.svg")
    found = json.loads((run / "result.json").read_text())["candidates"]
    ranked = nascli("show", "run", "--top", "3").stdout.splitlines()[-4:]
    assert ranked[0] == "3 of 20, by probability under HardGumbel:"
    assert [line.split()[2] for line in ranked[1:]] == [each["architecture"] for each in found[:3]]
    assert json.loads(nascli("show", "run", "--top", "2", "--json").stdout)["candidates"] == found[:2]
    refused = nascli("show", ARCHITECTURE, "--top", "3")
    assert refused.status == 2
    assert "--top ranks what a search has compared" in refused.stderr


def test_query_says_what_the_table_knows(nascli: Any, table: Path) -> None:
    index = next(row for row, each in enumerate(nas_bench_201()) if str(each) == ARCHITECTURE)
    record = json.loads(nascli("query", ARCHITECTURE, "--table", table, "--json").stdout)
    assert record == {
        "architecture": ARCHITECTURE, "dataset": "cifar10", "test": index, "valid": index / 2, "rank": 15625 - index,
        "of": 15625, "regret": 15624 - index,
    }  # fmt: skip
    assert f"rank {15625 - index:,} of 15,625" in nascli("query", ARCHITECTURE, "--table", table).stdout
    assert nascli("query", ARCHITECTURE, "--table", table, "--dataset", "mnist").status == 1


def test_query_of_a_table_without_validation_leaves_it_out(nascli: Any) -> None:
    Path("own.csv").write_text(f"arch,cifar10_test_200\n{ARCHITECTURE},90.5\n")
    record = json.loads(nascli("query", ARCHITECTURE, "--table", "own.csv", "--json").stdout)
    assert (record["test"], record["valid"]) == (90.5, None)
    assert nascli("query", ARCHITECTURE, "--table", "own.csv").stdout.startswith("test 90.50 % on cifar10\n")


def test_query_of_the_shipped_table_knows_its_space(nascli: Any) -> None:
    cell = "|nor_conv_3x3~0|+|skip_connect~0|none~1|"
    record = json.loads(nascli("query", cell, "--table", "digits", "--json").stdout)
    assert (record["dataset"], record["of"], record["architecture"]) == ("digits", 125, cell)
    refused = nascli("query", ARCHITECTURE, "--table", "digits")
    assert refused.status != 0
    assert "position" in refused.stderr


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("spaces", {"nas_bench_201"}),
        ("methods", {"darts", "gdas", "random_nas", "random_search"}),
        ("policies", {"identity", "crop_and_flip", "cutout"}),
        ("data", {"digits", "npz:FILE"}),
        ("hypergradients", {"FirstOrder"}),
    ],
)
def test_list_shows_what_is_installed(nascli: Any, kind: str, expected: set[str]) -> None:
    record = json.loads(nascli("list", kind, "--json").stdout)
    assert expected <= set(record)
    assert all(record.values())
    assert all(name in nascli("list", kind).stdout for name in expected)


def test_list_shows_the_settings_of_a_method(nascli: Any) -> None:
    assert "temperature = 10.0" in nascli("list", "methods", "gdas").stdout
    assert json.loads(nascli("list", "methods", "random-nas", "--json").stdout)["samples"] == 100
    assert nascli("list", "methods", "gadas").status == 2
    shown = nascli("list", "methods", "dha").stdout
    for part in (
        "relaxation        SparseCode(sparsity=2",
        "AdversarialStep(weighting='score')",
        "LearnedHyperparameters(",
        "UniformPairs(",
    ):
        assert part in shown
    assert "hyperparameters   " not in nascli("list", "methods", "darts").stdout
    every = json.loads(nascli("list", "methods", "--parts", "--json").stdout)
    assert every["daas"]["relaxation"].startswith("HardGumbel(")
    assert "LearnedHyperparameters(" in every["dha"]["hyperparameters"]
    assert nascli("list", "spaces", "--parts").status == 2
    assert (
        json.loads(nascli("list", "methods", "dha", "--json").stdout)["roles"]["network"]
        == "InheritWeights(batches=50)"
    )
    assert nascli("list", "spaces", "nas_bench_201").status == 2
    misspelt = nascli("list", "method")
    assert (misspelt.status, "Did you mean 'methods'?" in misspelt.stderr) == (2, True)


def test_the_settings_of_every_method_are_json(nascli: Any) -> None:
    for name in catalog.methods():
        record = json.loads(nascli("list", "methods", name, "--json").stdout)
        assert record.keys() == {"roles", "text", "settings"} | record["settings"].keys()


def test_doctor_names_versions_and_what_is_missing(nascli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from nas_cli.commands import doctor

    outcome = nascli("doctor")
    assert outcome.status == 0
    assert "torch" in outcome.stdout
    monkeypatch.setattr(doctor, "_version", lambda package: None if package in ("rich", "onnx") else "1")
    outcome = nascli("doctor")
    assert outcome.status == 1
    assert "MISSING: pip install rich" in outcome.stdout
    assert 'pip install "nas-cli[onnx]"' in outcome.stdout


def test_other_ranks_say_what_befalls_them_and_leave_wrong_use_to_the_first(
    nascli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    alone = nascli("train", "nowhere")
    assert alone.status == 1
    assert alone.stderr.startswith("nascli (rank 1): no run folder nowhere; give the folder that")
    shared = nascli("search", "--space", "nothing")
    assert shared == (2, "", "")


def test_what_one_process_does_the_first_rank_does_alone(nascli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in (("list", "spaces"), ("report", "nowhere"), ("evaluate", "nowhere")):
        for rank, size, silent in (("1", "2", True), ("0", "2", False), ("1", "1", False)):
            monkeypatch.setenv("RANK", rank)
            monkeypatch.setenv("WORLD_SIZE", size)
            assert (nascli(*command) == (0, "", "")) == silent
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "Usage: nascli report" in nascli("report", "--help").stdout


def test_a_depth_that_a_space_does_not_have_is_wrong_use(nascli: Any, tmp_path: Path) -> None:
    outcome = nascli("search", "--space", "mobile", "--cells", 3, "--data", "fake", "--out", tmp_path / "run")
    assert outcome.status == 2
    assert "3 cells were asked for; mobile has 21 layers" in outcome.stderr
    assert not (tmp_path / "run").exists()


def test_train_keeps_what_validated_best_and_says_how_to_repeat_itself(
    nascli: Any, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--epochs", 2, "--valid-share", 0.25, "--ema", 0.9, "--test-every", 1, "--deterministic")
    outcome = nascli("train", run, *options)
    assert outcome.status == 0, outcome.stderr
    record = json.loads((run / "train.json").read_text())
    assert f"% after 2 epochs, weights of epoch {record['best_epoch']}" in outcome.stdout
    assert record["weights"] == "best"
    assert record["computation"]["deterministic"]
    assert json.loads((run / "result.json").read_text())["metrics"]["train_computation"] == record["computation"]
    for weights, epoch in (("best", record["best_epoch"]), ("last", 2)):
        found = json.loads(nascli("evaluate", run, "--weights", weights, "--device", "cpu", "--json").stdout)
        assert found["test_accuracy"] == record["history"][epoch - 1]["test_accuracy"]
    assert nascli("export", run, "--format", "torch", "--weights", "last").status == 0

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nas_search.runs.run_training", interrupt)
    outcome = nascli("train", run, *options, "--weight-decay", 0.0, "--precision", "float32")
    assert outcome.status == 130
    assert (
        f"nascli train {run} --epochs 2 --weight-decay 0.0 --ema 0.9 --valid-share 0.25 --test-every 1 --precision float32 "
        "--deterministic --resume"
    ) in outcome.stderr
    (run / "checkpoints" / "retrain.pt").unlink()
    outcome = nascli("train", run, *options)
    assert outcome.status == 130
    assert outcome.stderr == "nascli: interrupted before the run began. Repeat the same command.\n"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ((), ("--precision bfloat16", "--preset quick --set batch_size=32", "--ema")),
        (
            ("--preset", "quick"),
            ("--precision bfloat16", "--set batch_size=N", "channels=N", "cells=N", "image_size=N"),
        ),
    ],
)
def test_memory_that_runs_out_in_a_training_names_its_settings(
    nascli: Any, run: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], named: tuple[str, ...]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")

    monkeypatch.setattr("nas_search.runs.run_training", fail)
    outcome = nascli("train", run, *options)
    assert outcome.status == 1
    assert outcome.stderr.startswith("nascli: out of memory: try ")
    for words in named:
        assert words in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("show", "runs/mine"), 2, "'runs/mine' is neither the folder of a run nor an architecture of nas_bench_201"),
        (("evaluate", "nowhere"), 1, "no run folder nowhere; give the folder that `nascli search` has written"),
        (("export", "nowhere"), 1, "no run folder nowhere; give the folder that `nascli search` has written"),
        (("train", "empty"), 1, "empty has no result.json; its search has not finished, nor begun there"),
        (("sweep", "--methods", "gdas", "--out", "file"), 1, "file is a file, and no folder"),
        (("search", "--data", "fake:1x8x8", "--out", "file"), 1, "file is a file, and no folder"),
        (("search", "--data", "empty"), 2, "write imagefolder:empty for image files"),
        (("search", "--set", "learning_rate"), 2, "KEY=VALUE, such as learning_rate=0.1"),
        (("search", "--set", "lr=0.1"), 2, "unknown key 'lr'; did you mean 'learning_rate'?"),
        (("search", "--config", "typo.toml", "--method", "gdas"), 2, "unknown key 'lr'; did you mean 'learning_rate'?"),
    ],
)
def test_mistakes_of_a_new_user_are_told_what_to_do(
    arguments: tuple[str, ...], status: int, words: str, nascli: Any
) -> None:
    Path("empty").mkdir()
    Path("file").write_text("")
    Path("typo.toml").write_text("[settings]\nlr = 0.1\n")
    outcome = nascli(*arguments)
    assert (outcome.status, outcome.stdout) == (status, "")
    assert words in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1


def test_a_batch_of_more_images_than_there_are_is_told(nascli: Any) -> None:
    quick = ("--method", "gdas", "--channels", "4", "--epochs", "1", "--train-epochs", "0", "--device", "cpu", "--json")
    outcome = nascli("search", "--data", "fake:1x8x8", "--batch-size", "200", *quick, "--verbose")
    assert (
        "a batch of 200 is more than the 126 examples of the train part of the train data: it is all of them."
        in outcome.stderr
    )
