"""Where data comes from, by the names of the command line: ``digits``, ``npz:FILE``, ``cifar10:FOLDER``, ``wikitext:DIR``, ..."""

import re
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nas_augment import Policy
from nas_augment.fixed import Crop, Flip
from nas_search import catalog, distributed
from nas_search.data import Data, Examples, ImageData
from nas_search.docstrings import summary
from nas_search.errors import ConfigError, DataError, nearest
from nas_search.image_folder import ImageFolder, image_folder
from nas_search.lazy_images import ImageFolders
from nas_search.streams import split_indices
from nas_search.text_sources import fake_text, ptb, wikitext
from nas_search.vision_sources import KINDS, cifar10, cifar100, fashion_mnist, fetch, svhn

__all__ = ["check_source", "digits", "download", "fake", "image_folders", "load_data", "npz", "sources"]


_OURS = {
    "digits": "scikit-learn's 1,797 real 8 x 8 images of handwritten digits; nothing is downloaded",
    "npz:FILE": "a numpy archive with x_train, y_train, x_test, y_test",
    "cifar10:FOLDER": "CIFAR-10: cifar-10-batches-bin or cifar-10-batches-py; --download fetches it",
    "cifar100:FOLDER": "CIFAR-100, fine labels: cifar-100-binary or cifar-100-python; --download fetches it",
    "svhn:FOLDER": "SVHN, cropped digits: train_32x32.mat, test_32x32.mat; --download fetches it",
    "fashion-mnist:FOLDER": "Fashion-MNIST: train-images-idx3-ubyte.gz, ...; --download fetches it",
    "imagefolder:DIR": "your image files: DIR/train/CLASS/* and DIR/test/CLASS/*, or DIR/CLASS/*; DIR,size=64 to choose a size",
    "fake:CxHxW": "random images of ten classes, for trying things out",
    "wikitext:DIR": "WikiText-2 or other text, for darts_rnn: train.txt, valid.txt, test.txt or wiki.train.tokens, ...",
    "ptb:DIR": "Penn Treebank, for darts_rnn: train.txt, valid.txt, test.txt or ptb.train.txt, ...",
    "fake-text:WORDS": "a random chain of words, for trying things out with darts_rnn",
}
"""How each of our sources is written, and what it is."""


def sources() -> dict[str, str]:
    """How a data source is written, and what it is: ours, and those of the entry point ``nas.data``.

    A source of others is a function from the text behind the colon, which may be empty, to a `nas_search.data.Data`; the first
    line of its docstring is what it is.
    """
    told = {}
    for name, place in _others().items():
        try:
            told[f"{name}:..."] = summary(catalog.load(place).__doc__)
        except ConfigError as error:
            told[name] = f"(broken: {error})"
    return told | _OURS


def _others() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group="nas.data")}


def load_data(source: str) -> Data:
    """Read a data set by the name of its source.

    Raises:
        ConfigError: no such source; the message has the nearest one.
        DataError: the source cannot be read, or is not what it should be.
    """
    kind, _, rest = source.partition(":")
    readers: dict[str, Callable[[], Data]] = {
        "digits": lambda: _digits_alone(rest),
        "npz": lambda: npz(_place(kind, rest, "FILE")),
        "imagefolder": lambda: image_folder(*ImageFolder.parse(str(_folder(kind, rest)))),
        "cifar10": lambda: cifar10(_folder(kind, rest)),
        "cifar100": lambda: cifar100(_folder(kind, rest)),
        "svhn": lambda: svhn(_folder(kind, rest)),
        "fashion-mnist": lambda: fashion_mnist(_folder(kind, rest)),
        "fake": lambda: fake(rest or "3x8x8"),
        "wikitext": lambda: wikitext(_folder(kind, rest)),
        "ptb": lambda: ptb(_folder(kind, rest)),
        "fake-text": lambda: fake_text(rest or 20),
    }
    if kind in readers:
        return readers[kind]()
    check_source(source)
    found: Data = catalog.load(_others()[kind])(rest)
    return found


