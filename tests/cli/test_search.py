import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from here import Here

from nas_augment import Policy
from nas_search import catalog
from nas_search.engines import Engine

QUICK = (
    "--data",
    "fake:1x8x8",
    "--method",
    "gdas",
    "--epochs",
    "2",
    "--train-epochs",
    "1",
    "--channels",
    "4",
    "--device",
    "cpu",
)


def test_a_search_prints_what_it_found_and_what_to_do_next(nascli: Any, tmp_path: Path) -> None:
    outcome = nascli("search", *QUICK)
    assert outcome.status == 0
    run = Path("runs/gdas-fake-seed0-1")
    for text in (
        "architecture  |",
        "test accuracy",
        "random one",
        "report  runs/gdas-fake-seed0-1/report.html",
        f"nascli train {run}",
    ):
        assert text in outcome.stdout
    assert "search epoch 2/2  train loss" in outcome.stderr
    assert (tmp_path / run / "report.html").exists()


def test_a_joint_search_prints_and_reports_the_augmentation_that_it_found(nascli: Any, tmp_path: Path) -> None:
    few = ("--method", "daas", "--set", "architectures=1", "--set", "weight_architectures=1")
    outcome = nascli("search", *QUICK, *few, "--out", "run")
    assert outcome.status == 0
    shown = re.search(r"augmentation  (\w+ \d+ %(, \w+ \d+ %)* and 10 others)", outcome.stdout)
    assert shown is not None
    assert shown[1] in (tmp_path / "run" / "report.html").read_text()


