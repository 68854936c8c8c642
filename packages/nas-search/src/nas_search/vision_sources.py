"""Images from the folders of CIFAR-10, CIFAR-100, SVHN and Fashion-MNIST, as their authors or torchvision leave them."""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nas_augment import Policy
from nas_augment.fixed import Crop, Flip
from nas_search.data import Examples, ImageData
from nas_search.errors import DataError
from nas_search.plain_pickle import NotAdmittedError, PlainArray, read_plain_pickle

__all__ = ["KINDS", "cifar10", "cifar100", "fashion_mnist", "fetch", "svhn"]

_Bytes = NDArray[np.uint8]
_PADDING = 4
"""Pixels by which a crop moves: customary for all four."""


@dataclass(frozen=True)
class _Cifar:
    """What differs between the two data sets; `train` and `test` are files, with ``.bin`` added in the binary version."""

    name: str
    python: str
    binary: str
    train: tuple[str, ...]
    test: str
    labels: str
    names: str
    meta: str
    text: str
    label_bytes: int

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, self.test)


_CIFAR10 = _Cifar(
    name="CIFAR-10",
    python="cifar-10-batches-py",
    binary="cifar-10-batches-bin",
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test="test_batch",
    labels="labels",
    names="label_names",
    meta="batches.meta",
    text="batches.meta.txt",
    label_bytes=1,
)
_CIFAR100 = _Cifar(
    name="CIFAR-100",
    python="cifar-100-python",
    binary="cifar-100-binary",
    train=("train",),
    test="test",
    labels="fine_labels",
    names="fine_label_names",
    meta="meta",
    text="fine_label_names.txt",
    label_bytes=2,
)


_IDX = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
_LAYOUTS: dict[str, list[tuple[str, tuple[str, ...]]]] = {
    **{
        source: [
            (kind.binary, (*(f"{file}.bin" for file in kind.files), kind.text)),
            (kind.python, (*kind.files, kind.meta)),
        ]
        for source, kind in (("cifar10", _CIFAR10), ("cifar100", _CIFAR100))
    },
    "svhn": [("", ("train_32x32.mat", "test_32x32.mat"))],
    "fashion-mnist": [("FashionMNIST/raw", tuple(f"{file}.gz" for file in _IDX)), ("FashionMNIST/raw", _IDX)],
}
"""By source: the folder that torchvision or the archive makes, and the files in it; earlier ones are preferred."""
KINDS = tuple(_LAYOUTS)
"""The data sets of this module, by the names of their sources."""


def cifar10(folder: str | Path) -> ImageData:
    """Read CIFAR-10, ``(3, 32, 32)`` uint8 in ten classes, from `folder` or the ``cifar-10-batches-bin`` or ``-py`` in it.

    The binary version is taken where both are there. The Python version is made of pickles, of which nothing is run: see
    `nas_search.plain_pickle`.

    Raises:
        DataError: a file is missing, damaged, of another form, or asks for what such a file does not need.
    """
    return _cifar(_CIFAR10, Path(folder))


def cifar100(folder: str | Path) -> ImageData:
    """Read CIFAR-100 with its hundred fine labels, as `cifar10` does, from ``cifar-100-binary`` or ``cifar-100-python``.

    Raises:
        DataError: as `cifar10`.
    """
    return _cifar(_CIFAR100, Path(folder))


def svhn(folder: str | Path) -> ImageData:
    """Read the cropped digits of SVHN, ``(3, 32, 32)`` uint8, from ``train_32x32.mat`` and ``test_32x32.mat``.

    The label 10, which stands for the digit 0, becomes 0. Mirrored digits are other signs, so images are only shifted.

    Raises:
        DataError: a file is missing, damaged, or holds something else.
    """
    place, files = _find("svhn", Path(folder))
    train, test = (_digits(place / file) for file in files)
    return ImageData("svhn", train, test, Policy((Crop(_PADDING),)))


