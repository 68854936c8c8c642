import gzip
import hashlib
import io
import os
import pickle
import re
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.io import savemat
from torchvision.datasets import CIFAR10

from nas_search import ConfigError, DataError, ImageData
from nas_search.data_sources import download, load_data
from nas_search.vision_sources import cifar10, cifar100, fashion_mnist, svhn

RANDOM = np.random.default_rng(0)
TEN = [f"class{number}" for number in range(10)]
HUNDRED = [f"class{number}" for number in range(100)]
PARTS10 = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")


def draw(count: int, classes: int = 10) -> tuple[NDArray[np.uint8], list[int]]:
    return RANDOM.integers(0, 256, (count, 3072), np.uint8), [int(x) for x in np.arange(count) % classes]


def python2(batch: dict[str, Any]) -> bytes:
    """A batch as the authors' Python 2 wrote it: protocol 2, byte strings, the array by numpy.core of old."""
    out = io.BytesIO()

    def text(value: str) -> bytes:
        return b"U" + bytes([len(value)]) + value.encode()  # SHORT_BINSTRING

    out.write(b"\x80\x02}(")
    for key, value in batch.items():
        out.write(text(key))
        if isinstance(value, np.ndarray):
            raw = value.tobytes()
            out.write(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01")
            out.write(b"".join(b"M" + size.to_bytes(2, "little") for size in value.shape) + b"\x86")
            out.write(
                b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
            )
            out.write(b"T" + len(raw).to_bytes(4, "little") + raw + b"tb")
        elif isinstance(value, str):
            out.write(text(value))
        else:
            items = [b"K" + bytes([each]) if isinstance(each, int) else text(each) for each in value]
            out.write(b"](" + b"".join(items) + b"e")
    out.write(b"u.")
    return out.getvalue()


WRITERS: dict[str, Callable[[Any], bytes]] = {
    "python 2": python2,
    **{f"protocol {number}": partial(pickle.dumps, protocol=number) for number in (2, 3, 4, 5)},
}


def write10(folder: Path, dump: Callable[[Any], bytes] = python2) -> tuple[NDArray[np.uint8], list[int]]:
    folder.mkdir(parents=True, exist_ok=True)
    made = [draw(10) for _ in PARTS10]
    for name, (data, labels) in zip(PARTS10, made, strict=True):
        (folder / name).write_bytes(dump({"batch_label": name, "labels": labels, "data": data}))
    (folder / "batches.meta").write_bytes(dump({"label_names": TEN}))
    return np.concatenate([data for data, _ in made]), [label for _, labels in made for label in labels]


def whole(data: ImageData) -> tuple[NDArray[np.uint8], list[int]]:
    images = torch.cat([data.train.images, data.test.images])
    return images.numpy(), torch.cat([data.train.labels, data.test.labels]).tolist()


@pytest.mark.parametrize("writer", WRITERS)
def test_cifar_10_in_python_is_read_whatever_wrote_it(tmp_path: Path, writer: str) -> None:
    pixels, labels = write10(tmp_path / "cifar-10-batches-py", WRITERS[writer])
    data = load_data(f"cifar10:{tmp_path}")
    assert isinstance(data, ImageData)
    images, found = whole(data)
    np.testing.assert_array_equal(images, pixels.reshape(-1, 3, 32, 32))
    assert found == labels
    assert (len(data.train.labels), data.classes, data.class_names) == (50, 10, tuple(TEN))
    assert cifar10(tmp_path / "cifar-10-batches-py").fingerprint == data.fingerprint


def test_what_this_file_writes_as_python_2_is_what_pickle_and_numpy_read() -> None:
    data, labels = draw(10)
    batch = pickle.loads(python2({"labels": labels, "data": data}), encoding="latin1")
    np.testing.assert_array_equal(batch["data"], data)
    assert batch["labels"] == labels


def test_arrays_in_fortran_order_are_not_mixed_up(tmp_path: Path) -> None:
    dump = lambda batch: pickle.dumps({k: np.asfortranarray(v) if k == "data" else v for k, v in batch.items()}, 4)  # noqa: E731
    pixels, _ = write10(tmp_path, dump)
    np.testing.assert_array_equal(whole(cifar10(tmp_path))[0], pixels.reshape(-1, 3, 32, 32))


def test_cifar_10_in_binary_is_preferred(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    write10(tmp_path / "cifar-10-batches-py")
    made = [draw(10) for _ in PARTS10]
    for name, (pixels, labels) in zip(PARTS10, made, strict=True):
        (folder / f"{name}.bin").write_bytes(np.column_stack([np.array(labels, np.uint8), pixels]).tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(TEN) + "\n\n")
    data = cifar10(tmp_path)
    np.testing.assert_array_equal(whole(data)[0], np.concatenate([x for x, _ in made]).reshape(-1, 3, 32, 32))
    assert whole(data)[1] == [label for _, labels in made for label in labels]
    assert data.class_names == tuple(TEN)
    whole_file = (folder / "data_batch_2.bin").read_bytes()
    (folder / "data_batch_2.bin").write_bytes(whole_file[:-1])
    with pytest.raises(DataError, match=r"data_batch_2.bin has 30729 bytes; expected a multiple of 3073: .*anew"):
        cifar10(tmp_path)
    (folder / "data_batch_2.bin").write_bytes(whole_file[:-3073])
    with pytest.raises(DataError, match=r"have \[10, 9, 10, 10, 10\] images; expected equally many"):
        cifar10(tmp_path)
    (folder / "data_batch_2.bin").write_bytes(b"\x0a" + whole_file[1:])
    with pytest.raises(DataError, match=r"data_batch_2.bin has the label 10; expected 0 to 9"):
        cifar10(tmp_path)
    (folder / "batches.meta.txt").write_text("\n")
    with pytest.raises(DataError, match=r"batches.meta.txt names no class"):
        cifar10(tmp_path)


def test_cifar_100_has_its_fine_labels_in_both_versions(tmp_path: Path) -> None:
    python, binary = tmp_path / "cifar-100-python", tmp_path / "b" / "cifar-100-binary"
    python.mkdir()
    binary.mkdir(parents=True)
    for part, count in (("train", 200), ("test", 100)):
        pixels, labels = draw(count, 100)
        coarse = [label // 5 for label in labels]
        (python / part).write_bytes(python2({"coarse_labels": coarse, "fine_labels": labels, "data": pixels}))
        records = np.column_stack([np.array(coarse, np.uint8), np.array(labels, np.uint8), pixels])
        (binary / f"{part}.bin").write_bytes(records.tobytes())
    (python / "meta").write_bytes(python2({"fine_label_names": HUNDRED, "coarse_label_names": TEN}))
    (binary / "fine_label_names.txt").write_text("\n".join(HUNDRED))
    data, other = load_data(f"cifar100:{tmp_path}"), cifar100(tmp_path / "b")
    assert data.fingerprint == other.fingerprint
    assert data.train.labels.tolist() == [*range(100)] * 2
    assert other.class_names == tuple(HUNDRED)


class Evil:
    """Unpickled as it is meant to be, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("place", ["data_batch_3", "batches.meta"])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path: Path, place: str) -> None:
    write10(tmp_path)
    mark = tmp_path / "mark"
    (tmp_path / place).write_bytes(pickle.dumps({"data": Evil(mark)}))
    with pytest.raises(DataError, match=rf"{place} asks for (posix|nt)\.mkdir, .* nothing was run: .*binary version"):
        cifar10(tmp_path)
    assert not mark.exists()
    pickle.loads((tmp_path / place).read_bytes())
    assert mark.exists()


@pytest.mark.parametrize(
    "name", [b"numpy\nload", b"builtins\neval", b"numpy.core.multiarray\nscalar", b"__builtin__\ngetattr"]
)
def test_other_names_are_refused(tmp_path: Path, name: bytes) -> None:
    write10(tmp_path)
    (tmp_path / "test_batch").write_bytes(b"c" + name + b"\n.")
    with pytest.raises(DataError, match=f"test_batch asks for {name.decode().replace(chr(10), '.')}, which no file"):
        cifar10(tmp_path)


@pytest.mark.parametrize("name", [b"numpy\ndtype", b"numpy\nndarray", b"_codecs\nencode"])
def test_a_pickle_cannot_change_what_it_is_read_with(tmp_path: Path, name: bytes) -> None:
    """The opcode BUILD on a class, with a pair of which the second sets attributes."""
    good = write10(tmp_path)
    kept = (tmp_path / "test_batch").read_bytes()
    (tmp_path / "test_batch").write_bytes(b"c" + name + b"\n(N}V__init__\nNstb.")
    with pytest.raises(DataError, match="test_batch cannot be read as a pickle"):
        cifar10(tmp_path)
    (tmp_path / "test_batch").write_bytes(kept)
    np.testing.assert_array_equal(whole(cifar10(tmp_path))[0], good[0].reshape(-1, 3, 32, 32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": np.zeros((10, 3000), np.uint8)}, r"has shape \(10, 3000\); expected \(n, 3072\)"),
        ({"data": np.zeros((10, 3072), np.float32)}, "is damaged .it is f4, not u1"),
        ({"data": np.zeros((9, 3072), np.uint8)}, "has 10 labels for 9 images"),
        ({"data": [1, 2]}, "has no array 'data' and list of numbers 'labels'"),
        ({"labels": ["a"] * 10}, "has no array 'data' and list of numbers 'labels'"),
        ({"labels": [10] * 10}, "has labels from 10 to 10; expected 0 to 9"),
        ({"labels": [-(2**70)] * 10}, "expected 0 to 9"),
    ],
)
def test_batches_of_another_form_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    write10(tmp_path)
    pixels, labels = draw(10)
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({"data": pixels, "labels": labels} | change, protocol=4))
    with pytest.raises(DataError, match=f"data_batch_1.*{message}"):
        cifar10(tmp_path)


@pytest.mark.parametrize("keep", [0, 1, 100, 20_000, -1])
def test_a_truncated_pickle_is_refused(tmp_path: Path, keep: int) -> None:
    write10(tmp_path)
    (tmp_path / "data_batch_1").write_bytes((tmp_path / "data_batch_1").read_bytes()[:keep])
    with pytest.raises(DataError, match="data_batch_1 cannot be read as a pickle"):
        cifar10(tmp_path)


def test_an_array_with_too_few_bytes_and_what_is_no_dictionary_are_refused(tmp_path: Path) -> None:
    write10(tmp_path)
    raw = (tmp_path / "data_batch_1").read_bytes()
    (tmp_path / "data_batch_1").write_bytes(raw.replace(b"M\x0a\x00M\x00\x0c", b"M\x0b\x00M\x00\x0c"))
    with pytest.raises(DataError, match="array 'data' of .*data_batch_1 is damaged"):
        cifar10(tmp_path)
    (tmp_path / "batches.meta").write_bytes(pickle.dumps([1]))
    with pytest.raises(DataError, match="meta holds a list; expected a dictionary"):
        cifar10(tmp_path)
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({"label_names": [1]}))
    with pytest.raises(DataError, match="meta has no list of names 'label_names'"):
        cifar10(tmp_path)


def write_svhn(folder: Path, **changes: Any) -> NDArray[np.uint8]:
    images = RANDOM.integers(0, 256, (32, 32, 3, 20), np.uint8)
    for part in ("train", "test"):
        labels = (np.arange(20, dtype=np.uint8) % 10 + 1)[:, None]
        savemat(folder / f"{part}_32x32.mat", {"X": images, "y": labels} | changes, do_compression=True)
    return images


def test_svhn_has_the_digit_0_as_class_0(tmp_path: Path) -> None:
    images = write_svhn(tmp_path)
    data = load_data(f"svhn:{tmp_path}")
    assert data.train.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] * 2
    np.testing.assert_array_equal(data.train.images.numpy(), images.transpose(3, 2, 0, 1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.zeros((28, 28, 3, 20), np.uint8)}, r"expected uint8, \(32, 32, 3, n\)"),
        ({"X": np.zeros((32, 32, 3, 20))}, "is float64 of shape"),
        ({"y": np.zeros((20, 1), np.uint8)}, "expected 20 whole numbers from 1 to 10"),
        ({"y": np.ones((19, 1), np.uint8)}, "expected 20 whole numbers from 1 to 10"),
    ],
)
def test_other_matlab_files_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_svhn(tmp_path, **changes)
    with pytest.raises(DataError, match=message):
        svhn(tmp_path)


def test_damaged_matlab_files_are_refused(tmp_path: Path) -> None:
    write_svhn(tmp_path)
    path = tmp_path / "test_32x32.mat"
    raw = path.read_bytes()
    for broken in (raw[:-5000], raw[:100], b"no matlab file at all" * 20):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"test_32x32.mat (cannot be read as a MATLAB file|lacks X or y)"):
            svhn(tmp_path)
    savemat(path, {"X": 1})
    with pytest.raises(DataError, match="lacks X or y"):
        svhn(tmp_path)


def idx(array: NDArray[np.uint8]) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.tobytes()


def write_idx(folder: Path, *, packed: bool, size: int = 28) -> NDArray[np.uint8]:
    folder.mkdir(parents=True, exist_ok=True)
    images = RANDOM.integers(0, 256, (20, size, size), np.uint8)
    for part in ("train", "t10k"):
        for name, array in (("images-idx3", images), ("labels-idx1", np.arange(20, dtype=np.uint8) % 10)):
            raw = idx(array)
            path = folder / f"{part}-{name}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(raw) if packed else raw)
    return images


@pytest.mark.parametrize("packed", [True, False])
def test_fashion_mnist_is_read_packed_or_not(tmp_path: Path, packed: bool) -> None:
    images = write_idx(tmp_path / "FashionMNIST" / "raw", packed=packed)
    data = load_data(f"fashion-mnist:{tmp_path}")
    assert isinstance(data, ImageData)
    np.testing.assert_array_equal(data.train.images.numpy(), images[:, None])
    assert data.test.labels.tolist() == [*range(10)] * 2
    assert data.class_names[9] == "Ankle boot"


def test_damaged_idx_files_are_refused(tmp_path: Path) -> None:
    write_idx(tmp_path, packed=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    good, raw = path.read_bytes(), gzip.decompress(path.read_bytes())
    for broken, message in (
        (good[:-100], "cannot be read"),
        (raw, "cannot be read"),
        (gzip.compress(raw[:-1]), r"has 15679 bytes after its head; expected 15680 for \(20, 28, 28\)"),
        (gzip.compress(raw + b"x"), "has 15681 bytes after its head"),
        (gzip.compress(raw[:10]), "is no idx file of bytes in 3 dimensions"),
        (gzip.compress(b"\0\0\x0d\x03" + raw[4:]), "is no idx file of bytes"),
    ):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=f"train-images-idx3-ubyte.gz {message}"):
            fashion_mnist(tmp_path)
    write_idx(tmp_path, packed=True, size=8)
    with pytest.raises(DataError, match=r"has images of \(8, 8\) pixels; expected 28 x 28"):
        fashion_mnist(tmp_path)


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("cifar10", ("data_batch_1.bin", "cifar-10-batches-bin", "batches.meta", "cifar-10-batches-py")),
        ("cifar100", ("train.bin", "cifar-100-binary", "cifar-100-python")),
        ("svhn", ("train_32x32.mat",)),
        ("fashion-mnist", ("train-images-idx3-ubyte.gz", "FashionMNIST/raw")),
    ],
)
def test_missing_files_are_named_with_the_folder_and_the_remedy(
    tmp_path: Path, kind: str, files: tuple[str, ...]
) -> None:
    with pytest.raises(DataError, match=rf"no {kind} data; looked for .*--data {kind}:{tmp_path} --download") as caught:
        load_data(f"{kind}:{tmp_path}")
    for file in (*files, str(tmp_path)):
        assert file in str(caught.value)
    with pytest.raises(ConfigError, match=f"lacks its folder; write {kind}:FOLDER"):
        load_data(kind)


def test_one_missing_file_is_named(tmp_path: Path) -> None:
    write10(tmp_path)
    (tmp_path / "data_batch_4").unlink()
    with pytest.raises(DataError, match=re.escape("cifar-10-batches-py (where data_batch_4 is missing)")):
        cifar10(tmp_path)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NDArray[np.uint8]]:
    """The pixels of a small CIFAR-10, whose archive this machine serves in the place of the authors'."""
    pixels, _ = write10(tmp_path / "made" / "cifar-10-batches-py")
    archive = tmp_path / "theirs.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "made" / "cifar-10-batches-py", "cifar-10-batches-py")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/theirs.tar.gz")
        monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
        yield pixels
        server.shutdown()


def test_a_download_is_read_and_not_repeated(tmp_path: Path, served: NDArray[np.uint8]) -> None:
    folder = tmp_path / "new" / "data"
    download(f"cifar10:{folder}")
    np.testing.assert_array_equal(whole(cifar10(folder))[0], served.reshape(-1, 3, 32, 32))
    (tmp_path / "theirs.tar.gz").unlink()
    (folder / "cifar-10-python.tar.gz").unlink()
    download(f"cifar10:{folder}")


@pytest.mark.usefixtures("served")
def test_a_download_that_fails_or_is_another_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CIFAR10, "tgz_md5", "0" * 32)
    with pytest.raises(DataError, match="cifar10 could not be downloaded into .*try again, or copy it there"):
        download(f"cifar10:{tmp_path / 'other'}")
    (tmp_path / "theirs.tar.gz").unlink()
    with pytest.raises(DataError, match="cifar10 could not be downloaded"):
        download(f"cifar10:{tmp_path / 'third'}")


def test_other_sources_are_not_downloaded() -> None:
    with pytest.raises(ConfigError, match="only cifar10, cifar100, svhn, fashion-mnist are: leave out --download"):
        download("digits")
    with pytest.raises(ConfigError, match="lacks its folder; write svhn:FOLDER"):
        download("svhn")
