import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_spaces import Table, TableError, load_table, nas_bench_201

TEXTS = np.array(["a", "b", "c"])
COLUMNS: dict[str, Any] = {
    "cifar10_test_200": np.array([91.0, 94.0, 94.0]),
    "cifar10_test_12": np.array([80.0, 70.0, 75.0]),
    "cifar10_params": np.array([1, 2, 3]),
    "cifar100_test_200": np.array([60.0, 70.0, 71.0]),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "table.npz"
    np.savez(path, arch=TEXTS, **COLUMNS)
    return path


def test_queries(file: Path) -> None:
    table = load_table(file)
    assert len(table) == 3
    assert table.datasets == ("cifar10", "cifar100")
    assert table.query("a") == 91.0
    assert table.query("a", epochs=12) == 80.0
    assert table.query("c", dataset="cifar100") == 71.0
    assert table.query("b", "params") == 2.0
    assert [table.rank(text) for text in "abc"] == [3, 1, 1]
    assert table.best() == 94.0
    assert table.regret("a") == 3.0
    assert table.mean() == pytest.approx(93.0)
    assert load_table(file, dataset="cifar100").query("a") == 60.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda table: table.query("d"), "architecture d is not in the table of 3"),
        (lambda table: table.query("a", "latency"), "no column 'cifar10_latency'; it has cifar100_test_200"),
        (lambda table: table.query("a", dataset="svhn"), "no column 'svhn_test'"),
        (lambda table: table.query("a", epochs=90), "no column 'cifar10_test_90'"),
        (lambda table: table.rank("d"), "not in the table"),
        (lambda table: table.best("x"), "no column"),
    ],
)
def test_what_the_table_lacks_is_named(file: Path, call: Any, message: str) -> None:
    with pytest.raises(TableError, match=message):
        call(load_table(file))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no table at"):
        load_table(tmp_path / "absent.npz")


@pytest.mark.parametrize("keep", [0, 10, 200, 0.5, 0.95])
def test_a_truncated_file(file: Path, keep: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(keep if keep > 1 else keep * len(content))])
    with pytest.raises(TableError):
        load_table(file)


def test_a_damaged_file(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[150:190] = os.urandom(40)
    file.write_bytes(content)
    with pytest.raises(TableError):
        load_table(file)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"arch": TEXTS}, "no column 'cifar10_test'"),
        ({"arch": TEXTS[:0], "cifar10_test": np.zeros(0)}, "no rows"),
        ({"arch": np.arange(3), "cifar10_test": np.zeros(3)}, "no one-dimensional array 'arch'"),
        ({"arch": TEXTS[None], "cifar10_test": np.zeros(3)}, "no one-dimensional array 'arch'"),
        ({"cifar10_test": np.zeros(3)}, "no one-dimensional array 'arch'"),
        ({"arch": TEXTS, "cifar10_test": np.zeros(2)}, r"has shape \(2,\), expected \(3,\)"),
        ({"arch": TEXTS, "cifar10_test": np.zeros((3, 1))}, "has shape"),
        ({"arch": TEXTS, "cifar10_test": np.array([1.0, np.nan, 2.0])}, "not finite"),
        ({"arch": TEXTS, "cifar10_test": np.array([1.0, np.inf, 2.0])}, "not finite"),
        ({"arch": TEXTS, "cifar10_test": np.array([1j, 2, 3])}, "not finite numbers"),
        ({"arch": np.array(["a", "a", "b"]), "cifar10_test": np.zeros(3)}, "1 architectures stand twice"),
        ({"arch": TEXTS, "cifar100_test": np.zeros(3)}, "no column 'cifar10_test'"),
    ],
)
def test_wrong_arrays(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = tmp_path / "wrong.npz"
    np.savez(path, **arrays)
    with pytest.raises(TableError, match=message):
        load_table(path)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "objects.npz"
    objects = np.array([{}, {}, {}], dtype=object)
    np.savez(path, arch=TEXTS, cifar10_test=objects)
    with pytest.raises(TableError, match="cannot be read"):
        load_table(path)


def test_save_gives_the_same_table_back(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.npz"
    load_table(file).save(copy)
    table = load_table(copy)
    for name, values in COLUMNS.items():
        dataset, _, rest = name.partition("_")
        metric, _, epochs = rest.partition("_")
        for text, value in zip(TEXTS, values, strict=True):
            assert table.query(str(text), metric, dataset=dataset, epochs=int(epochs) if epochs else None) == value
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.npz", "table.npz"]


def test_save_that_fails_keeps_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, content = load_table(file), file.read_bytes()

    def full(*_args: object, **_arrays: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(TableError, match="No space left"):
        table.save(file)
    assert file.read_bytes() == content
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_save_into_a_missing_folder(file: Path, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="cannot be written"):
        load_table(file).save(tmp_path / "absent" / "table.npz")


def test_columns_of_objects_are_refused_in_memory() -> None:
    with pytest.raises(TableError, match="not finite numbers"):
        Table(TEXTS, {"cifar10_test": np.array([None, 1, 2], dtype=object)})


def test_the_real_table(real_data: Path) -> None:
    table, space = load_table(real_data / "nas_bench_201.npz"), nas_bench_201()
    assert len(table) == space.size
    assert table.best() == pytest.approx(94.373, abs=1e-3)
    assert table.best("valid") == pytest.approx(91.607, abs=1e-3)
    assert table.mean() == pytest.approx(87.06, abs=5e-3)
    skips = space.architecture([1] * 6)
    assert table.query(skips) == pytest.approx(54.30, abs=5e-3)
    assert table.query(skips, "valid", dataset="cifar100") == pytest.approx(15.03, abs=5e-3)