def fashion_mnist(folder: str | Path) -> ImageData:
    """Read Fashion-MNIST, ``(1, 28, 28)`` uint8 in ten classes, from its four idx files, packed (``.gz``) or not.

    They are looked for in `folder` and in the ``FashionMNIST/raw`` in it.

    Raises:
        DataError: a file is missing, damaged, or holds something else.
    """
    from torchvision.datasets import FashionMNIST

    place, files = _find("fashion-mnist", Path(folder))
    parts = []
    for images, labels in (files[:2], files[2:]):
        pixels = _idx(place / images, 3)
        if pixels.shape[1:] != (28, 28):
            raise DataError(f"{place / images} has images of {pixels.shape[1:]} pixels; expected 28 x 28.")
        parts.append(_examples(place / labels, pixels[:, None], _idx(place / labels, 1), classes=10))
    train, test = parts
    return ImageData("fashion-mnist", train, test, Policy((Crop(_PADDING), Flip())), tuple(FashionMNIST.classes))


def fetch(kind: str, folder: Path) -> None:
    """Download a data set through torchvision, which compares checksums, where `folder` lacks files of it.

    Args:
        kind: one of `KINDS`.
        folder: must exist.

    Raises:
        OSError, RuntimeError: as torchvision, which has the reason.
    """
    from torchvision.datasets import CIFAR10, CIFAR100, SVHN, FashionMNIST
    from torchvision.datasets.utils import download_and_extract_archive

    try:
        _find(kind, folder)
    except DataError:
        if kind == "svhn":
            for split in ("train", "test"):
                SVHN(str(folder), split=split, download=True)
        elif kind == "fashion-mnist":
            FashionMNIST(str(folder), download=True)
        else:
            # What CIFAR10(download=True) does, but for reading the files, which would unpickle them.
            dataset = CIFAR10 if kind == "cifar10" else CIFAR100
            download_and_extract_archive(dataset.url, str(folder), filename=dataset.filename, md5=dataset.tgz_md5)


def _find(kind: str, folder: Path) -> tuple[Path, tuple[str, ...]]:
    """The first place, `folder` or the folder named in it, that has all files of a layout, and these."""
    tried = []
    for inside, files in _LAYOUTS[kind]:
        places = list(dict.fromkeys((folder, folder / inside)))
        tried.append(f"{', '.join(files)} in {' or '.join(map(str, places))}")
        for place in places:
            missing = [file for file in files if not (place / file).is_file()]
            if not missing:
                return place, files
            if len(missing) < len(files):
                tried[-1] += f" (where {', '.join(missing)} is missing)"
    raise DataError(
        f"no {kind} data; looked for {'; or '.join(tried)}. Copy the files there, give another folder "
        f"({kind}:FOLDER), or download them into it: nascli search --data {kind}:{folder} --download."
    )


def _cifar(kind: _Cifar, folder: Path) -> ImageData:
    source = kind.name.replace("-", "").lower()
    place, files = _find(source, folder)
    if kind.text in files:
        names = tuple((place / kind.text).read_text(encoding="utf-8", errors="replace").split())
        if not names:
            raise DataError(f"{place / kind.text} names no class; expected one a line: {_fresh(kind)}")
        batches = [_records(kind, place / file, len(names)) for file in files[:-1]]
    else:
        names = _names(kind, place / kind.meta)
        batches = [_batch(kind, place / file, len(names)) for file in files[:-1]]
    sizes = [len(batch.labels) for batch in batches[:-1]]
    if len(set(sizes)) > 1:
        raise DataError(f"the train batches in {place} have {sizes} images; expected equally many: {_fresh(kind)}")
    train = Examples(*(torch.cat(part) for part in zip(*batches[:-1], strict=True)))
    return ImageData(source, train, batches[-1], Policy((Crop(_PADDING), Flip())), names)


def _fresh(kind: _Cifar) -> str:
    return f"remove it and download it anew, best the binary version ({kind.binary}), which cannot hold code."


def _records(kind: _Cifar, path: Path, classes: int) -> Examples:
    """The binary version: one or two label bytes, the last of which counts, then 3 x 32 x 32 pixels."""
    raw, width = np.fromfile(path, np.uint8), kind.label_bytes + 3072
    if not len(raw) or len(raw) % width:
        raise DataError(f"{path} has {len(raw)} bytes; expected a multiple of {width}: {_fresh(kind)}")
    records = raw.reshape(-1, width)
    pixels = records[:, kind.label_bytes :].reshape(-1, 3, 32, 32)
    return _examples(path, pixels, records[:, kind.label_bytes - 1], classes)


