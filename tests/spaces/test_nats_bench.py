"""Files in the official format, see `nats_bench_files`."""

import bz2
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nats_bench_files import SEEDS, TEXTS, accuracy, content, simple, single, write

from nas_spaces import TableError, load_table


@pytest.mark.parametrize("form", ["file", "old pickle", "folder", "folder, short names"])
def test_columns_mean_what_the_benchmark_says(tmp_path: Path, form: str) -> None:
    if form.startswith("folder"):
        path = simple(tmp_path, "{:d}.pickle.pbz2" if "short" in form else "{:06d}.pickle.pbz2")
    else:
        path = single(tmp_path, content(), protocol=2 if "old" in form else 4)
    table = load_table(path)
    assert len(table) == len(TEXTS)
    assert table.datasets == ("cifar10", "cifar100", "ImageNet16-120")
    for index, text in enumerate(TEXTS):
        for epochs in (12, 200):
            expected = {
                ("cifar10", "valid"): ("cifar10-valid", "x-valid"),
                ("cifar10", "test"): ("cifar10", "ori-test"),
                ("cifar100", "valid"): ("cifar100", "x-valid"),
                ("ImageNet16-120", "test"): ("ImageNet16-120", "x-test"),
            }
            for (dataset, metric), (key, part) in expected.items():
                mean = sum(accuracy(index, epochs, key, part, seed) for seed in SEEDS) / len(SEEDS)
                assert table.query(text, metric, dataset=dataset, epochs=epochs) == pytest.approx(mean)
            assert table.query(text, "train_time", epochs=epochs) == pytest.approx(2.0 * epochs)
        assert table.query(text, "params") == 1.5 + index
        assert table.query(text, "flops") == 20.0
    saved = tmp_path / "saved.npz"
    table.save(saved)
    assert load_table(saved).query(TEXTS[1]) == table.query(TEXTS[1])


def test_our_figures_are_those_of_the_package(tmp_path: Path) -> None:
    api = pytest.importorskip("nats_bench").create(content(), "tss", fast_mode=False, verbose=False)
    table = load_table(single(tmp_path, content()))
    theirs = api.get_more_info(1, "cifar100", hp="200", is_random=False)
    assert table.query(TEXTS[1], dataset="cifar100") == pytest.approx(theirs["test-accuracy"])
    assert table.query(TEXTS[1], "valid", dataset="cifar100") == pytest.approx(theirs["valid-accuracy"])
    assert table.query(TEXTS[1], "train_time", dataset="cifar100") == pytest.approx(theirs["train-all-time"])


@pytest.mark.parametrize("number", [len(TEXTS), -1, "0"])
def test_results_of_no_architecture_are_refused(tmp_path: Path, number: object) -> None:
    pytest.importorskip("nats_bench")
    everything = content()
    everything["arch2infos"][number] = everything["arch2infos"][0]
    with pytest.raises(TableError, match=f"no 'arch2infos' with the numbers of its {len(TEXTS)} architectures"):
        load_table(single(tmp_path, everything))


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_in_a_file_is_not_run(tmp_path: Path, protocol: int) -> None:
    pytest.importorskip("nats_bench")
    value = {"meta_archs": TEXTS, "arch2infos": Harmful(tmp_path / "harm")}
    with pytest.raises(TableError, match="the file asks for "):
        load_table(single(tmp_path, value, protocol))
    folder = simple(tmp_path)
    write(folder / "000001.pickle.pbz2", {"200": Harmful(tmp_path / "harm")}, protocol)
    with pytest.raises(TableError, match="was not read further"):
        load_table(folder)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "value",
    [np.array([1.0, 2.0]), np.array([object()], dtype=object), eval, np.datetime64("2020-01-01"), io.BytesIO],
    ids=["array", "object array", "builtin", "date", "class"],
)
def test_anything_but_plain_values_is_refused(tmp_path: Path, value: Any) -> None:
    pytest.importorskip("nats_bench")
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = np.array([None], dtype=object)
    with pytest.raises(TableError):
        load_table(single(tmp_path, {"meta_archs": TEXTS, "arch2infos": {0: {"200": value}}}))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "holds a list"),
        ({}, "no list 'meta_archs'"),
        ({"meta_archs": ["64:64:64:64:64"], "arch2infos": {}}, "files of the topology space"),
        ({"meta_archs": TEXTS}, "no 'arch2infos'"),
        ({"meta_archs": TEXTS, "arch2infos": {}}, "results of no architecture"),
        ({"meta_archs": TEXTS, "arch2infos": {0: [1]}}, "one dictionary of results"),
        ({"meta_archs": TEXTS, "arch2infos": {0: {"200": {}}}}, "results of no|not those of NATS-Bench|no column"),
    ],
)
def test_other_contents(tmp_path: Path, value: Any, message: str) -> None:
    pytest.importorskip("nats_bench")
    with pytest.raises(TableError, match=message):
        load_table(single(tmp_path, value))


def test_not_a_number(tmp_path: Path) -> None:
    everything = content()
    trial = everything["arch2infos"][0]["200"]["all_results"]["cifar10", 777]
    trial["eval_acc1es"]["ori-test@199"] = float("nan")
    with pytest.raises(TableError, match="not a number"):
        load_table(single(tmp_path, everything))


def test_an_architecture_without_a_data_set(tmp_path: Path) -> None:
    everything = content()
    del everything["arch2infos"][2]["12"]
    with pytest.raises(TableError, match="for some architectures and not for"):
        load_table(single(tmp_path, everything))


@pytest.mark.parametrize("damage", ["truncated", "empty", "not compressed", "not a pickle"])
def test_damaged_files(tmp_path: Path, damage: str) -> None:
    path = single(tmp_path, content())
    whole = path.read_bytes()
    path.write_bytes(
        {
            "truncated": whole[: len(whole) // 2],
            "empty": b"",
            "not compressed": b"text",
            "not a pickle": bz2.compress(b"hello, this is no pickle"),
        }[damage]
    )
    with pytest.raises(TableError):
        load_table(path)


def test_a_folder_without_meta(tmp_path: Path) -> None:
    pytest.importorskip("nats_bench")
    with pytest.raises(TableError, match="meta"):
        load_table(tmp_path)


def test_the_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "NATS-tss.pickle.pbz2"
    path.write_bytes(b"")
    monkeypatch.setitem(sys.modules, "nats_bench", None)
    monkeypatch.setitem(sys.modules, "nats_bench.api_utils", None)
    with pytest.raises(TableError, match=r"nas-spaces\[tables\]"):
        load_table(path)


def test_bytes_of_a_length_that_no_machine_has_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("nats_bench")
    path = tmp_path / "NATS-tss.pickle.pbz2"
    path.write_bytes(bz2.compress(b"\x80\x05\x96" + b"\xff" * 8 + b"."))  # BYTEARRAY8
    with pytest.raises(TableError, match=r"is damaged: OverflowError\("):
        load_table(path)
