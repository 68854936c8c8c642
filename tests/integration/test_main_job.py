"""The main job on real data, from the arguments to the report."""

import json
from pathlib import Path

import numpy as np
import pytest

from nas_cli.main import nascli
from nas_search.config import RunConfig
from nas_search.runs import run_search


@pytest.mark.slow
def test_the_default_search_finds_a_good_network_for_real_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    nascli.main(["search", "--json"], prog_name="nascli", standalone_mode=False)
    record = json.loads(capsys.readouterr().out)
    assert record["metrics"]["test_accuracy"] >= 0.97
    assert record["metrics"]["random_test_accuracy"] > 0.9
    assert (tmp_path / record["report"]).is_file()


@pytest.mark.slow
def test_a_search_on_real_images_is_judged_by_the_real_table(real_data: Path, tmp_path: Path) -> None:
    from PIL import Image

    mosaic = np.asarray(Image.open(real_data / "cifar10" / "train_00.webp").convert("RGB"))
    tiles = mosaic.reshape(40, 32, 50, 32, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 32, 32, 3)[:512]
    labels = np.load(real_data / "cifar10" / "train_labels.npy")[:512]
    np.savez(tmp_path / "c10.npz", x_train=tiles[:448], y_train=labels[:448], x_test=tiles[448:], y_test=labels[448:])
    config = RunConfig(
        data=f"npz:{tmp_path / 'c10.npz'}",
        table=str(real_data / "nas_bench_201.npz"),
        epochs=2,
        train_epochs=0,
        channels=4,
    )
    record = run_search(config, tmp_path / "run")
    metrics = record["metrics"]
    assert metrics["table_size"] == 15625
    assert metrics["table_best"] == pytest.approx(94.373, abs=1e-3)
    assert metrics["table_random"] == pytest.approx(87.06, abs=0.01)
    assert metrics["table_regret"] == pytest.approx(metrics["table_best"] - metrics["table_test"])
    assert 1 <= metrics["table_rank"] <= 15625