def _batch(kind: _Cifar, path: Path, classes: int) -> Examples:
    content = _unpickled(kind, path)
    data, labels = content.get("data"), content.get(kind.labels)
    if (
        not isinstance(data, PlainArray)
        or not isinstance(labels, list)
        or not all(type(each) is int for each in labels)
    ):
        raise DataError(f"{path} has no array 'data' and list of numbers {kind.labels!r}: {_fresh(kind)}")
    try:
        pixels = data.pixels()
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"the array 'data' of {path} is damaged ({error}): {_fresh(kind)}") from error
    if pixels.ndim != 2 or pixels.shape[1] != 3072:
        raise DataError(f"the array 'data' of {path} has shape {pixels.shape}; expected (n, 3072): {_fresh(kind)}")
    if any(not 0 <= label < classes for label in labels):
        raise DataError(f"{path} has labels from {min(labels)} to {max(labels)}; expected 0 to {classes - 1}.")
    return _examples(path, pixels.reshape(-1, 3, 32, 32), np.array(labels, np.int64), classes)


def _names(kind: _Cifar, path: Path) -> tuple[str, ...]:
    names = _unpickled(kind, path).get(kind.names)
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path} has no list of names {kind.names!r}: {_fresh(kind)}")
    return tuple(names)


def _unpickled(kind: _Cifar, path: Path) -> dict[Any, Any]:
    try:
        content = read_plain_pickle(path.read_bytes())
    except NotAdmittedError as error:
        raise DataError(
            f"{path} asks for {error}, which no file of {kind.name} needs and which may be harmful; nothing was run: {_fresh(kind)}"
        ) from error
    except Exception as error:
        # A damaged pickle surfaces as UnpicklingError, EOFError, ValueError, TypeError, IndexError, KeyError and others.
        raise DataError(f"{path} cannot be read as a pickle ({error}): {_fresh(kind)}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__}; expected a dictionary: {_fresh(kind)}")
    return content


def _digits(path: Path) -> Examples:
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=["X", "y"])
    except Exception as error:
        # A damaged file surfaces as MatReadError, ValueError, TypeError, OSError, zlib.error and others.
        raise DataError(f"{path} cannot be read as a MATLAB file ({error}); remove it and download it anew.") from error
    images, labels = content.get("X"), content.get("y")
    if images is None or labels is None:
        raise DataError(f"{path} lacks X or y; expected the cropped digits of SVHN.")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise DataError(f"X of {path} is {images.dtype} of shape {images.shape}; expected uint8, (32, 32, 3, n).")
    if labels.dtype.kind not in "ui" or labels.size != images.shape[3] or not ((labels >= 1) & (labels <= 10)).all():
        raise DataError(
            f"y of {path} is {labels.dtype} of shape {labels.shape}; expected {images.shape[3]} whole numbers from 1 to 10."
        )
    return _examples(path, images.transpose(3, 2, 0, 1), labels.ravel().astype(np.int64) % 10, classes=10)


def _idx(path: Path, dimensions: int) -> _Bytes:
    """An idx file of bytes: two zeros, the type 8, the number of dimensions, their sizes as big-endian int32, the bytes."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(4 + 4 * dimensions)
            if head[:4] != bytes((0, 0, 8, dimensions)) or len(head) < 4 + 4 * dimensions:
                raise DataError(
                    f"{path} is no idx file of bytes in {dimensions} dimensions; remove it and download it anew."
                )
            shape = tuple(np.frombuffer(head, ">u4", offset=4).tolist())
            raw = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); remove it and download it anew.") from error
    expected = int(np.prod(shape, dtype=object))
    if len(raw) != expected:
        raise DataError(
            f"{path} has {len(raw)} bytes after its head; expected {expected} for {shape}: remove it and download it anew."
        )
    return np.frombuffer(raw, np.uint8).reshape(shape)


def _examples(path: Path, pixels: _Bytes, labels: NDArray[Any], classes: int) -> Examples:
    """Copies, in memory of their own.

    Raises:
        DataError: not one label an image, or a label that names no class.
    """
    if len(pixels) != len(labels):
        raise DataError(f"{path} has {len(labels)} labels for {len(pixels)} images; remove it and download it anew.")
    if len(labels) and int(labels.max()) >= classes:
        raise DataError(
            f"{path} has the label {int(labels.max())}; expected 0 to {classes - 1}: remove it and download it anew."
        )
    return Examples(torch.tensor(pixels), torch.tensor(labels.astype(np.int64)))
