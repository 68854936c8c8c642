"""The runs of the command line as library calls."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_augment import Policy
from nas_augment.stages import SubPolicies
from nas_search import CheckpointError, ConfigError, DataError, Interrupted, RunFolderError, SearchResult
from nas_search.config import RunConfig
from nas_search.data_sources import load_data
from nas_search.mixed_space import SETTINGS
from nas_search.protocols import TrainingProtocol
from nas_search.reports import write_report
from nas_search.reports.remarks import remarks
from nas_search.roles import Event
from nas_search.run_folder import RunFolder
from nas_search.runs import free_folder, run_evaluation, run_search, run_training
from nas_search.schedules import Cosine, ExponentialCosine
from nas_search.training import TrainState
from nas_spaces import TableError, UnknownSpaceError, nas_bench_1shot1, nas_bench_201

CONFIG = RunConfig(
    method="gdas", data="fake:1x8x8", epochs=2, train_epochs=2, batch_size=32, channels=4, cells=1, device="cpu"
)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of the whole space in which more 3x3 convolutions are better."""
    texts = [str(architecture) for architecture in nas_bench_201()]
    values = np.array([10.0 * text.count("nor_conv_3x3") for text in texts])
    np.savez(tmp_path / "table.npz", arch=np.array(texts), cifar10_test_200=values, cifar10_valid_200=values)
    return tmp_path / "table.npz"


def test_a_run_writes_what_the_design_names(drawn: None, tmp_path: Path, table: Path) -> None:
    names: list[str] = []

    def watch(event: Event) -> None:
        if event.kind == "epoch" and event.epoch == 1:
            names.append(event.run)

    record = run_search(replace(CONFIG, table=str(table)), tmp_path / "run", observers=[watch])
    run = tmp_path / "run"
    # Both trainings have a name, that series of figures keep apart.
    assert names == ["search", "train", "train-random"]
    written = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert written == {
        "config.toml", "events.jsonl", "result.json", "report.html", "model.pt", "train.json",
        "checkpoints/.lock", "checkpoints/examples.npz", "checkpoints/last.pt", "checkpoints/train.pt", "checkpoints/random.pt",
    }  # fmt: skip
    metrics = record["metrics"]
    convolutions = record["architecture"].count("nor_conv_3x3")
    assert metrics["table_test"] == 10 * convolutions
    assert metrics["table_regret"] == 60 - 10 * convolutions
    assert metrics["table_size"] == 15625
    assert metrics["table_best"] == 60
    assert 0 <= metrics["test_accuracy"] <= 1
    assert 0 <= metrics["random_test_accuracy"] <= 1
    assert metrics["parameters"] > 0
    saved = json.loads((run / "result.json").read_text())
    assert saved == {key: value for key, value in record.items() if key not in ("run", "report")}
    assert saved["images_per_second"] > 0
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert [event["epoch"] for event in events] == [1, 2]
    assert {"train_loss", "valid_accuracy", "entropy", "skip_share", "seconds", "table_test"} <= set(events[0])


def test_without_matplotlib_a_run_ends_without_a_report_and_says_what_to_install(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r'pip install "nas-search\[report\]"'):
        record = run_search(replace(CONFIG, epochs=1, train_epochs=0), tmp_path / "run")
    assert record["report"] is None
    assert not (tmp_path / "run" / "report.html").exists()
    assert SearchResult.load(tmp_path / "run").method == CONFIG.method
    with pytest.raises(ConfigError, match=r'need matplotlib.*pip install "nas-search\[report\]"'):
        write_report([tmp_path / "run"], tmp_path / "page.html")


def test_what_allegro_finds_is_trained_with_its_own_annealing(tmp_path: Path) -> None:
    config = replace(CONFIG, method="allegro", epochs=1, train_epochs=3, train_learning_rate=0.1)
    run_search(config, tmp_path / "run")
    rates = [epoch["learning_rate"] for epoch in json.loads((tmp_path / "run" / "train.json").read_text())["history"]]
    progress = [(epoch + 1) / 3 for epoch in range(3)]
    assert rates == pytest.approx([ExponentialCosine(0.1)(value) for value in progress])
    assert rates[0] < Cosine(0.1)(progress[0])
    again = run_training(tmp_path / "run", epochs=3)
    assert [epoch["learning_rate"] for epoch in again["history"]] == rates