def _digits_alone(rest: str) -> Data:
    if rest:
        raise ConfigError(
            f"data source 'digits:{rest}' has something behind digits, which takes nothing: write digits."
        )
    return digits()


def check_source(source: str) -> None:
    """Refuse what is no data source by its name; nothing is read.

    Raises:
        ConfigError: no such source; the message has the nearest one.
    """
    kind = source.partition(":")[0]
    if kind in {name.partition(":")[0] for name in _OURS} or kind in _others():
        return
    if remedy := _source_of(Path(source)):
        raise ConfigError(f"data source {source!r} says where, and not what the data are; write {remedy}.")
    near = nearest(kind, [name.partition(":")[0] for name in sources()])
    written = next(name for name in sources() if name.partition(":")[0] == near)
    raise ConfigError(f"unknown data source {source!r}; did you mean {written!r}? There are {', '.join(sources())}.")


def _source_of(path: Path) -> str:
    """How a path that is there is given as a source; empty for one that is not."""
    if path.is_dir():
        return f"imagefolder:{path} for image files in a folder a class, or another of {', '.join(KINDS)}, wikitext and ptb"
    return f"npz:{path}" if path.suffix == ".npz" and path.is_file() else ""


def image_folders(source: str) -> ImageFolders:
    """The files of ``imagefolder:DIR``, none of which is read before it is asked for: what a training decodes as it goes on.

    Raises:
        ConfigError: there is no folder in the name, or an option is wrong.
        DataError: there is none on the disk, or it is not made of classes of images.
    """
    kind, _, rest = source.partition(":")
    return ImageFolders(ImageFolder.parse(str(_folder(kind, rest)))[0])


def download(source: str) -> None:
    """Bring the files of a data source into its folder, through torchvision, once for all ranks; nothing where no file is missing.

    Args:
        source: as for `load_data`: ``cifar10``, ``cifar100``, ``svhn`` or ``fashion-mnist`` with a folder, made if need be.

    Raises:
        ConfigError: the source is none of these, or lacks the folder.
        DataError: the files could not be downloaded.
    """
    kind, _, rest = source.partition(":")
    if kind not in KINDS:
        raise ConfigError(
            f"data source {source!r} is not one to download; only {', '.join(KINDS)} are: leave out --download."
        )
    folder = _folder(kind, rest)
    if distributed.is_first():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            fetch(kind, folder)
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"{kind} could not be downloaded into {folder} ({error}); try again, or copy it there."
            ) from error
    distributed.wait_for_all()


def _folder(kind: str, rest: str) -> Path:
    return _place(kind, rest, "FOLDER")


def _place(kind: str, rest: str, what: str) -> Path:
    if not rest:
        raise ConfigError(f"data source {kind!r} lacks its {what.lower()}; write {kind}:{what}.")
    return Path(rest)


