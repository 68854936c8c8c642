"""Image files in a folder a class: decoded once, kept as pixels of one size in a file, and mapped into memory from there."""

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from nas_augment import Policy
from nas_augment.fixed import Crop, Flip
from nas_search.data import Examples, ImageData
from nas_search.decoding import Failed, Workers, decoded
from nas_search.errors import ConfigError, DataError, did_you_mean
from nas_search.image_listing import Listing
from nas_spaces.countdown import Countdown

__all__ = ["ImageFolder", "cache_folder", "image_folder", "open_image", "split_options"]

_LOOKED_AT = 64
_LARGEST = 224
_BATCH = 32

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageFolder:
    """How the files of a folder become images.

    Args:
        size: side of the square images; 0 for the shorter side of most of the files, at most 224.
        channels: 1 for grey, 3 for colour, into which all files are converted; 0 for 1 if the files are grey, else 3.
        workers: processes that decode; -1 for as many as there are processors, at most 4, and none for few files.
        timeout: seconds after which a process that decodes is taken for stuck.

    Raises:
        ConfigError: a value out of its range.
    """

    size: int = 0
    channels: int = 0
    workers: int = -1
    timeout: int = 120

    def __post_init__(self) -> None:
        for name, wrong, expected in (
            ("size", self.size < 0, "a number of pixels"),
            ("channels", self.channels not in (0, 1, 3), "1 or 3"),
            ("workers", self.workers < -1, "0 or more processes"),
            ("timeout", self.timeout < 1, "1 second or more"),
        ):
            if wrong:
                raise ConfigError(f"{name} of an image folder is {getattr(self, name)}; expected {expected}.")

    @staticmethod
    def parse(text: str) -> tuple[Path, "ImageFolder"]:
        """Read ``DIR,size=64,workers=2``; other commas belong to the path.

        Raises:
            ConfigError: an option that is unknown or no whole number.

        Example:
            >>> ImageFolder.parse("photos,size=64")[1].size
            64
        """
        known = [item.name for item in fields(ImageFolder)]
        path, given = split_options(text)
        options = {}
        for option in given:
            name, _, value = option.partition("=")
            if name not in known or not value.removeprefix("-").isdecimal():
                near = "" if name in known else f" Of {name!r}, {did_you_mean(name, known)}"
                raise ConfigError(
                    f"option {option!r} of imagefolder:{text}; expected one of {', '.join(known)} with a whole number, such as "
                    f"size=64.{near}"
                )
            options[name] = int(value)
        return Path(path), ImageFolder(**options)


def split_options(text: str) -> tuple[str, list[str]]:
    """The path, and the options behind it, each with a comma before it and an equals sign.

    Example:
        >>> split_options("a,b/photos,size=64,workers=2")
        ('a,b/photos', ['size=64', 'workers=2'])
    """
    path, *options = text.split(",")
    while options and not all("=" in option for option in options):
        path += "," + options.pop(0)
    return path, options


