import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_spaces import Table, TableError, load_table, nas_bench_1shot1, nas_bench_101, nas_bench_201

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


def test_names_of_data_sets_may_have_underscores(tmp_path: Path) -> None:
    path = tmp_path / "table.npz"
    names = ("my_data_test_200", "my_data_train_time", "my_data_train", "cifar10_test", "cifar10_loss", "loss")
    columns: dict[str, Any] = {name: np.arange(3.0) for name in names}
    np.savez(path, arch=TEXTS, **columns)
    table = load_table(path, dataset="my_data")
    assert table.datasets == ("my_data", "cifar10", "loss")
    assert table.query("c") == 2.0


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


RUNS: dict[str, Any] = {
    "cifar10_test_108_seed0": np.array([90.0, 80.0, 95.0]),
    "cifar10_test_108_seed2": np.array([92.0, 81.0, 92.0]),
    "cifar10_test_4_seed0": np.array([50.0, 60.0, 70.0]),
    "cifar10_valid_108": np.array([91.0, 82.0, 93.0]),
    "cifar10_valid_108_seed1": np.array([1.0, 2.0, 3.0]),
    "cifar10_train_time_108_seed1": np.array([10.0, 20.0, 30.0]),
    "cifar10_params": np.array([1.0, 2.0, 3.0]),
}