def test_labels_that_do_not_count_from_zero_are_remarked(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (48, 1, 8, 8), dtype=np.uint8)
    labels = np.arange(48) % 3 + 1
    parts: dict[str, Any] = {"x_train": images, "y_train": labels, "x_test": images[:6], "y_test": labels[:6]}
    np.savez(tmp_path / "data.npz", **parts)
    config = replace(CONFIG, data=f"npz:{tmp_path / 'data.npz'}", epochs=1, train_epochs=0)
    record = run_search(config, tmp_path / "run")
    assert record["metrics"]["empty_classes"] == [0]
    assert [text for text in remarks(record["metrics"]) if "has the label 0" in text]


def test_a_search_that_was_stopped_says_so(drawn: None, tmp_path: Path) -> None:
    config = replace(CONFIG, method="darts", epochs=6, train_epochs=0, settings={"stop_skips": 1})
    record = run_search(config, tmp_path / "run")
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    assert record["metrics"]["stopped_after"] == record["epochs"] == len(events) < 6
    assert {"depth", "skip_connections"} <= set(events[0])
    page = (tmp_path / "run" / "report.html").read_text()
    assert f"<th>Stopped early</th><td>after {len(events)} epochs</td>" in page
    assert "Depth of the derived cells" in page


def test_the_curvature_is_recorded_on_request(drawn: None, tmp_path: Path) -> None:
    record = run_search(replace(CONFIG, method="darts", train_epochs=0, spectrum=True), tmp_path / "run")
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    assert all({"hessian_eigenvalue", "hessian_trace", "hessian_trace_error"} <= set(event) for event in events)
    assert "Largest Hessian eigenvalue" in (tmp_path / "run" / "report.html").read_text()
    again = run_search(RunConfig.from_toml(tmp_path / "run" / "config.toml"), tmp_path / "again")
    assert again["architecture"] == record["architecture"]
    with pytest.raises(ConfigError, match="'gdas' draws a path"):
        run_search(replace(CONFIG, spectrum=True), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_written_configuration_repeats_the_run(tmp_path: Path) -> None:
    first = run_search(CONFIG, tmp_path / "a")
    again = run_search(RunConfig.from_toml(tmp_path / "a" / "config.toml"), tmp_path / "b")
    for key in ("architecture", "policy", "seed"):
        assert first[key] == again[key]
    for key, value in first["metrics"].items():
        assert value == again["metrics"][key], key


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"space": "nas_bench_210"}, UnknownSpaceError),
        ({"method": "gads"}, ConfigError),
        ({"data": "digit"}, ConfigError),
        ({"data": "npz:missing.npz"}, DataError),
        ({"policy": "crop"}, ConfigError),
        ({"device": "gpu"}, ConfigError),
        ({"table": "missing.npz"}, TableError),
        ({"settings": {"temperature": "hot"}}, ConfigError),
        ({"settings": {"temperature": 0.0}}, ConfigError),
        ({"settings": {"learning_rate": -1.0}}, ConfigError),
        ({"method": "random_nas", "settings": {"samples": 0}}, ConfigError),
        ({"method": "random_nas", "settings": {"validation_images": 1}}, ConfigError),
        ({"method": "random_search", "settings": {"candidate_epochs": 0}}, ConfigError),
        ({"device": "meta"}, ConfigError),
    ],
)
def test_what_is_wrong_is_found_before_anything_is_written(
    changes: dict[str, object], error: type[Exception], tmp_path: Path
) -> None:
    with pytest.raises(error):
        run_search(replace(CONFIG, **changes), tmp_path / "run")  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def stop_in(run: str) -> object:
    def observer(event: Event) -> None:
        if event.run == run and event.kind == "epoch":
            raise Interrupted("enough")

    return observer


