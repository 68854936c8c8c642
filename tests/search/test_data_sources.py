from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from nas_search import ConfigError, DataError, data_sources
from nas_search.data_sources import digits, fake, load_data, npz

GOOD: dict[str, Any] = {
    "x_train": np.zeros((6, 8, 8, 3), np.uint8),
    "y_train": np.array([0, 1, 2, 0, 1, 2]),
    "x_test": np.zeros((3, 8, 8, 3), np.uint8),
    "y_test": np.array([0, 1, 2]),
}


def write(path: Path, **changes: Any) -> Path:
    arrays = {name: value for name, value in (GOOD | changes).items() if value is not None}
    np.savez(path, **arrays)
    return path


def test_digits_are_all_1797_real_images_split_once_and_for_all() -> None:
    data, again = digits(), digits()
    assert len(data.train.labels) + len(data.test.labels) == 1797
    assert data.fingerprint == again.fingerprint
    assert data.image_shape == (1, 8, 8)
    assert data.classes == 10
    bunch = load_digits()
    assert sorted(map(bytes, torch.cat([data.train.images, data.test.images]).flatten(1).numpy())) == sorted(
        map(bytes, np.rint(bunch.images * 255 / 16).astype(np.uint8).reshape(1797, 64))
    )
    share = data.test.labels.bincount() / (data.test.labels.bincount() + data.train.labels.bincount())
    torch.testing.assert_close(share, torch.full((10,), 0.2), atol=0.01, rtol=0)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW", "NHW"])
def test_npz_images_of_every_layout_arrive_channels_first(tmp_path: Path, layout: str) -> None:
    images = (np.arange(6 * 5 * 7 * 3) % 251).astype(np.uint8).reshape(6, 5, 7, 3)
    forms = {"NHWC": images, "NCHW": images.transpose(0, 3, 1, 2), "NHW": images[..., 0]}
    data = npz(write(tmp_path / "x.npz", x_train=forms[layout], x_test=forms[layout][:3]))
    expected = images.transpose(0, 3, 1, 2)
    assert np.array_equal(data.train.images.numpy(), expected[:, :1] if layout == "NHW" else expected)
    assert data.name == "x"


