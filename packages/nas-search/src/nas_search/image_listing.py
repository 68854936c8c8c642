"""Which image files lie in a folder a class, of which class and of which part each is."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from nas_search.errors import DataError
from nas_search.streams import split_indices

__all__ = ["Listing"]

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
_TEST_SHARE = 0.2
_PARTS = ("train", "test", "val", "valid")
_LIKE_PARTS = (*_PARTS, "training", "testing", "validation")
_EXPECTED = "FOLDER/train/CLASS/*.jpg and FOLDER/test/CLASS/*.jpg, or FOLDER/CLASS/*.jpg"


@dataclass(frozen=True)
class Listing:
    """Files with the numbers of their classes; first those that train, then the test part, then what validates, if any.

    Args:
        classes: names, in alphabetical order.
        paths: of all files.
        labels: of all files.
        counts: files of each part.
    """

    classes: tuple[str, ...]
    paths: list[Path]
    labels: list[int]
    counts: list[int]

    @staticmethod
    def of(root: Path) -> "Listing":
        """What is in a folder.

        Raises:
            DataError: it is not laid out as `nas_search.image_folder.image_folder` says.
        """
        if not root.is_dir():
            raise DataError(f"no folder {root}; expected {_EXPECTED}.")
        _check_parts(root)
        train = root / "train"
        others = [root / name for name in ("test", "val", "valid") if (root / name).is_dir()]
        if train.is_dir() and others:
            test, *rest = others
            classes = _classes(train)
            parts = [_files(folder, classes) for folder in (train, test, *rest[:1])]
            return Listing(
                classes,
                [path for paths, _ in parts for path in paths],
                [label for _, labels in parts for label in labels],
                [len(paths) for paths, _ in parts],
            )
        home = train if train.is_dir() else root
        classes = _classes(home)
        paths, labels = _files(home, classes)
        testing, training = split_indices(torch.tensor(labels), _TEST_SHARE, seed=0)
        if not len(testing):
            raise DataError(
                f"{home} has {len(paths)} images, too few to keep some for the test; give more, or {root}/test."
            )
        order = [*training.tolist(), *testing.tolist()]
        return Listing(classes, [paths[i] for i in order], [labels[i] for i in order], [len(training), len(testing)])


def _check_parts(root: Path) -> None:
    """Refuse folders of classes that are called like a part and would be taken for a class, or passed over."""
    found = [name for name in _folders(root) if name.lower() in _LIKE_PARTS and _folders(root / name)]
    other = [name for name in found if name not in _PARTS]
    if other or (found and "train" not in found):
        raise DataError(
            f"{root} has the folder {(other or found)[0]!r} with folders in it, which looks like a part of the data; the parts are "
            "called train and test, and val or valid for what validates: rename it, or move its classes."
        )


def _folders(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))


def _classes(folder: Path) -> tuple[str, ...]:
    classes = tuple(_folders(folder))
    if not classes:
        raise DataError(f"{folder} has no folders of classes; expected {_EXPECTED}.")
    return classes


def _files(folder: Path, classes: Sequence[str]) -> tuple[list[Path], list[int]]:
    unknown = sorted(set(_classes(folder)) - set(classes))
    if unknown:
        raise DataError(
            f"{folder} has the class {unknown[0]!r}, which no train image has; there are {', '.join(classes)}."
        )
    paths: list[Path] = []
    labels: list[int] = []
    home = Path(os.path.realpath(folder))
    places = {os.path.realpath(folder / name) for name in classes}
    for label, name in enumerate(classes):
        elsewhere = {*map(str, (home, *home.parents)), *places} - {os.path.realpath(folder / name)}
        found = sorted(_images(folder / name, elsewhere))
        if not found:
            raise DataError(
                f"{folder / name} holds no images ({', '.join(_SUFFIXES)}); remove the class, or add images of it."
            )
        paths += found
        labels += [label] * len(found)
    return paths, labels


def _images(folder: Path, elsewhere: set[str]) -> Iterator[Path]:
    """The files in a folder, each once; no link is followed to where it came from or to another class."""
    seen = set(elsewhere)
    for here, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (
            Path(here) / name for name in names if name.lower().endswith(_SUFFIXES) and not name.startswith(".")
        )