@pytest.mark.parametrize("where", ["search", "train", "train-random"])
def test_a_run_stopped_anywhere_resumes_to_the_same_result(where: str, tmp_path: Path) -> None:
    expected = run_search(CONFIG, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run_search(CONFIG, tmp_path / "parts", observers=(stop_in(where),))  # type: ignore[arg-type]
    resumed = run_search(CONFIG, tmp_path / "parts", resume=True)
    assert resumed["architecture"] == expected["architecture"]
    assert resumed["metrics"] == expected["metrics"]


def test_resuming_with_another_configuration_is_refused(tmp_path: Path) -> None:
    run_search(replace(CONFIG, train_epochs=0), tmp_path / "run")
    with pytest.raises(CheckpointError, match="another configuration: train_epochs was 0, is 2"):
        run_search(CONFIG, tmp_path / "run", resume=True)


def test_resuming_after_a_longer_training_keeps_everything(tmp_path: Path) -> None:
    run_search(CONFIG, tmp_path / "run")
    run_training(tmp_path / "run", protocol=TrainingProtocol(epochs=4, channels=6, batch_size=16))
    before = json.loads((tmp_path / "run" / "result.json").read_text())
    model = (tmp_path / "run" / "model.pt").read_bytes()
    run_search(CONFIG, tmp_path / "run", resume=True)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["metrics"] == before["metrics"]
    assert before["metrics"]["train_epochs"] == 4
    assert before["metrics"]["random_train_epochs"] == 2
    assert (tmp_path / "run" / "model.pt").read_bytes() == model


def test_a_training_on_other_data_is_said_as_such_and_compared_with_nothing(tmp_path: Path) -> None:
    from nas_search.reports.words import found

    run_search(CONFIG, tmp_path / "run")
    run_training(tmp_path / "run", data="digits", epochs=1)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["metrics"]["train_data"] == "digits"
    assert not [name for name in result["metrics"] if name.startswith("random_")]
    assert "% of the test images of digits correctly. The search took" in found(result)
    run_search(CONFIG, tmp_path / "run", resume=True)  # makes no comparison by the data of the search either
    assert json.loads((tmp_path / "run" / "result.json").read_text())["metrics"] == result["metrics"]
    run_training(tmp_path / "run", epochs=1)  # on its own data again
    assert "train_data" not in json.loads((tmp_path / "run" / "result.json").read_text())["metrics"]


def test_the_seconds_of_an_epoch_have_its_validation_and_not_what_observers_take(tmp_path: Path) -> None:
    def slow(event: Event) -> None:
        time.sleep(0.3 if event.kind == "epoch" else 0.0)

    run_search(replace(CONFIG, epochs=3, train_epochs=0), tmp_path / "run", observers=[slow])
    epochs = RunFolder(tmp_path / "run").read_events()
    assert min(epoch["seconds"] for epoch in epochs[1:]) < 0.3  # both, on a machine that does nothing else


def test_resuming_after_a_training_of_what_the_search_had_trained_keeps_the_network(tmp_path: Path) -> None:
    config = replace(CONFIG, method="ista", settings={"stages": 1}, train_epochs=0)
    run_search(config, tmp_path / "run")
    searched = (tmp_path / "run" / "model.pt").read_bytes()
    run_training(tmp_path / "run", epochs=1)
    trained = (tmp_path / "run" / "model.pt").read_bytes()
    assert trained != searched
    run_search(config, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "model.pt").read_bytes() == trained


def test_an_interrupted_training_is_not_dropped_unasked(drawn: None, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run_search(replace(CONFIG, train_epochs=0), run)

    def stop(event: Event) -> None:
        if event.kind == "epoch" and event.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training(run, epochs=3, observers=[stop])
    kept = (run / "checkpoints" / "retrain.pt").read_bytes()
    with pytest.raises(
        RunFolderError, match=r"interrupted after 1 of 3 epochs; go on with it by --resume .* or drop it by --restart"
    ):
        run_training(run, epochs=1)
    assert (run / "checkpoints" / "retrain.pt").read_bytes() == kept
    with pytest.raises(ConfigError, match="leave out --resume or --restart"):
        run_training(run, resume=True, restart=True)
    assert len(run_training(run, epochs=3, resume=True)["history"]) == 3
    assert len(run_training(run, epochs=2)["history"]) == 2  # the one before has ended
    with pytest.raises(KeyboardInterrupt):
        run_training(run, epochs=3, observers=[stop])
    assert len(run_training(run, epochs=1, restart=True)["history"]) == 1


def test_a_training_that_ended_and_was_not_written_is_not_dropped_unasked(
    drawn: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    run_search(replace(CONFIG, train_epochs=0), run)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nas_search.train_found.save_model", full)
    with pytest.raises(OSError, match="No space"):
        run_training(run, epochs=2)
    monkeypatch.undo()
    with pytest.raises(RunFolderError, match="interrupted after 2 of 2 epochs; go on with it by --resume"):
        run_training(run, epochs=1)
    assert len(run_training(run, epochs=2, resume=True)["history"]) == 2
    assert len(run_training(run, epochs=1)["history"]) == 1


def test_a_random_architecture_is_said_to_be_trained_alike_only_if_it_was(drawn: None, tmp_path: Path) -> None:
    from nas_search.reports.remarks import trained_alike

    metrics = run_search(CONFIG, tmp_path / "run")["metrics"]
    assert trained_alike(metrics)
    run_training(tmp_path / "run", epochs=2, ema=0.9)
    metrics = SearchResult.load(tmp_path / "run").metrics
    assert metrics["train_epochs"] == metrics["random_train_epochs"]
    assert not trained_alike(metrics)


def test_a_table_that_lacks_architectures_of_the_space_is_refused_at_once(tmp_path: Path) -> None:
    np.savez(tmp_path / "part.npz", arch=np.array([str(next(iter(nas_bench_201())))]), cifar10_test_200=np.zeros(1))
    with pytest.raises(TableError, match="is not a table of the whole space nas_bench_201"):
        run_search(replace(CONFIG, table=str(tmp_path / "part.npz")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_space_is_looked_up_in_the_table_of_another(tmp_path: Path) -> None:
    """NAS-Bench-1Shot1 in a table of NAS-Bench-101, after every epoch and at the end."""
    space = nas_bench_1shot1(1)
    cells = sorted({str(space.cell(a)) for a in space})
    lines = [f"{cell},{cell.count('conv')}" for cell in cells]
    (tmp_path / "table.csv").write_text("\n".join(["arch,cifar10_test_108", *lines]))
    config = replace(CONFIG, space=space.name, method="darts", table=str(tmp_path / "table.csv"), train_epochs=1)
    record = run_search(config, tmp_path / "run")
    found = str(space.cell(space.parse(record["architecture"])))
    assert record["metrics"]["table_test"] == found.count("conv")
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    for event in events:
        assert event["table_test"] == str(space.cell(space.parse(event["architecture"]))).count("conv")


def test_training_again_and_longer_replaces_the_model(tmp_path: Path) -> None:
    run_search(CONFIG, tmp_path / "run")
    before = (tmp_path / "run" / "model.pt").read_bytes()
    record = run_training(tmp_path / "run", epochs=6)
    assert record["epochs"] == len(record["history"]) == 6
    assert (tmp_path / "run" / "model.pt").read_bytes() != before
    assert SearchResult.load(tmp_path / "run").metrics["test_accuracy"] == record["test_accuracy"]
    with pytest.raises(CheckpointError, match="epochs was 6, is 2"):
        run_training(tmp_path / "run", resume=True)
    assert run_training(tmp_path / "run", epochs=6, resume=True)["test_accuracy"] == record["test_accuracy"]


def test_training_needs_a_finished_search(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no run folder"):
        run_training(tmp_path / "nowhere")
    (tmp_path / "run").mkdir()
    with pytest.raises(RunFolderError, match="its search has not finished"):
        run_training(tmp_path / "run")
    run_search(replace(CONFIG, train_epochs=0), tmp_path / "done")
    with pytest.raises(ConfigError, match="epochs of the training is 0"):
        run_training(tmp_path / "done")
    with pytest.raises(RunFolderError, match="has no training to resume"):
        run_training(tmp_path / "done", epochs=1, resume=True)


def test_a_free_folder_is_new(tmp_path: Path) -> None:
    first = free_folder(CONFIG, tmp_path)
    assert first.name == "gdas-fake-seed0-1"
    first.mkdir()
    assert free_folder(CONFIG, tmp_path).name == "gdas-fake-seed0-2"


def test_evaluation_repeats_the_test_accuracy_of_the_training(tmp_path: Path) -> None:
    record = run_search(CONFIG, tmp_path / "run")
    found = run_evaluation(tmp_path / "run", device="cpu")
    assert found["test_accuracy"] == record["metrics"]["test_accuracy"]
    assert found["examples"] > 0
    data = load_data(CONFIG.data)
    counts = data.test.labels.bincount(minlength=data.classes)
    shares = list(found["classes"].values())
    assert sum(share * int(n) for share, n in zip(shares, counts, strict=True)) / int(counts.sum()) == pytest.approx(
        found["test_accuracy"]
    )
    with pytest.raises(ConfigError, match="has 3 channels, the network of .* 1; choose other --data"):
        run_evaluation(tmp_path / "run", data="fake:3x8x8", device="cpu")
    with pytest.raises(RunFolderError, match="no trained network"):
        run_evaluation(tmp_path)


def test_a_network_is_trained_with_the_policy_that_was_found_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Policy] = []

    class Watched(TrainState):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            used.append(settings["policy"])
            super().__init__(*arguments, **settings)

    monkeypatch.setattr("nas_search.train_found.TrainState", Watched)
    few = {"architectures": 1, "weight_architectures": 1, "operations": "grey", "policy_learning_rate": 0.1}
    record = run_search(replace(CONFIG, method="daas", train_epochs=1, settings=few), tmp_path / "run")
    found = Policy.from_json(json.dumps(record["policy"]))
    run_training(tmp_path / "run", epochs=1)
    assert used == [found] * 3  # the network, a random one beside it, and the network once more
    assert found == SearchResult.load(tmp_path / "run").policy
    (stage,) = found.stages
    assert isinstance(stage, SubPolicies)
    assert stage.space.name == "grey"
    assert max(entry.weight for entry in stage.entries) > 1.05 / len(stage.entries)


def test_the_shipped_table_judges_a_search_of_its_space_and_no_other(tmp_path: Path) -> None:
    config = replace(CONFIG, space="nas_bench_201_small", table="digits", method="random_nas", epochs=1, train_epochs=0)
    metrics = run_search(config, tmp_path / "run")["metrics"]
    assert (metrics["table_dataset"], metrics["table_size"]) == ("digits", 125)
    with pytest.raises(TableError, match="'digits' is of space nas_bench_201_small, and nas_bench_201 is searched"):
        run_search(replace(config, space="nas_bench_201"), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_settings_of_the_training_are_searched_by_the_name_of_the_space(tmp_path: Path, table: Path) -> None:
    config = replace(
        CONFIG,
        space="nas-bench-201+learning_rate+weight_decay+augmentation-magnitude",
        method="bayesian_optimization",
        epochs=3,
        table=str(table),
        settings={"initial": 2, "pool": 5, "candidate_epochs": 1},
    )
    run = tmp_path / "run"
    record = run_search(config, run)
    assert record["space"] == "nas_bench_201"
    assert record["metrics"]["table_test"] == 10 * record["architecture"].count("nor_conv_3x3")
    found = record["hyperparameters"]
    assert found["learning_rate"] in SETTINGS["learning_rate"].values
    assert found["weight_decay"] in SETTINGS["weight_decay"].values
    assert RunConfig.from_toml(run / "config.toml").space == config.space.replace("-", "_")
    # Nothing else was asked for: the result is trained with the rate that was found, the second time as well.
    half = pytest.approx(Cosine(found["learning_rate"])(0.5), rel=1e-6)
    assert json.loads((run / "train.json").read_text())["history"][0]["learning_rate"] == half
    assert run_training(run)["history"][0]["learning_rate"] == half
    assert run_search(replace(config, train_learning_rate=0.25), tmp_path / "given")["hyperparameters"] == found
    given = json.loads((tmp_path / "given" / "train.json").read_text())
    assert given["history"][0]["learning_rate"] == pytest.approx(0.125)