def test_runs_are_told_by_their_seed_and_averaged_without_one() -> None:
    table = Table(TEXTS, RUNS)
    assert table.query("a") == 91.0
    assert [table.query("a", seed=seed) for seed in (0, 2)] == [90.0, 92.0]
    assert table.query("b", epochs=4) == table.query("b", epochs=4, seed=0) == 60.0
    assert table.query("c", "train_time") == table.query("c", "train_time", epochs=108, seed=1) == 30.0
    # What stands in a column without a seed is not worked out again.
    assert table.query("a", "valid") == 91.0
    assert table.query("a", "params") == 1.0
    assert [table.rank(text) for text in "abc"] == [2, 3, 1]
    assert table.best() == 93.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1}, "no column 'cifar10_test_seed1'"),
        ({"seed": 2, "epochs": 4}, "no column 'cifar10_test_4_seed2'"),
        ({"epochs": 5}, "no column 'cifar10_test_5'"),
        ({"metric": "params", "seed": 0}, "no column 'cifar10_params_seed0'"),
    ],
)
def test_a_run_that_the_table_lacks(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TableError, match=message):
        Table(TEXTS, RUNS).query("a", **options)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "a column has no name"),
        ("cifar10_test_012", "'cifar10_test_12' and 'cifar10_test_012' are the same figure"),
    ],
)
def test_names_of_columns(name: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        Table(TEXTS, {**COLUMNS, name: np.zeros(3)})


def test_csv_has_the_same_columns(tmp_path: Path, file: Path) -> None:
    path = tmp_path / "table.csv"
    lines = [
        ",".join(["arch", *COLUMNS]),
        *(f"{t}," + ",".join(str(v[i]) for v in COLUMNS.values()) for i, t in enumerate(TEXTS)),
    ]
    path.write_text("\n".join(lines) + "\n")
    table, same = load_table(path), load_table(file)
    for text in TEXTS:
        for metric, epochs in (("test", 200), ("test", 12), ("params", None)):
            assert table.query(str(text), metric, epochs=epochs) == same.query(str(text), metric, epochs=epochs)
    table.save(tmp_path / "again.npz")
    assert load_table(tmp_path / "again.npz").query("a") == 91.0


def test_csv_with_spaces_around_its_fields(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"cifar10_test_200, arch\n1, {TEXTS[0]}\n2 ,{TEXTS[1]} \n")
    table = load_table(tmp_path / "t.csv")
    assert [table.query(str(text)) for text in TEXTS[:2]] == [1.0, 2.0]


def test_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    """With a byte order mark, quotes, other line ends, empty lines, and the texts not in the first column."""
    path = tmp_path / "table.csv"
    path.write_bytes('\ufeffcifar10_test, arch\r\n91,"a, b"\r\n\r\n92.5,c\r\n'.encode())
    table = load_table(path)
    assert table.query("a, b") == 91.0
    assert table.query("c") == 92.5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the first line of .* is ''; expected different names of columns, one of them 'arch'"),
        (b"name,cifar10_test\na,1\n", "the first line of .* is 'name,cifar10_test'"),
        (b"arch,cifar10_test,cifar10_test\na,1,2\n", "expected different names"),
        (b"arch,cifar10_test,\na,1,2\n", "expected different names"),
        (b"arch,cifar10_test\na,1\nb\n", "line 3 of .* has 1 fields, expected 2"),
        (b"arch,cifar10_test\na,1,2\n", "line 2 of .* has 3 fields, expected 2"),
        (b"arch,cifar10_test\na,1\nb,much\n", "line 3 of .* has 'much' where a number was expected"),
        (b"arch,cifar10_test\na,\n", "line 2 of .* has '' where a number"),
        (b"arch,cifar10_test\na,nan\n", "not finite"),
        (b'arch,cifar10_test\n"a,1\n', "cannot be read as a table .unexpected end of data"),
        (b"arch,cifar10_test\n\xff\xfe,1\n", "cannot be read as a table .*utf-8"),
        (b"arch,cifar10_test\n", "no rows"),
        (b"arch,cifar10_test\na,1\na,2\n", "1 architectures stand twice"),
        (b"arch,cifar100_test\na,1\n", "no column 'cifar10_test'"),
    ],
)
def test_csv_that_is_no_table(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(TableError, match=message):
        load_table(path)


def test_a_folder_is_no_csv(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(TableError, match="cannot be read as a table"):
        load_table(tmp_path / "folder.csv")


def test_tables_are_saved_as_npz_only(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="'table.csv' has another ending"):
        Table(TEXTS, COLUMNS).save(tmp_path / "table.csv")
    assert not list(tmp_path.iterdir())


def test_architectures_of_nas_bench_1shot1_are_found_as_cells_of_nas_bench_101() -> None:
    benchmark, space = nas_bench_101(), nas_bench_1shot1(1)
    a, b = (
        space.parse(f"conv1x1-bn-relu~0+{name}~0~1+maxpool3x3~0~1+loose~0~3+output~2~3")
        for name in ("maxpool3x3", "conv3x3-bn-relu")
    )
    # The two blocks that the output reads are written in the other order.
    written = "conv1x1-bn-relu~0+maxpool3x3~0~1+conv3x3-bn-relu~0~1+output~2~3"
    texts = [str(benchmark.parse(text)) for text in ("output~0", written)]
    table = Table(np.array(texts), {"cifar10_test": np.array([99.0, 93.0])})
    assert table.query(b) == table.query(space.cell(b)) == 93.0
    assert table.rank(b) == 2
    assert table.of([b]).rank(b) == 1
    assert table.of([b]).regret(b) == 0
    assert table.of([b]).query(str(b)) == 93.0
    with pytest.raises(TableError, match="maxpool3x3~0~1.*is not in the table of 2; its texts look like output~0"):
        table.query(a)
    with pytest.raises(TableError, match="is not in the table"):
        table.of([a, b])


def test_the_real_table(real_data: Path) -> None:
    table, space = load_table(real_data / "nas_bench_201.npz"), nas_bench_201()
    assert len(table) == space.size
    assert table.best() == pytest.approx(94.373, abs=1e-3)
    assert table.best("valid") == pytest.approx(91.607, abs=1e-3)
    assert table.mean() == pytest.approx(87.06, abs=5e-3)
    skips = space.architecture([1] * 6)
    assert table.query(skips) == pytest.approx(54.30, abs=5e-3)
    assert table.query(skips, "valid", dataset="cifar100") == pytest.approx(15.03, abs=5e-3)
