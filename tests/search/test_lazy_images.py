import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.functional import pil_to_tensor

from nas_search import ConfigError, DataError, Interrupted, LoaderError
from nas_search.config import RunConfig
from nas_search.data_sources import load_data
from nas_search.lazy_images import FolderBatches, ImageFolders, Reading
from nas_search.model_file import load_model
from nas_search.protocols import protocol
from nas_search.roles import Event
from nas_search.runs import run_evaluation, run_search, run_training

pytestmark = [
    # Python 3.12 warns of forks in processes with threads, as torch's loaders do them.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    # On a machine with fewer cores than workers.
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]

CPU = torch.device("cpu")


def write(root: Path, parts: tuple[str, ...] = ("train", "val"), each: int = 8) -> Path:
    """Two classes of images of unequal sizes, one as png and one as jpg: dark and light noise."""
    generator = torch.Generator().manual_seed(0)
    for part in parts:
        for label, (name, kind) in enumerate((("cat", "png"), ("dog", "jpg"))):
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(each):
                shape = (20 + number, 40 - number, 3)
                pixels = torch.randint(0, 128, shape, generator=generator) + 127 * label
                Image.fromarray(pixels.to(torch.uint8).numpy()).save(folder / f"{number}.{kind}")
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("images") / "pets")


def batches(folder: Path, **changes: Any) -> FolderBatches:
    return FolderBatches(ImageFolders(folder).train, 4, 1, CPU, Reading(16, **changes))


def test_parts_classes_and_labels_are_those_of_the_folders(folder: Path, tmp_path: Path) -> None:
    found = ImageFolders(folder)
    assert (found.class_names, found.classes, found.valid) == (("cat", "dog"), 2, None)
    assert found.train.labels.tolist() == [0] * 8 + [1] * 8
    assert found.test.paths[0] == str(folder / "val" / "cat" / "0.png")
    both = ImageFolders(write(tmp_path / "three", ("train", "val", "test"), each=2))
    assert both.valid is not None
    assert "val" in both.valid.paths[0]
    assert "test" in both.test.paths[0]
    assert found.fingerprint == ImageFolders(folder).fingerprint != both.fingerprint


def test_what_is_evaluated_is_the_middle_of_the_resized_image(folder: Path) -> None:
    read = ImageFolders(folder).test.read(Reading(14))
    assert read.images.shape == (16, 3, 14, 14)
    with Image.open(folder / "val" / "dog" / "3.jpg") as image:
        expected = v2.CenterCrop(14)(v2.Resize(16)(image.convert("RGB")))
    torch.testing.assert_close(read.images[8 + 3], pil_to_tensor(expected))


@pytest.mark.parametrize("crop", ["resized", "padded"])
def test_batches_are_the_same_with_any_number_of_workers_and_from_any_step(folder: Path, crop: str) -> None:
    plain = batches(folder, crop=crop, jitter=True)
    assert len(plain) == 4
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    expected = [plain[position] for position in range(9)]
    assert torch.equal(before, torch.random.get_rng_state())
    for workers in (1, 3):
        other = batches(folder, crop=crop, jitter=True, workers=workers)
        for position in (*range(9), 5, 6, 2):  # in order, and as after a resume
            images, labels = other[position]
            assert torch.equal(images, expected[position].images)
            assert torch.equal(labels, expected[position].labels)
        other.close()
    assert torch.equal(before, torch.random.get_rng_state())
    # All images are seen once an epoch, in another order and by another crop in the next.
    for epoch in (expected[:4], expected[4:8]):
        assert sorted(torch.cat([batch.labels for batch in epoch]).tolist()) == [0] * 8 + [1] * 8
    assert not torch.equal(expected[0].images, expected[4].images)


def test_crops_are_those_of_their_names(tmp_path: Path) -> None:
    ramp = torch.arange(32, dtype=torch.uint8)
    pixels = torch.stack([ramp[:, None].expand(32, 32), ramp[None].expand(32, 32), torch.full((32, 32), 200)], dim=2)
    for part in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            Image.fromarray(pixels.to(torch.uint8).numpy()).save(tmp_path / part / name / "0.png")
    train = ImageFolders(tmp_path).train
    padded = FolderBatches(train, 2, 0, CPU, Reading(32, "padded"))
    resized = FolderBatches(train, 2, 0, CPU, Reading(32, "resized"))
    black, flips, ratios = set[int](), set[bool](), set[float]()
    for position in range(40):
        for image in padded[position].images:
            inside = image[2] == 200
            rows, columns = inside.any(dim=1), inside.any(dim=0)
            black.add(32 - int(rows.sum()))
            kept = image[1, rows][0, columns].long()
            flips.add(bool(kept[0] > kept[-1]))
            assert int(kept.diff().abs().max()) == 1  # shifted, and not resized
        for image in resized[position].images:
            assert int((image[2] == 200).sum()) == 32 * 32
            spans = [float(values.max()) - float(values.min()) + 1 for values in image[:2]]
            ratios.add(spans[0] * spans[1] / 32**2)
    assert black == {0, 1, 2, 3, 4}  # padded by an eighth
    assert flips == {True, False}
    assert 0.05 < min(ratios) < 0.3 < 0.8 < max(ratios) <= 1


SEARCH = RunConfig(
    space="darts", method="random_search", epochs=1, train_epochs=0, batch_size=8, channels=2, cells=2, device="cpu",
    settings={"candidate_epochs": 1},
)  # fmt: skip
VALUES = {"epochs": 2, "batch_size": 4, "channels": 2, "cells": 2, "auxiliary": 0.0, "image_size": 32}