def digits() -> ImageData:
    """scikit-learn's digits: 1,797 real images ``(1, 8, 8)`` of ten classes, a fixed stratified fifth of them for the test."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # The grey levels 0 to 16 are spread over the whole range of uint8.
    images = torch.from_numpy(np.rint(bunch.images * (255 / 16)).astype(np.uint8))[:, None]
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    test, train = split_indices(labels, fraction=0.2, seed=0)
    whole = Examples(images, labels)
    # A mirrored digit is another sign, so the images are only shifted.
    return ImageData("digits", whole.take(train), whole.take(test), Policy((Crop(1),)))


def npz(path: str | Path) -> ImageData:
    """Read ``x_train, y_train, x_test, y_test`` from a numpy archive.

    Images are ``(n, height, width)``, ``(n, height, width, channels)`` or ``(n, channels, height, width)`` with 1 or 3
    channels (last, where both could be meant); uint8, or floating point in [0, 1]. Labels are whole numbers from 0,
    ``(n,)`` or ``(n, 1)``. Augmentation by default: a crop padded by an eighth of the width, and a flip.

    Raises:
        DataError: the file is missing, damaged, lacks an array, or holds no labelled images.
    """
    arrays = _read(Path(path))
    parts = []
    for part in ("train", "test"):
        images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
        parts.append(Examples(_images(images, f"x_{part} of {path}"), _labels(labels, f"y_{part} of {path}")))
    width = parts[0].images.shape[-1]
    return ImageData(Path(path).stem, parts[0], parts[1], Policy((Crop(max(1, width // 8)), Flip())))


def _read(path: Path) -> dict[str, NDArray[Any]]:
    names = ("x_train", "y_train", "x_test", "y_test")
    if not path.is_file():
        raise DataError(f"no file {path}; expected a numpy archive with {', '.join(names)}.")
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path} is a single array; expected an archive (numpy.savez) with {', '.join(names)}.")
            missing = [name for name in names if name not in archive.files]
            if missing:
                raise DataError(f"{path} lacks {', '.join(missing)}; it has {', '.join(archive.files) or 'nothing'}.")
            return {name: archive[name] for name in names}
    except DataError:
        raise
    except Exception as error:
        # A damaged archive surfaces as BadZipFile, zlib.error, ValueError, EOFError, OSError and others.
        raise DataError(
            f"{path} cannot be read as a numpy archive ({error}); write it again with numpy.savez."
        ) from error


def _images(array: NDArray[Any], name: str) -> torch.Tensor:
    if array.dtype.kind not in "uif" or (array.dtype.kind in "ui" and array.dtype != np.uint8):
        raise DataError(f"{name} is {array.dtype}; expected uint8, or floating point in [0, 1].")
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or not {array.shape[1], array.shape[3]} & {1, 3}:
        raise DataError(
            f"{name} has shape {array.shape}; expected (n, height, width), (n, height, width, channels) or "
            f"(n, channels, height, width) with 1 or 3 channels."
        )
    if array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    # float32 in the machine's own byte order, whatever the file has
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.uint8 if array.dtype == np.uint8 else np.float32))


def _labels(array: NDArray[Any], name: str) -> torch.Tensor:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(
            f"{name} has shape {array.shape}; expected one label an image, (n,) or (n, 1). Of one-hot labels take argmax(1)."
        )
    whole = array.dtype.kind in "ui" or (array.dtype.kind == "f" and np.isfinite(array).all() and not (array % 1).any())
    if not whole:
        raise DataError(f"{name} is {array.dtype} and not whole numbers; expected labels 0, 1, 2, ...")
    if array.size and float(array.max()) >= 2**31:
        raise DataError(f"{name} has the label {array.max()}; expected labels 0, 1, 2, ...")
    return torch.from_numpy(array.astype(np.int64))


def fake(shape: str = "3x8x8", *, count: int = 256, classes: int = 10, seed: int = 0) -> ImageData:
    """Noise around a random pattern per class: learnable, and made in no time.

    Args:
        shape: ``CxHxW``.
        count: train images; a quarter as many are for the test.
        classes: number of classes.
        seed: of everything.
    """
    match = re.fullmatch(r"(\d+)x(\d+)x(\d+)", shape)
    if match is None or "0" in match.groups():
        raise ConfigError(f"fake data of shape {shape!r}; expected CxHxW such as fake:3x8x8.")
    generator = torch.Generator().manual_seed(seed)
    size = tuple(int(number) for number in match.groups())
    patterns = torch.rand(classes, *size, generator=generator)
    labels = torch.arange(count + count // 4) % classes
    noise = torch.rand(len(labels), *size, generator=generator)
    images = (255 * (0.6 * patterns[labels] + 0.4 * noise)).to(torch.uint8)
    whole = Examples(images, labels)
    index = torch.arange(len(labels))
    return ImageData(f"fake-{shape}", whole.take(index[:count]), whole.take(index[count:]))