def test_workers_score_candidates_and_the_run_keeps_how_many_are_proposed_together(
    nascli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def engine_of(engine: str, workers: int, address: str, gpus: float) -> Engine:
        asked.append((engine, workers, address, gpus))
        return Here(workers)

    monkeypatch.setattr("nas_cli.commands.search.engine_of", engine_of)
    quick = (*QUICK, "--epochs", "1", "--train-epochs", "0", "--out", "run")
    candidates = ("--method", "random_search", "--set", "candidate_epochs=1")
    outcome = nascli("search", *quick, *candidates, "--workers", 2)
    assert outcome.status == 0, outcome.stderr
    assert asked == [("local", 2, "", 0.0)]
    assert "parallel = 2" in (tmp_path / "run" / "config.toml").read_text()
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.pt", weights_only=True)
    assert len(saved["state"]["archive"]) == 2
    again = nascli("search", "--config", "run/config.toml", "--workers", 2, "--out", "again", "--set", "parallel=1")
    assert "scores 1 candidate(s) at a time, too few for 2 workers; give it parallel=2 (--set" in again.stderr
    text = (tmp_path / "run" / "config.toml").read_text()
    (tmp_path / "one.toml").write_text(text.replace("parallel = 2", "parallel = 1"))
    again = nascli("search", "--config", "one.toml", "--workers", 2, "--out", "again")
    assert again.status == 0, again.stderr
    refused = nascli("search", "--out", "run", "--resume", "--workers", 3)
    assert refused.status == 2
    assert "scores 2 candidate(s) at a time, too few for 3 workers" in refused.stderr
    refused = nascli("search", *QUICK, "--workers", 2, "--out", "other")
    assert refused.status == 2
    assert "method 'gdas' scores no candidates" in refused.stderr
    assert not (tmp_path / "other").exists()


def test_settings_of_the_training_that_were_found_are_printed(nascli: Any) -> None:
    mixed = ("--space", "nas_bench_201+learning_rate+augmentation_magnitude", "--method", "random_search")
    outcome = nascli("search", *QUICK, *mixed, "--set", "candidate_epochs=1", "--data", "fake:3x8x8", "--out", "run")
    assert outcome.status == 0, outcome.stderr
    record = json.loads(Path("run/result.json").read_text())
    assert f"    training  learning rate {record['hyperparameters']['learning_rate']:.4g}\n" in outcome.stdout
    assert re.search(r"of the 14 operations of randaugment at level \d+ of 30\n", outcome.stdout)


def test_what_a_joint_search_says_to_do_next_can_be_done(nascli: Any, tmp_path: Path) -> None:
    few = ("--method", "daas", "--set", "architectures=1", "--set", "weight_architectures=1", "--train-epochs", "0")
    outcome = nascli("search", *QUICK, *few, "--out", "my run")
    commands = outcome.stdout.splitlines()[-1].removeprefix("Next:").split("|")
    assert len(commands) == 2
    for command in (*commands, "nascli export 'my run' --format torch"):  # there is a network once it is trained
        arguments = shlex.split(command.replace("--epochs 100", "--epochs 1"))
        done = nascli(*arguments[1:])
        assert (arguments[0], done.status) == ("nascli", 0), done.stderr
    assert (tmp_path / "my run" / "model.pt2").exists()


def test_all_that_dha_found_is_exported_and_trains_the_network_anew(nascli: Any, tmp_path: Path) -> None:
    learned = ("logarithmic=true", "hyperparameter_learning_rate=0.2")
    settings = [each for setting in learned for each in ("--set", setting)]
    outcome = nascli("search", *QUICK, "--method", "dha", *settings, "--out", "run")
    assert re.search(r"test accuracy +\d+\.\d\d %  \(as trained in the search\)", outcome.stdout)
    assert (tmp_path / "run" / "model.pt").exists()
    for command in outcome.stdout.splitlines()[-1].removeprefix("Next:").split("|")[::2]:  # all but the training
        assert nascli(*shlex.split(command)[1:]).status == 0
    assert (tmp_path / "run" / "model.pt2").exists()
    assert nascli("train", "run", "--epochs", "2").status == 0
    assert nascli("export", "run", "--format", "json").status == 0
    bundle, trained = (json.loads((tmp_path / "run" / name).read_text()) for name in ("export.json", "train.json"))
    schedule = bundle["hyperparameters"]["schedule"]
    assert len({*schedule["learning_rate"]}) > 1
    assert [epoch["learning_rate"] for epoch in trained["history"]] == schedule["learning_rate"][1:]
    assert trained["architecture"] == bundle["architecture"]
    policy = Policy.from_json(json.dumps(bundle["policy"]))
    image = torch.zeros(1, 8, 8, dtype=torch.uint8)
    assert policy.to_torchvision()(image).shape == image.shape
    assert [type(stage).__name__ for stage in policy.stages][-1] == "Cutout"


def test_json_is_one_object_and_nothing_else(nascli: Any) -> None:
    outcome = nascli("search", *QUICK, "--out", "run", "--json", "--method", "random-nas", "--set", "samples=3")
    record = json.loads(outcome.stdout)
    assert outcome.stdout.count("\n") == 1
    assert outcome.stderr == ""
    assert record["method"] == "random_nas"
    assert {"peak_memory_mib", "images_per_second", "versions", "run"} <= set(record)


def test_options_override_the_file_which_overrides_the_defaults(nascli: Any, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        'data = "fake:1x8x8"\nmethod = "gdas"\n'
        "epochs = 1\nchannels = 4\nseed = 7\ntrain_epochs = 0\n[settings]\ntemperature = 5.0\n"
    )
    assert (
        nascli("search", "--config", "c.toml", "--seed", "8", "--set", "learning_rate=0.1", "--out", "run").status == 0
    )
    written = (tmp_path / "run" / "config.toml").read_text()
    for line in ("seed = 8", "epochs = 1", "temperature = 5.0", "learning_rate = 0.1", "final_temperature = 0.1"):
        assert line in written.splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--space", "nas_bench_202"), "unknown search space 'nas_bench_202'; did you mean 'nas_bench_201'"),
        (("--method", "gads"), "unknown method 'gads'; did you mean 'gdas'"),
        (("--data", "digit"), "unknown data source 'digit'; did you mean 'digits'"),
        (("--set", "temperatur=1"), "unknown key 'temperatur'; did you mean 'temperature'"),
        (("--set", "learning_rate=fast"), "expected float, such as 0.025"),
        (("--set", "policy=flip"), "unknown policy 'flip'"),
        (("--epochs", "0"), "epochs is 0; expected 1 or more"),
        (("--epochs", "many"), "'many' is not a valid integer"),
        (("--method", "amended_darts", "--set", "eta=-1.0"), "eta is -1.0"),
        (("--method", "darts", "--set", "order=3"), "order of darts is 3; expected 1"),
        (
            ("--method", "darts", "--set", "order=2", "--set", "learning_rate=0.0"),
            "does not fit its weights' optimiser",
        ),
        (("--device", "tpu9"), "unknown device 'tpu9'"),
        (("--data", "digits:mine"), "'digits:mine' has something behind digits, which takes nothing: write digits"),
        (("--seed", "-1"), "nascli: seed is -1; expected 0 or more"),
        (
            ("--method", "dha", "--set", "learn=('architecture',)"),
            "expected list, such as ['architecture', 'augmentation'",
        ),
        (("--config", "missing.toml"), "cannot read missing.toml"),
        (("--resume",), "--resume needs the run folder"),
        (("--epoch", "3"), "No such option"),
        (("--data", "fake:3x2x2", "--method", "random_search"), "images of 2 x 2 are too small for 2 reductions"),
    ],
)
def test_wrong_use_ends_with_2_and_writes_nothing(
    nascli: Any, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    outcome = nascli("search", *arguments)
    assert outcome.status == 2
    assert message in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "npz:missing.npz"), "missing.npz; expected a numpy archive with x_train"),
        (("--data", "npz:bad.npz"), "cannot be read as a numpy archive"),
        (("--data", "npz:one_class.npz"), "all train labels are 0"),
        (("--table", "bad.npz"), "bad.npz"),
        (("--out", "used"), "used exists and holds other files; choose another folder with --out"),
        (("--out", "new", "--resume"), "new holds no run to resume"),
        # Before an autoencoder of this space is trained.
        (
            ("--space", "darts", "--method", "e2nas", "--table", "digits"),
            "is of space nas_bench_201_small, and darts is",
        ),
    ],
)
def test_failures_end_with_1_in_one_line(nascli: Any, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "bad.npz").write_bytes(b"PK not really")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.tex").write_text("years of work")
    images, labels = np.zeros((8, 4, 4, 1), np.uint8), np.zeros(8, np.int64)
    np.savez(tmp_path / "one_class.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    before = sorted(tmp_path.rglob("*"))
    outcome = nascli("search", *arguments)
    assert outcome.status == 1
    assert message in outcome.stderr
    assert len(outcome.stderr.strip().splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_the_traceback_is_there_with_debug(nascli: Any) -> None:
    from nas_search import DataError

    with pytest.raises(DataError):
        nascli("search", "--data", "npz:missing.npz", "--debug")


def test_a_damaged_checkpoint_is_refused_and_kept(nascli: Any, run: Path) -> None:
    (run / "checkpoints" / "last.pt").write_bytes(b"damaged")
    result = (run / "result.json").read_bytes()
    outcome = nascli("search", "--out", "run", "--resume")
    assert outcome.status == 1
    assert "is damaged or not a checkpoint" in outcome.stderr
    assert (run / "checkpoints" / "last.pt").read_bytes() == b"damaged"
    assert (run / "result.json").read_bytes() == result


def test_resuming_with_other_settings_is_refused(nascli: Any, run: Path) -> None:
    outcome = nascli("search", "--out", "run", "--resume", "--seed", "5")
    assert outcome.status == 1
    assert "seed was 0, is 5" in outcome.stderr


@pytest.mark.parametrize("error", [KeyboardInterrupt(), None])
def test_an_interruption_anywhere_ends_with_130_and_says_how_to_go_on(
    nascli: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException | None
) -> None:
    from nas_search import Interrupted, runs

    def stop(*_: Any, **__: Any) -> None:
        raise error or Interrupted("stopped in epoch 3.")

    monkeypatch.setattr(runs, "run_search", stop)
    monkeypatch.setattr(runs, "run_training", stop)
    if error:  # before there is a run folder, in the training of an autoencoder
        outcome = nascli("search", "--out", "my run")
        assert (outcome.status, outcome.stderr[-26:]) == (130, " Repeat the same command.\n")
    Path("my run").mkdir()
    Path("my run/config.toml").write_text("")
    outcome = nascli("search", "--out", "my run")
    assert outcome.status == 130
    assert outcome.stderr.endswith("Go on with: nascli search --out 'my run' --resume\n")
    assert ("stopped in epoch 3." in outcome.stderr) == (error is None)
    # Of a training there is something to go on from as soon as it has a checkpoint.
    assert nascli("train", "run", "--epochs", "3").stderr.endswith(" Repeat the same command.\n")
    Path("run/checkpoints").mkdir(parents=True)
    Path("run/checkpoints/retrain.pt").write_bytes(b"")
    assert nascli("train", "run", "--epochs", "3").stderr.endswith("Go on with: nascli train run --epochs 3 --resume\n")


def test_a_signal_that_is_ignored_stays_ignored(nascli: Any) -> None:
    """A shell has it so for what runs in the background, where Ctrl-C is meant for something else."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert nascli("list", "policies").status == 0
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize("error", [ImportError("half imported"), RecursionError(), KeyboardInterrupt()])
def test_a_library_that_is_interrupted_while_it_is_imported_may_end_in_any_error(
    nascli: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def load(*_: Any) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise error from None

    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # what runs in the background may have inherited to ignore it
    monkeypatch.setattr(catalog, "documentation", load)
    outcome = nascli("list", "methods", "daas")
    assert outcome.status == 130
    assert outcome.stderr.strip().startswith("nascli: interrupted before anything was begun")
    assert outcome.stderr.endswith("repeat the same command.\n")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        MemoryError(),
    ],
)
def test_memory_that_runs_out_is_said_with_the_settings_that_need_less(
    nascli: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from nas_search import runs

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(runs, "run_search", fail)
    outcome = nascli("search", *QUICK, "--out", "run")
    assert outcome.status == 1
    assert outcome.stderr == "nascli: out of memory: try a smaller --batch-size, --channels or --cells.\n"


def test_nan_stops_with_the_step_and_the_remedy(nascli: Any) -> None:
    outcome = nascli("search", *QUICK, "--set", "learning_rate=1e30", "--out", "run")
    assert outcome.status == 1
    assert "the loss or its gradient became NaN or infinite in epoch 1, step " in outcome.stderr
    assert "at learning rate 1e+30" in outcome.stderr
    assert "Start a new run with a smaller learning rate" in outcome.stderr


# One search after the other in one process, which imports torch once.
STOPPED_TWICE = """
import sys
from nas_cli.main import main
arguments = sys.argv[1:]
for out in ("by-2", "by-15"):
    sys.argv[1:] = [*arguments, "--out", out]
    try:
        main()
    except SystemExit as leave:
        print("left with", leave.code, file=sys.stderr, flush=True)
"""


@pytest.mark.slow
def test_a_real_process_saves_on_a_signal_and_resumes_to_the_same_result(nascli: Any, tmp_path: Path) -> None:
    search = ["search", *QUICK, "--epochs", "20", "--batch-size", "16"]
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED_TWICE, *search], cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            assert process.stderr.readline().startswith("search epoch 1/20")
            time.sleep(0.05)  # between two epochs' ends
            process.send_signal(number)
            message = ""
            while not message.endswith("left with 130\n"):
                line = process.stderr.readline()
                assert line, message
                message += line
            assert f"saved in by-{number:d}/checkpoints/last.pt" in message
            assert f"Go on with: nascli search --out by-{number:d} --resume" in message
    assert process.returncode == 0
    records = []
    for arguments in (["search", "--out", "by-2", "--resume"], ["search", "--out", "by-15", "--resume"], search):
        done = nascli(*arguments, "--json")
        assert done.status == 0, done.stderr
        records.append(json.loads(done.stdout))
    for record in records[:2]:
        assert record["architecture"] == records[2]["architecture"]
        assert record["metrics"] == records[2]["metrics"]


@pytest.mark.parametrize("colours", [True, False])
def test_a_terminal_shows_a_bar_with_loss_accuracy_throughput_and_time_left(
    nascli: Any, monkeypatch: pytest.MonkeyPatch, colours: bool
) -> None:
    pytest.importorskip("pty")
    from terminals import terminal

    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not colours:
        monkeypatch.setenv("NO_COLOR", "1")
    with terminal() as (stderr, shown):
        monkeypatch.setattr(sys, "stderr", stderr)
        assert nascli("search", *QUICK).status == 0
    text = shown.decode()
    for part in ("search", "train loss", "valid acc", "img/s", "0:00:00", "━"):
        assert part in text, part
    # Colours of the 8, 16 or 256: 30 to 37, 90 to 97, 38;5.
    assert bool(re.search(r"\x1b\[(\d+;)*(3[0-8]|9[0-7])(;\d+)*m", text)) == colours


def test_only_image_sets_with_a_folder_are_downloaded(nascli: Any, tmp_path: Path) -> None:
    outcome = nascli("search", *QUICK, "--download", "--out", "run")
    assert outcome.status == 2
    assert "only cifar10, cifar100, svhn, fashion-mnist are: leave out --download" in outcome.stderr
    assert not (tmp_path / "run").exists()
    outcome = nascli("search", *QUICK, "--data", "svhn:here", "--out", "run")
    assert f"looked for train_32x32.mat, test_32x32.mat in {tmp_path / 'here'}" in outcome.stderr
    assert not (tmp_path / "here").exists()
    assert nascli("search", *QUICK, "--train-epochs", "0", "--out", "run").status == 0
    assert "leave out --download" in nascli("train", "run", "--download").stderr
    # What is wrong besides is said before anything is fetched.
    taken = nascli("search", *QUICK, "--data", "svhn:here", "--download", "--out", "run")
    assert "run exists and holds another run" in taken.stderr
    assert "nowhere" in nascli("train", "nowhere", "--data", "svhn:here", "--download").stderr
    assert not (tmp_path / "here").exists()
