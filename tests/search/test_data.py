from dataclasses import replace

import pytest
import torch

from nas_search import DataError, Examples, ImageData
from nas_search.batches import BatchStream
from nas_search.data import Normalize, preparation
from nas_search.data_sources import fake
from nas_search.streams import split_indices, stream_seed

CPU = torch.device("cpu")


def examples(count: int = 10, classes: int = 2, dtype: torch.dtype = torch.uint8) -> Examples:
    images = torch.arange(count * 12, dtype=torch.float32).reshape(count, 3, 2, 2) / (count * 12)
    images = (255 * images).to(dtype) if dtype == torch.uint8 else images.to(dtype)
    return Examples(images, torch.arange(count) % classes)


def test_a_data_set_knows_its_classes_and_shape() -> None:
    data = ImageData("x", examples(10, 3), examples(4, 2))
    assert (data.classes, data.image_shape) == (3, (3, 2, 2))


def test_the_fingerprint_is_that_of_the_content() -> None:
    data = ImageData("x", examples(), examples(4))
    same = ImageData("y", examples(), examples(4))
    other = ImageData("x", examples(), Examples(examples(4).images.flip(0), examples(4).labels))
    assert data.fingerprint == same.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (Examples(torch.zeros(4, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 0, 1])), "shape"),
        (
            Examples(torch.zeros(0, 3, 2, 2, dtype=torch.uint8), torch.tensor([], dtype=torch.int64)),
            "there are no train images",
        ),
        (Examples(torch.zeros(4, 2, 2, 2), torch.tensor([0, 1, 0, 1])), "have 2 channels; expected 1"),
        (Examples(torch.zeros(4, 3, 2, 2, dtype=torch.int32), torch.tensor([0, 1, 0, 1])), "int32"),
        (Examples(torch.full((4, 3, 2, 2), 3.0), torch.tensor([0, 1, 0, 1])), r"go from 3 to 3; expected \[0, 1\]"),
        (Examples(torch.full((4, 3, 2, 2), torch.nan), torch.tensor([0, 1, 0, 1])), r"expected \[0, 1\]"),
        (Examples(torch.zeros(4, 3, 2, 2), torch.tensor([0, 1, 0])), "4 train images, but labels"),
        (Examples(torch.zeros(4, 3, 2, 2), torch.tensor([0.0, 1, 0, 1])), "float32"),
        (Examples(torch.zeros(4, 3, 2, 2), torch.tensor([0, 1, -1, 1])), "label -1 is out of range"),
        (Examples(torch.zeros(4, 3, 2, 2), torch.tensor([1, 1, 1, 1])), "all train labels are 1"),
        (Examples(torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 0, 1])), "must be of one shape"),
    ],
)
def test_what_is_no_data_set_is_refused(train: Examples, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ImageData("x", train, examples(4))


def test_test_labels_beyond_the_train_classes_are_refused() -> None:
    with pytest.raises(DataError, match="test label 2 is out of range: train labels go from 0 to 1"):
        ImageData("x", examples(10, 2), examples(6, 3))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_normalized_images_have_mean_zero_and_deviation_one(dtype: torch.dtype) -> None:
    images = examples(200, dtype=dtype).images
    normal = Normalize(images)(images)
    torch.testing.assert_close(normal.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-5, rtol=0)
    assert normal.is_contiguous(memory_format=torch.channels_last)


def test_a_constant_channel_is_not_divided_by_zero() -> None:
    images = torch.full((4, 1, 2, 2), 0.5)
    assert torch.equal(Normalize(images)(images), torch.zeros(4, 1, 2, 2))


def test_the_split_is_stratified_complete_and_seeded() -> None:
    labels = torch.tensor([0] * 40 + [1] * 20 + [2] * 10)
    first, second = split_indices(labels, 0.7, seed=1)
    assert torch.equal(torch.cat([first, second]).sort().values, torch.arange(70))
    assert labels[first].bincount().tolist() == [28, 14, 7]
    assert torch.equal(first, split_indices(labels, 0.7, seed=1)[0])
    assert not torch.equal(first, split_indices(labels, 0.7, seed=2)[0])


def test_streams_of_one_seed_differ_from_each_other() -> None:
    assert (
        len({stream_seed(0, "train"), stream_seed(0, "valid"), stream_seed(1, "train"), stream_seed(0, "order", 1)})
        == 4
    )


def test_an_epoch_of_batches_sees_every_image_once_and_epochs_differ() -> None:
    stream = BatchStream(Examples(torch.arange(12).reshape(12, 1, 1, 1).float(), torch.arange(12)), 4, 0, CPU)
    epochs = [
        torch.cat([stream[epoch * len(stream) + step].labels for step in range(len(stream))]) for epoch in range(2)
    ]
    assert all(torch.equal(epoch.sort().values, torch.arange(12)) for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])
    batch = stream[1]
    assert torch.equal(batch.images.flatten().long(), batch.labels)


def test_a_batch_depends_on_its_position_alone() -> None:
    stream, again = (BatchStream(examples(20), 6, 5, CPU) for _ in range(2))
    for position in range(9):
        stream[position]
    assert torch.equal(stream[7].images, again[7].images)
    assert len(stream) == 3


def test_fewer_images_than_a_batch_make_one_batch() -> None:
    stream = BatchStream(examples(5), 64, 0, CPU)
    assert len(stream) == 1
    assert len(stream[3].labels) == 5


def test_images_are_normalized_and_tokens_left_as_they_are() -> None:
    assert isinstance(preparation(examples().images), Normalize)
    tokens = torch.arange(6).reshape(2, 3)
    assert preparation(tokens)(tokens) is tokens


def test_a_split_leaves_two_images_in_each_part() -> None:
    data = ImageData("x", examples(10), examples(4))
    train, valid = data.split(0.4, seed=0)
    assert [len(train.labels), len(valid.labels)] == [4, 6]
    with pytest.raises(DataError, match=r"10 train images cannot be split .* \(0 and 10\)"):
        data.split(0.01, seed=0)
    with pytest.raises(
        DataError, match="the share of the train images that is trained on is 2; expected above 0, up to 1"
    ):
        data.split(2.0, seed=0)


def test_images_that_validate_may_come_from_elsewhere() -> None:
    whole = fake("1x8x8", count=64)
    other = Examples(255 - whole.test.images, whole.test.labels)
    data = replace(whole, valid=other)
    assert data.split(0.5, 0) == (whole.train, other)
    assert data.split(0.1, 3) == (whole.train, other)
    assert data.fingerprint != whole.fingerprint
    with pytest.raises(DataError, match=r"train images are \(1, 8, 8\), valid images \(1, 4, 4\)"):
        replace(whole, valid=Examples(other.images[:, :, :4, :4], other.labels))
    with pytest.raises(DataError, match="valid label 10 is out of range: train labels go from 0 to 9"):
        replace(whole, valid=Examples(other.images, other.labels + 1))