def test_npz_floats_in_the_unit_interval_are_taken_as_they_are(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((6, 4, 4, 1))
    data = load_data(f"npz:{write(tmp_path / 'x.npz', x_train=images, x_test=images[:3])}")
    assert data.train.images.dtype == torch.float32
    np.testing.assert_allclose(data.train.images[:, 0].numpy(), images[..., 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "lacks y_test; it has x_train, y_train, x_test"),
        ({"x_train": np.array([["a"] * 3] * 6)}, "x_train of .* is <U1"),
        ({"x_train": np.zeros((6, 8, 8, 3), np.int64)}, "is int64"),
        ({"x_train": np.zeros((6, 64), np.uint8)}, r"shape \(6, 64\)"),
        ({"x_train": np.zeros((6, 8, 8, 4), np.uint8)}, "1 or 3 channels"),
        ({"x_train": np.zeros((6, 8, 8, 7), np.uint8)}, "1 or 3 channels"),
        ({"x_train": np.full((6, 8, 8, 3), np.nan)}, r"expected \[0, 1\]"),
        ({"x_train": np.full((6, 8, 8, 3), 255.0)}, "divide them by their maximum"),
        ({"x_train": np.zeros((5, 8, 8, 3), np.uint8)}, "5 train images"),
        ({"y_train": np.array([0.5] * 6)}, "not whole numbers"),
        ({"y_train": np.array(["cat"] * 6)}, "not whole numbers"),
        ({"y_train": np.array([0, 1, 2, 0, 1, -3])}, "label -3 is out of range"),
        ({"y_test": np.array([0, 1, 9])}, "test label 9 is out of range"),
        ({"y_train": np.array([0, 1, 2, 0, 1, np.inf])}, "not whole numbers"),
        ({"y_train": np.array([0, 1, 2, 0, 1, 2**63], np.uint64)}, "has the label 9223372036854775808"),
        ({"y_train": np.array([0, 1, 2, 0, 1, 400])}, "train label 400 is out of range for 6 images"),
        ({"y_train": np.zeros(6, np.int64)}, "all train labels are 0"),
        ({"x_test": np.zeros((3, 4, 4, 3), np.uint8)}, "must be of one shape"),
    ],
)
def test_an_archive_that_holds_no_labelled_images_is_refused(tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        npz(write(tmp_path / "x.npz", **changes))


def test_other_byte_orders_and_columns_of_labels_are_read(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((6, 4, 4, 1))
    labels = np.array([[0], [1], [2], [0], [1], [2]], ">i4")
    data = npz(
        write(tmp_path / "x.npz", x_train=images.astype(">f8"), y_train=labels, x_test=images[:3].astype(np.float16))
    )
    np.testing.assert_allclose(data.train.images[:, 0].numpy(), images[..., 0], rtol=1e-6)
    assert data.train.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file .*nothing\.npz; expected a numpy archive with x_train"):
        npz(tmp_path / "nothing.npz")


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.npz", x_train=np.random.default_rng(0).integers(0, 255, (6, 8, 8, 3), np.uint8))
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="cannot be read as a numpy archive"):
            npz(path)


def test_an_archive_of_objects_is_refused_and_not_unpickled(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (marker.write_text, ("x",))

    path = write(tmp_path / "x.npz", x_train=np.array([Trap()] * 6, dtype=object))
    with pytest.raises(DataError, match="cannot be read"):
        npz(path)
    assert not marker.exists()


def test_a_single_array_is_no_archive(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", GOOD["x_train"])
    with pytest.raises(DataError, match="is a single array"):
        npz(tmp_path / "x.npy")


def test_an_unknown_source_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown data source 'digit'; did you mean 'digits'"):
        load_data("digit")
    with pytest.raises(ConfigError, match="did you mean 'npz:FILE'"):
        load_data("npx:file")


def test_fake_images_are_learnable_and_seeded() -> None:
    data = fake("3x4x5", count=40, classes=4)
    assert data.image_shape == (3, 4, 5)
    assert fake("3x4x5").fingerprint == load_data("fake:3x4x5").fingerprint
    images = data.train.images.float()
    means = torch.stack([images[data.train.labels == label].mean(dim=0) for label in range(4)])
    distance = (data.test.images.float()[:, None] - means).square().flatten(2).sum(dim=2)
    assert (distance.argmin(dim=1) == data.test.labels).float().mean() > 0.9


@pytest.mark.parametrize("shape", ["3x4", "axbxc", "0x4x4"])
def test_a_fake_shape_that_is_none_is_refused(shape: str) -> None:
    with pytest.raises(ConfigError, match="expected CxHxW"):
        load_data(f"fake:{shape}")


def test_a_source_of_others_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    points = (
        EntryPoint("mine", "nas_search.data_sources:fake", "nas.data"),
        EntryPoint("gone", "no_such:data", "nas.data"),
    )
    monkeypatch.setattr(data_sources, "entry_points", lambda group: points if group == "nas.data" else ())
    assert load_data("mine:3x4x5").fingerprint == fake("3x4x5").fingerprint
    listed = data_sources.sources()
    assert listed["mine:..."].startswith("Noise around a random pattern")
    assert listed["gone"].startswith("(broken: no_such:data cannot be imported")
    with pytest.raises(ConfigError, match="did you mean 'mine:...'"):
        load_data("mime:3")
    with pytest.raises(ConfigError, match="cannot be imported"):
        load_data("gone:x")


def test_a_path_in_place_of_a_source_is_told_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=f"write imagefolder:{tmp_path} for image files in a folder a class, or another of cifar10"
    ):
        load_data(str(tmp_path))
    with pytest.raises(ConfigError, match=r"write npz:.*x\.npz\."):
        load_data(str(write(tmp_path / "x.npz")))
    with pytest.raises(ConfigError, match="unknown data source .*y.npz"):
        load_data(str(tmp_path / "y.npz"))


def test_labels_that_are_one_hot_are_told_to_be_numbers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"y_train .* has shape \(6, 3\); .* take argmax\(1\)"):
        load_data(f"npz:{write(tmp_path / 'x.npz', y_train=np.eye(3)[[0, 1, 2, 0, 1, 2]])}")


@pytest.mark.parametrize(
    ("source", "written"), [("npz", "npz:FILE"), ("wikitext:", "wikitext:FOLDER"), ("ptb", "ptb:FOLDER")]
)
def test_a_source_without_its_place_says_how_it_is_written(source: str, written: str) -> None:
    with pytest.raises(ConfigError, match=f"lacks its (file|folder); write {written}"):
        load_data(source)
