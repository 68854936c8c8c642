"""Folders of image files: how they are laid out, decoded, kept, and what is refused."""

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nas_search import ConfigError, DataError, ImageData, LoaderError, image_folder
from nas_search.config import RunConfig
from nas_search.data_sources import load_data
from nas_search.image_folder import ImageFolder
from nas_search.runs import run_evaluation, run_search


def read(source: str) -> ImageData:
    data = load_data(source)
    assert isinstance(data, ImageData)
    return data


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of each test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return image_folder.cache_folder()


def write(path: Path, seed: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> np.ndarray[Any, Any]:
    """A picture of noise; its pixels, ``(height, width[, 3])``."""
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def folder(root: Path, counts: dict[str, int], **form: Any) -> Path:
    """So many pictures at each of some places below `root`."""
    for place, count in counts.items():
        for number in range(count):
            write(root / place / f"{number:03}.png", seed=hash_of(place) + number, **form)
    return root


def hash_of(place: str) -> int:
    return sum(map(ord, place)) * 1000


@pytest.mark.parametrize(
    ("places", "name"),
    [
        (("Train/cat", "Train/dog", "Test/cat", "Test/dog"), "Test"),
        (("training/cat", "training/dog", "validation/cat"), "training"),
        (("train/cat", "train/dog", "validation/cat", "validation/dog"), "validation"),
        (("test/cat", "test/dog"), "test"),
    ],
)
def test_a_part_that_is_called_otherwise_is_no_class(tmp_path: Path, places: tuple[str, ...], name: str) -> None:
    """A search would learn to tell the train part from the test part, or pass one over."""
    root = folder(tmp_path / "pets", dict.fromkeys(places, 3))
    with pytest.raises(DataError, match=rf"pets has the folder '{name}' with folders in it, which looks like a part"):
        load_data(f"imagefolder:{root}")


def test_a_class_may_be_called_like_a_part(tmp_path: Path) -> None:
    root = folder(tmp_path / "vehicles", {"Bus": 6, "Train": 6, "validation": 6})
    assert read(f"imagefolder:{root}").class_names == ("Bus", "Train", "validation")


def test_a_link_back_multiplies_nothing(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", {"cat": 10, "dog": 10})
    for name, target in {"self": root / "cat", "up": root, "other": root / "dog"}.items():
        (root / "cat" / name).symlink_to(target, target_is_directory=True)
    (root / "cat" / "more").symlink_to(folder(tmp_path / "elsewhere", {"cats": 2}) / "cats", target_is_directory=True)
    data = read(f"imagefolder:{root}")
    assert torch.cat((data.train.labels, data.test.labels)).bincount().tolist() == [12, 10]


def test_parts_classes_and_pixels_are_those_of_the_files(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", {"train/cat": 3, "train/dog": 2, "test/cat": 1, "test/dog": 1})
    write(root / "train" / "dog" / "more" / "deep.PNG", seed=7)
    (root / "train" / "cat" / "notes.txt").write_text("not an image")
    (root / "train" / ".hidden").mkdir()
    data = read(f"imagefolder:{root}")
    assert data.name == "pets"
    assert data.class_names == ("cat", "dog")
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.test.labels.tolist() == [0, 1]
    assert data.image_shape == (3, 8, 8)
    for index, number in enumerate((0, 1, 2)):
        expected = np.asarray(Image.open(root / "train" / "cat" / f"{number:03}.png")).transpose(2, 0, 1)
        assert np.array_equal(data.train.images[index].numpy(), expected)
    deep = np.asarray(Image.open(root / "train" / "dog" / "more" / "deep.PNG")).transpose(2, 0, 1)
    assert any(np.array_equal(image.numpy(), deep) for image in data.train.images[3:])


def test_without_a_test_part_a_stratified_fifth_is_kept_for_it(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", {"cat": 10, "dog": 20})
    data = read(f"imagefolder:{root}")
    assert data.train.labels.bincount().tolist() == [8, 16]
    assert data.test.labels.bincount().tolist() == [2, 4]
    together = torch.cat([data.train.images, data.test.images]).flatten(1).unique(dim=0)
    assert len(together) == 30
    again = read(f"imagefolder:{folder(tmp_path / 'copy' / 'pets', {'cat': 10, 'dog': 20})}")
    assert torch.equal(again.test.images, data.test.images)
    assert again.fingerprint == data.fingerprint  # wherever the folder is, and whenever it was copied


def test_a_part_val_is_the_test_part_or_validates(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", {"train/cat": 4, "train/dog": 4, "val/cat": 2, "val/dog": 1})
    data = read(f"imagefolder:{root}")
    assert (len(data.test.labels), data.valid) == (3, None)
    folder(root, {"test/cat": 1, "test/dog": 1})
    data = read(f"imagefolder:{root}")
    assert len(data.test.labels) == 2
    assert data.valid is not None
    assert len(data.valid.labels) == 3
    assert len(data.split(0.5, seed=0)[0].labels) == 8


def test_images_are_scaled_and_cropped_as_torchvision_does(tmp_path: Path) -> None:
    from torchvision.transforms import v2

    root = folder(tmp_path / "pets", {"cat": 5, "dog": 5}, size=(40, 30))
    assert read(f"imagefolder:{root}").image_shape == (3, 30, 30)
    data = read(f"imagefolder:{root},size=12")
    reference = v2.Compose([v2.Resize(12), v2.CenterCrop(12), v2.PILToTensor()])
    expected = [reference(Image.open(path)) for path in sorted(root.glob("*/*.png"))]
    found = torch.cat([data.train.images, data.test.images])
    assert {image.numpy().tobytes() for image in found} == {image.numpy().tobytes() for image in expected}


def test_the_orientation_of_the_camera_is_followed(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", {"cat": 4, "dog": 5})
    pixels = write(tmp_path / "plain.png", seed=1)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(pixels).save(root / "cat" / "turned.png", exif=exif)
    data = read(f"imagefolder:{root}")
    turned = np.rot90(pixels, -1).transpose(2, 0, 1)
    found = torch.cat([data.train.images, data.test.images])
    assert any(np.array_equal(image.numpy(), turned) for image in found)


def test_grey_files_have_one_channel_unless_said_otherwise(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", {"cat": 80, "dog": 80}, mode="L")
    assert read(f"imagefolder:{root}").in_channels == 1
    assert read(f"imagefolder:{root},channels=3").in_channels == 3
    write(root / "cat" / "001.png", seed=1)  # every second file is looked at, and this is none of them
    with pytest.raises(DataError, match=r"001.png is in colour \(RGB\), and the files that were looked at are grey"):
        read(f"imagefolder:{root}")
    assert read(f"imagefolder:{root},channels=1").in_channels == 1


def test_files_are_decoded_once_and_again_where_they_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path / "pets", {"cat": 5, "dog": 5})
    before = read(f"imagefolder:{root}")
    decode, decoded = image_folder._decode, []
    monkeypatch.setattr(image_folder, "_decode", lambda path, *rest: decoded.append(path) or decode(path, *rest))  # type: ignore[func-returns-value]
    again = read(f"imagefolder:{root}")
    assert not decoded
    assert torch.equal(again.train.images, before.train.images)
    write(root / "cat" / "000.png", seed=99)
    assert not torch.equal(read(f"imagefolder:{root}").train.images, before.train.images)
    assert len(decoded) == 10


def test_what_the_tensor_is_changed_to_does_not_reach_the_file(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", {"cat": 5, "dog": 5})
    images = read(f"imagefolder:{root}").train.images
    before = images.clone()
    images.zero_()
    assert torch.equal(read(f"imagefolder:{root}").train.images, before)


def test_decoding_goes_on_where_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path / "pets", {"cat": 40, "dog": 40})
    whole = read(f"imagefolder:{root}").train.images.clone()
    shutil.rmtree(image_folder.cache_folder())
    decode, decoded = image_folder._decode, []

    def interrupted(path: Path, *rest: Any) -> Any:
        decoded.append(path)
        if len(decoded) == 70:
            raise KeyboardInterrupt
        return decode(path, *rest)

    monkeypatch.setattr(image_folder, "_decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read(f"imagefolder:{root},workers=0")
    (partial,) = image_folder.cache_folder().glob("*.partial")
    with partial.open("ab") as file:
        file.write(b"half an image")
    assert torch.equal(read(f"imagefolder:{root},workers=0").train.images, whole)
    assert len(decoded) == 70 + 80 - 64  # two batches of 32 were written


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", {"cat": 40, "dog": 40})
    state = torch.get_rng_state()
    one = read(f"imagefolder:{root},workers=0").train.images.clone()
    shutil.rmtree(image_folder.cache_folder())
    assert torch.equal(read(f"imagefolder:{root},workers=2").train.images, one)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("fate", "message"),
    [
        (
            "killed",
            "a worker that decodes images died .*What is decoded is kept: try again, with ,workers=1 behind the folder",
        ),
        (
            "stuck",
            "no batch came from the 1 workers in 1 seconds: .*is kept: try again, with a longer ,timeout=SECONDS",
        ),
    ],
)
def test_a_worker_that_is_killed_or_stuck_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fate: str, message: str
) -> None:
    root = folder(tmp_path / "pets", {"cat": 40, "dog": 40})

    def end(*_: Any) -> Any:
        if fate == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    monkeypatch.setattr(image_folder, "_decode", end)
    with pytest.raises(LoaderError, match=message):
        read(f"imagefolder:{root},workers=1,timeout=1")


def test_bad_folders_and_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"no folder .*nowhere; expected FOLDER/train/CLASS/\*.jpg and"):
        read(f"imagefolder:{tmp_path / 'nowhere'}")
    write(tmp_path / "flat" / "a.png", seed=0)
    with pytest.raises(DataError, match=r"flat has no folders of classes; expected FOLDER/train"):
        read(f"imagefolder:{tmp_path / 'flat'}")
    root = folder(tmp_path / "pets", {"train/cat": 3, "train/dog": 3, "test/cat": 1, "test/dog": 1, "test/cow": 1})
    with pytest.raises(DataError, match="test has the class 'cow', which no train image has; there are cat, dog"):
        read(f"imagefolder:{root}")
    shutil.rmtree(root / "test" / "cow")
    (root / "train" / "dog").rename(tmp_path / "dog")
    (root / "train" / "dog").mkdir()
    with pytest.raises(DataError, match=r"train/dog holds no images .*; remove the class, or add images of it"):
        read(f"imagefolder:{root}")
    few = folder(tmp_path / "few", {"cat": 1, "dog": 1})
    with pytest.raises(DataError, match="has 2 images, too few to keep some for the test"):
        read(f"imagefolder:{few}")
    many = folder(tmp_path / "many", {"cat": 5, "dog": 5})
    broken = many / "dog" / "002.png"
    broken.write_bytes(broken.read_bytes()[:-60])
    with pytest.raises(DataError, match=r"dog/002.png cannot be read as an image \(.*\); remove or replace it"):
        read(f"imagefolder:{many}")
    Image.fromarray(np.zeros((8, 8), dtype=np.uint16)).save(broken)
    with pytest.raises(DataError, match="002.png has pixels of the type I;16; expected 8 bits a channel"):
        read(f"imagefolder:{many}")
    write(broken, seed=1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(DataError, match=r"10 images of 8 x 8 pixels take 0.0 GB, and .* has 0.0 GB free; free space"):
        read(f"imagefolder:{many}")


def test_a_damaged_or_unwritable_cache_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    root = folder(tmp_path / "pets", {"cat": 5, "dog": 5})
    read(f"imagefolder:{root}")
    (file,) = cache.glob("*.pixels")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"is damaged: it has 1,919 bytes, expected 1,920; delete it"):
        read(f"imagefolder:{root}")
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    with pytest.raises(DataError, match="cannot be kept in .*taken/nas-search/images"):
        read(f"imagefolder:{root}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "d,sice=3",
            r"option 'sice=3' of imagefolder:d,sice=3; expected one of size, channels, .* did you mean 'size'",
        ),
        ("d,size=big", "option 'size=big'"),
        ("d,size=-1", "size of an image folder is -1; expected a number of pixels"),
        ("d,channels=2", "channels of an image folder is 2; expected 1 or 3"),
        ("d,workers=-2", "workers of an image folder is -2"),
        ("d,timeout=0", "timeout of an image folder is 0; expected 1 second or more"),
        ("", "data source 'imagefolder' lacks its folder; write imagefolder:FOLDER"),
    ],
)
def test_bad_options_are_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(f"imagefolder:{text}")


def test_the_path_in_a_configuration_is_whole_and_keeps_the_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b").mkdir()
    for given, kept in (("./a,b", ""), ("a,b/../a,b", ",size=16,workers=0")):
        found = RunConfig(data=f"imagefolder:{given}{kept}").resolved().data
        assert found == f"imagefolder:{tmp_path}/a,b{kept}"
    assert RunConfig(data="cifar10:here").resolved().data == f"cifar10:{tmp_path}/here"
    assert ImageFolder.parse("a,b,size=4")[0] == Path("a,b")


def test_a_network_is_not_judged_by_other_classes_of_the_same_number(tmp_path: Path) -> None:
    pets = folder(tmp_path / "pets", {"train/cat": 8, "train/dog": 8, "test/cat": 2, "test/dog": 2})
    more = folder(tmp_path / "more", {"train/cat": 2, "train/dog": 2, "test/cat": 2, "test/dog": 2})
    cars = folder(tmp_path / "cars", {"train/car": 2, "train/dog": 2, "test/car": 2, "test/dog": 2})
    config = RunConfig(
        method="random_search", data=f"imagefolder:{pets}", settings={"candidate_epochs": 1}, epochs=1, train_epochs=1,
        batch_size=8, channels=2, cells=1, device="cpu",
    )  # fmt: skip
    run_search(config, tmp_path / "run")
    assert list(run_evaluation(tmp_path / "run", data=f"imagefolder:{more}", device="cpu")["classes"]) == ["cat", "dog"]
    with pytest.raises(
        ConfigError, match=r"class 0 of cars is 'car', that of the network of .* 'cat'; the classes must"
    ):
        run_evaluation(tmp_path / "run", data=f"imagefolder:{cars}", device="cpu")