def image_folder(path: str | Path, options: ImageFolder = ImageFolder()) -> ImageData:
    """Read ``DIR/train/CLASS/*`` and ``DIR/test/CLASS/*``, or ``DIR/CLASS/*``, of which a fixed stratified fifth is the test part.

    A part ``val`` or ``valid`` is the test part where there is no ``test``, as in ImageNet, and validates the search where there
    is one. Files lie anywhere below the folder of their class; those that are no JPEG, PNG, BMP, GIF, PPM, TIFF or WebP by their
    names are left out. Every image is turned as its camera says, scaled until its shorter side has `size` pixels, and
    cropped to the middle square. Augmentation by default: a crop padded by an eighth of the side, and a flip.

    The pixels are kept in the user's cache folder, ``3 size^2`` bytes an image, and decoded again only when a file changes its
    name, size or time. They are read from there as they are needed; but a search copies its two parts of the train
    images into memory.

    Args:
        path: the folder.
        options: see `ImageFolder`.

    Raises:
        DataError: the folder is not of this form, or a file cannot be decoded, or there is no room for the pixels.
        LoaderError: a process that decodes died, or gives no sign of life.
    """
    root = Path(path)
    files = Listing.of(root)
    size, channels = _form(files.paths, options)
    names = [str(each.relative_to(root).as_posix()) for each in files.paths]
    times = [each.stat() for each in files.paths]
    shape = (len(names), channels, size, size)
    told = [(name, stat.st_size, label) for name, stat, label in zip(names, times, files.labels, strict=True)]
    digest = hashlib.sha256(repr((shape, told)).encode()).hexdigest()[:16]
    key = hashlib.sha256(repr((digest, str(root.resolve()), [s.st_mtime_ns for s in times])).encode()).hexdigest()[:16]
    pixels = _mapped(cache_folder() / f"{root.resolve().name}-{size}-{key}.pixels", files.paths, shape, options)
    labels = torch.tensor(files.labels)
    parts, start = [], 0
    for count in files.counts:
        parts.append(Examples(pixels[start : start + count], labels[start : start + count]))
        start += count
    policy = Policy((Crop(max(1, size // 8)), Flip()))
    valid = parts[2] if len(parts) > 2 else None
    return ImageData(root.resolve().name, parts[0], parts[1], policy, files.classes, valid, digest)


def cache_folder() -> Path:
    """Where decoded images are kept: ``nas-search/images`` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "nas-search" / "images"


def _form(paths: Sequence[Path], options: ImageFolder) -> tuple[int, int]:
    """Side and channels; what is not given is that of some of the files, evenly spaced among all."""
    size, channels = options.size, options.channels
    if size and channels:
        return size, channels
    sides, colours = [], set()
    for path in paths[:: max(1, len(paths) // _LOOKED_AT)]:
        try:
            with Image.open(path) as image:
                sides.append(min(image.size))
                colours.add(image.mode)
        except Exception as error:
            raise _unreadable(path, error) from error
    middle = sorted(sides)[len(sides) // 2]
    return size or min(middle, _LARGEST), channels or (1 if colours <= {"1", "L"} else 3)


def _mapped(file: Path, paths: Sequence[Path], shape: tuple[int, ...], options: ImageFolder) -> Tensor:
    """The pixels from the file, which is made if it is not there: whole, by one process, whatever happens to it."""
    each = int(np.prod(shape[1:]))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            if not file.exists():
                _write(file, paths, shape, options)
        if file.stat().st_size != each * len(paths):
            raise DataError(
                f"{file} is damaged: it has {file.stat().st_size:,} bytes, expected {each * len(paths):,}; delete it."
            )
        # Copy on write: what the pixels' tensor is asked to change never reaches the file.
        return torch.from_numpy(np.memmap(file, np.uint8, mode="c", shape=shape))
    except OSError as error:
        raise DataError(
            f"the decoded images cannot be kept in {file.parent} ({error.strerror or error}); free space, give a smaller size, or "
            "set XDG_CACHE_HOME to another folder."
        ) from error


def _write(file: Path, paths: Sequence[Path], shape: tuple[int, ...], options: ImageFolder) -> None:
    """Decode what a process before has not; images are appended in their order, so the file's size says how many there are."""
    each = int(np.prod(shape[1:]))
    partial = file.with_suffix(".partial")
    with partial.open("ab") as out:
        done = out.tell() // each
        out.truncate(done * each)
        needed, free = (len(paths) - done) * each, shutil.disk_usage(file.parent).free
        if needed > free:
            raise DataError(
                f"{len(paths):,} images of {shape[2]} x {shape[2]} pixels take {needed / 1e9:.1f} GB, and {file.parent} has "
                f"{free / 1e9:.1f} GB free; free space, give a smaller size, or set XDG_CACHE_HOME to another folder."
            )
        tell = Countdown(_log, f"decoding {len(paths):,} images, once, into {file.parent}", len(paths), begun=done)
        for images in _batches(paths[done:], shape, options):
            out.write(images.numpy().tobytes())
            done += len(images)
            tell(done)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(file)


def _batches(paths: Sequence[Path], shape: tuple[int, ...], options: ImageFolder) -> Iterator[Tensor]:
    count = options.workers
    if count < 0:
        count = 0 if len(paths) < 8 * _BATCH else min(4, os.cpu_count() or 1)
    kept = "What is decoded is kept: try again, with"
    workers = Workers(
        count,
        options.timeout,
        if_stuck=f"{kept} a longer ,timeout=SECONDS behind the folder, or with ,workers=0, which decodes without them.",
        if_dead=f"{kept} ,workers=1 behind the folder, or with ,workers=0, which decodes without them.",
    )
    keys = [chunk.tolist() for chunk in torch.arange(len(paths)).split(_BATCH)]
    for batch in decoded(_Files(paths, shape[1], shape[2], strict=options.channels == 0), keys, workers):
        yield batch.images


class _Files(Dataset[Any]):
    """Decoded images; the labels are known elsewhere."""

    def __init__(self, paths: Sequence[Path], channels: int, size: int, strict: bool) -> None:
        self.paths, self.channels, self.size, self.strict = paths, channels, size, strict

    def __getitem__(self, index: int) -> tuple[Tensor, int] | Failed:
        try:
            return torch.from_numpy(_decode(self.paths[index], self.channels, self.size, self.strict)), 0
        except DataError as error:
            return Failed(str(error))


def _decode(path: Path, channels: int, size: int, strict: bool) -> np.ndarray[Any, np.dtype[np.uint8]]:
    image = open_image(path, channels, strict)
    scale = size / min(image.size)
    width, height = max(size, round(image.width * scale)), max(size, round(image.height * scale))
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), dtype=np.uint8)
    return np.array(pixels.reshape(size, size, channels).transpose(2, 0, 1))


def open_image(path: Path, channels: int = 3, strict: bool = False) -> Image.Image:
    """An image, decoded, turned as its camera says, in colour or grey.

    Args:
        path: of the file.
        channels: 3 or 1.
        strict: whether an image in colour is refused where one channel is asked for.

    Raises:
        DataError: the file is damaged, or has more than 8 bits a channel.
    """
    try:
        with Image.open(path) as file:
            if file.mode[0] in "IF":
                raise DataError(f"{path} has pixels of the type {file.mode}; expected 8 bits a channel: convert it.")
            if strict and channels == 1 and file.mode not in ("1", "L", "LA"):
                raise DataError(
                    f"{path} is in colour ({file.mode}), and the files that were looked at are grey; say which by ,channels=3 or "
                    ",channels=1 behind the folder."
                )
            return ImageOps.exif_transpose(file).convert("L" if channels == 1 else "RGB")
    except DataError:
        raise
    except Exception as error:
        # Pillow lets through what its readers raise: OSError, ValueError, SyntaxError, struct.error and others.
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read as an image ({str(error)[:150] or type(error).__name__}); remove or replace it."
    )