@pytest.fixture(scope="module")
def searched(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("searched") / "run"
    run_search(replace(SEARCH, data=f"imagefolder:{folder},size=16"), run)
    return run


@pytest.fixture
def no_child_left() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 20
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not multiprocessing.active_children()


@pytest.mark.usefixtures("no_child_left")
def test_a_search_and_a_training_at_another_size_resume_with_other_workers(searched: Path, folder: Path) -> None:
    chosen = protocol("darts-imagenet", VALUES)
    whole = run_training(searched, protocol=chosen, workers=2)
    assert whole["computation"]["workers"] == 2
    assert whole["data"] == f"imagefolder:{folder},size=16"
    weights = load_model(searched / "model.pt").state_dict()

    def stop(event: Event) -> None:
        if event.kind == "step" and event.epoch == 1 and event.step == 2:
            raise Interrupted("enough")

    with pytest.raises(Interrupted):
        run_training(searched, protocol=chosen, workers=1, observers=[stop])
    again = run_training(searched, protocol=chosen, resume=True)
    assert again["history"][-1]["train_loss"] == whole["history"][-1]["train_loss"]
    for name, value in load_model(searched / "model.pt").state_dict().items():
        assert torch.equal(value, weights[name]), name
    evaluated = run_evaluation(searched, device="cpu")
    assert evaluated["test_accuracy"] == whole["test_accuracy"]
    assert sorted(evaluated["classes"]) == ["cat", "dog"]


def test_what_was_found_elsewhere_is_transferred(folder: Path, tmp_path: Path) -> None:
    run_search(replace(SEARCH, data="fake:1x8x8"), tmp_path / "run")
    record = run_training(
        tmp_path / "run",
        protocol=protocol("darts-imagenet", VALUES | {"valid_share": 0.25}),
        data=f"imagefolder:{folder}",
    )
    assert record["weights"] == "best"
    assert record["history"][0]["valid_accuracy"] in {0, 0.25, 0.5, 0.75, 1}  # of two images of each class
    assert load_model(tmp_path / "run" / "model.pt")(torch.rand(2, 3, 32, 32)).shape == (2, 2)


@pytest.mark.usefixtures("no_child_left")
def test_a_worker_that_dies_is_an_error_that_says_what_to_do(searched: Path) -> None:
    def kill(event: Event) -> None:
        if event.kind == "step":
            for child in multiprocessing.active_children():
                assert child.pid is not None
                os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(
        LoaderError, match=r"a worker that decodes images died .*--resume and fewer --workers, or --workers 0"
    ):
        run_training(
            searched, protocol=protocol("darts-imagenet", VALUES | {"epochs": 40}), workers=1, observers=[kill]
        )


@pytest.mark.usefixtures("no_child_left")
def test_a_worker_that_hangs_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    write(tmp_path)
    part = ImageFolders(tmp_path).train
    os.mkfifo(tmp_path / "pipe.png")  # whoever opens it waits for somebody to write
    hanging = FolderBatches(part.take(torch.arange(4)), 4, 0, CPU, Reading(8, workers=1, timeout=0.5))
    hanging.part.paths = (*hanging.part.paths[:3], str(tmp_path / "pipe.png"))
    with pytest.raises(LoaderError, match=r"no batch came from the 1 workers in 0\.5 seconds: .*--loader-timeout"):
        hanging[0]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named(tmp_path: Path, workers: int) -> None:
    write(tmp_path)
    broken = tmp_path / "train" / "cat" / "0.png"
    for content in (b"", b"no image", broken.read_bytes()[:200]):
        broken.write_bytes(content)
        whole = FolderBatches(ImageFolders(tmp_path).train, 16, 0, CPU, Reading(16, workers=workers))
        with pytest.raises(DataError, match=r"train/cat/0\.png cannot be read as an image .*remove or replace it"):
            whole[0]
        whole.close()
    with pytest.raises(DataError, match=r"0\.png cannot be read as an image"):
        load_data(f"imagefolder:{tmp_path}")


def test_a_class_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    for number in range(5):
        Image.new("RGB", (8, 8)).save(tmp_path / "cat" / f"{number}.png")
    with pytest.raises(DataError, match="has the class 'cat' alone; a training needs two"):
        ImageFolders(tmp_path)


def test_every_layout_of_an_image_folder_trains(tmp_path: Path) -> None:
    for number in range(10):
        for name in ("cat", "dog"):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{number}.png")
    found = ImageFolders(tmp_path)
    assert found.train.labels.bincount().tolist() == [8, 8]
    assert found.test.labels.bincount().tolist() == [2, 2]


def test_settings_that_do_not_fit_are_refused(searched: Path) -> None:
    changes: list[dict[str, Any]] = [{"crop": "wide"}, {"workers": -1}, {"timeout": 0.0}, {"size": 4}]
    for change in changes:
        with pytest.raises(ConfigError, match="expected"):
            Reading(**{"size": 16} | change)
    with pytest.raises(ConfigError, match="2 workers, and imagefolder:.* is whole in memory in this training"):
        run_training(searched, epochs=1, workers=2)
    with pytest.raises(ConfigError, match="loader_timeout is 0; expected a positive number of seconds"):
        run_training(searched, epochs=1, loader_timeout=0)
