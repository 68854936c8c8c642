"""Official files, see `nas_bench_101_files`."""

import sys
from pathlib import Path

import pytest
from nas_bench_101_files import CELLS, CONV, EPOCHS, SEEDS, crc32c, framed, message, record, records, valid

from nas_spaces import TableError, load_table, nas_bench_1shot1, nas_bench_101


@pytest.fixture
def file(tmp_path: Path) -> Path:
    pytest.importorskip("google_crc32c")
    path = tmp_path / "nasbench.tfrecord"
    path.write_bytes(b"".join(map(framed, records())))
    return path


def test_the_checksum_is_the_published_one() -> None:
    assert crc32c(b"123456789") == 0xE3069283


def test_every_figure_is_read(file: Path) -> None:
    table, space = load_table(file), nas_bench_101()
    assert len(table) == 3
    for i, text in enumerate((f"{CONV}~0+maxpool3x3~1+output~2", f"{CONV}~0+maxpool3x3~0+output~1~2", "output~0")):
        a = space.parse(text)
        for epochs in EPOCHS:
            for seed in range(SEEDS):
                found = table.query(a, "valid", epochs=epochs, seed=seed)
                assert found == pytest.approx(100 * valid(i, epochs, seed))
                assert table.query(a, "train_time", epochs=epochs, seed=seed) == 10 * epochs + seed
        assert table.query(a, "valid") == pytest.approx(100 * valid(i, 108, 1))
        assert table.query(a) == pytest.approx(90)
        assert table.query(a, "train") == 100
        assert table.query(a, "params") == i + 1


def test_the_numbering_of_the_file_does_not_matter(file: Path) -> None:
    """Cells whose vertices are written in another order are the same row."""
    orders = [f"input,{CONV},maxpool3x3,output", f"input,maxpool3x3,{CONV},output"]
    runs = [message(1.0, 1.0, figure, 0.9, 2_000_000) for figure in (0.6, 0.8)]
    file.write_bytes(b"".join(framed(record((CELLS[1][0], o), 108, run)) for o, run in zip(orders, runs, strict=True)))
    assert len(load_table(file)) == 1
    assert load_table(file).query(nas_bench_101().parse(f"maxpool3x3~0+{CONV}~0+output~1~2"), "valid") == pytest.approx(
        70
    )


def test_a_file_is_saved_and_read_faster(file: Path, tmp_path: Path) -> None:
    load_table(file).save(tmp_path / "nas_bench_101.npz")
    table = load_table(tmp_path / "nas_bench_101.npz")
    assert table.query("output~0", "valid", epochs=4, seed=2) == pytest.approx(100 * valid(2, 4, 2))


def test_nas_bench_1shot1_is_looked_up(file: Path) -> None:
    space = nas_bench_1shot1(2)
    a = space.parse(f"{CONV}~0+maxpool3x3~0+{CONV}~0~1+maxpool3x3~2~3+output~0~1~2")
    with pytest.raises(TableError, match="is not in the table"):
        load_table(file).query(a)
    cell = [[0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    digits = "".join(str(digit) for row in cell for digit in row)
    file.write_bytes(framed(record((digits, f"input,maxpool3x3,{CONV},output"), 108, message(1, 1, 0.7, 0.8, 10))))
    assert load_table(file).query(a) == pytest.approx(80)


@pytest.mark.parametrize("position", [0, 9, 20, -1])
def test_a_byte_that_changed_is_noticed(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 16
    file.write_bytes(content)
    with pytest.raises(TableError, match=r"record (0|17), at byte \d+ of .* is damaged: its checksum is|is cut off"):
        load_table(file)


@pytest.mark.parametrize("length", [0, 5, 12, 100, -1, -600])
def test_a_file_that_is_cut_off_is_noticed(file: Path, length: int) -> None:
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(TableError, match="cut off|has no records"):
        load_table(file)


def test_a_file_without_its_last_records_is_noticed(file: Path) -> None:
    file.write_bytes(b"".join(map(framed, records()[:-1])))
    with pytest.raises(TableError, match="has 2 runs of 108 epochs of the cell output~0 and 3 of another"):
        load_table(file)


METRICS = message(1, 1, 0.7, 0.8, 10)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no json", "record 0 of .* is none of NAS-Bench-101"),
        (b"\xff", "record 0 of .* is none of NAS-Bench-101"),
        (b"[" * 100_000, "record 0 of .* is none of NAS-Bench-101"),
        (b"{}", "expected a list of a hash, epochs"),
        (b"[1, 2]", "expected a list of a hash, epochs"),
        (record(CELLS[0], 0, METRICS), "0 epochs; expected a positive integer"),
        (record(("012", "input,output"), 4, METRICS), "the matrix is '012'; expected a square of 0 and 1"),
        (record(("0200", "input,output"), 4, METRICS), "expected a square of 0 and 1"),
        (record(("0000", "input,output"), 4, METRICS), "no path leads from the input to the output"),
        (record(("0100", "input"), 4, METRICS), r"expected \['input', ..., 'output'\]"),
        (record((CELLS[0][0], f"input,{CONV},identity,output"), 4, METRICS), "unknown operation 'identity'"),
        (record(CELLS[0], 4, b""), "the metrics lack an evaluation"),
        (record(CELLS[0], 4, METRICS[:40]), "longer than they are"),
        (record(CELLS[0], 4, b"\x08" + b"\xff" * 12), "does not end"),
        (record(CELLS[0], 4, b"\x0b"), "a field of kind 3"),
        (record(CELLS[0], 4, b"\x0a\x00\x10\x05"), "has None for 'train'; expected a number"),
        (record(CELLS[0], 4, message(1, 1, float("nan"), 0.8, 10)), "has nan for 'valid'; expected a number"),
        (record(CELLS[0], 4, METRICS).replace(b'"]', b'!"]'), "the metrics are no base64"),
    ],
)
def test_records_of_anything_else(file: Path, data: bytes, message: str) -> None:
    file.write_bytes(framed(data))
    with pytest.raises(TableError, match=message):
        load_table(file)


def test_without_the_extra(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    with pytest.raises(TableError, match=r'pip install "nas-spaces\[tables\]"'):
        load_table(file)


def test_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("google_crc32c")
    (tmp_path / "folder.tfrecord").mkdir()
    with pytest.raises(TableError, match="cannot be read as a TFRecord file|cut off|no records"):
        load_table(tmp_path / "folder.tfrecord")
