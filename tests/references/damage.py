"""Valid files, damaged at random: what a broken disk, a cut connection or somebody with an editor makes of them."""

import io
import json
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

SECONDS = 20
"""More than any file of these sizes may take; a hang is an error."""

# Where a format has values, they are what a damaged file has in place of others.
WORDS = (
    b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b"-Infinity", b"99999999999999999999999", b'""', b"[]", b"{}", b"[[[]]]",
    b'"\\ud800"', b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n", b'"', b"'", b"[" * 3000, b"(" * 300, b"=", b"#", b"~0|",
    b"1_0", b"\\d",
)  # fmt: skip


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Args:
        file: its name in the folder.
        load: what reads it, of the folder.
        errors: what that may raise.
        unpack: what stands in the file behind a checksum or a compression, which hides most damage; it is damaged there too.
        pack: the file around it.
    """

    file: str
    load: Callable[[Path], object]
    errors: type[Exception] | tuple[type[Exception], ...]
    unpack: Callable[[bytes], bytes] | None = None
    pack: Callable[[bytes], bytes] | None = None


def damaged(content: bytes, count: int, seed: str) -> Iterator[bytes]:
    """The content, changed in one to three places: bits flipped, parts cut out, repeated or put in, the end missing."""
    generator = random.Random(seed)
    for _ in range(count):
        data = bytearray(content)
        for _ in range(generator.randint(1, 3)):
            start = generator.randrange(len(data) + 1)
            end = min(len(data), start + generator.choice((1, 2, 4, 16, 64)))
            match generator.randrange(6):
                case 0:
                    for index in range(start, end):
                        data[index] ^= 1 << generator.randrange(8)
                case 1:
                    del data[start:]
                case 2:
                    del data[start:end]
                case 3:
                    data[start:start] = data[end : end + generator.randrange(1, 64)]
                case 4:
                    data[start:start] = generator.randbytes(generator.randint(1, 16))
                case _:
                    data[start : generator.choice((start, end))] = generator.choice(WORDS)
        yield bytes(data)


def changed(value: Any, generator: random.Random) -> Any:
    """A nested value with one leaf or branch replaced or taken away: what a whole archive of another content holds."""
    if isinstance(value, dict | list | tuple) and value and generator.random() < 0.85:
        items = dict(value) if isinstance(value, dict) else dict(enumerate(value))
        key = generator.choice(list(items))
        if generator.random() < 0.15:
            del items[key]
        else:
            items[key] = changed(items[key], generator)
        return items if isinstance(value, dict) else type(value)(items.values())
    if isinstance(value, torch.Tensor) and generator.random() < 0.5:
        return generator.choice(
            (value.flatten()[:-1], value.to(torch.complex64), value.to_sparse(), value[None], value.bool())
        )
    return generator.choice(
        (
            None,
            True,
            -1,
            2**70,
            10**7,
            0.5,
            float("nan"),
            "",
            "x",
            b"\xff",
            [],
            [None],
            {},
            {"x": 1},
            (),
            torch.zeros(2),
            torch.zeros(()),
        )
    )


def rewritten(path: Path, count: int, seed: str) -> Iterator[bytes]:
    """The file as whoever writes such files could write it, with other values in it; nothing for files that are text."""
    generator = random.Random(seed)
    content: Any
    for _ in range(count):
        buffer = io.BytesIO()
        if path.suffix == ".pt":
            torch.save(changed(torch.load(path, weights_only=True), generator), buffer)
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                content = changed({name: array.tolist() for name, array in arrays.items()}, generator)
            if not isinstance(content, dict):
                continue
            np.savez(buffer, **{name: plain(value) for name, value in content.items()})
        elif path.suffix == ".json":
            content = changed(json.loads(path.read_text()), generator)
            buffer.write(json.dumps(content, default=str).encode())
        elif path.suffix == ".jsonl":
            content = changed([json.loads(line) for line in path.read_text().splitlines()], generator)
            lines = content if isinstance(content, list) else [content]
            buffer.write(
                "".join(
                    json.dumps(line, default=str) + "\n" for line in (lines if isinstance(lines, list) else [lines])
                ).encode()
            )
        else:
            return
        yield buffer.getvalue()


def plain(value: Any) -> Any:
    """An array of numbers or texts; of anything else the text of it."""
    try:
        array = np.array(json.loads(json.dumps(value, default=str)))
    except ValueError:  # rows of different lengths
        return np.array(str(value))
    return np.array(str(value)) if array.dtype == object else array


@contextmanager
def no_hang() -> Iterator[None]:
    hung = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal hung
        hung = True
        raise AssertionError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        if hung:  # also where the reader took it for an error of the file
            raise AssertionError(f"not done after {SECONDS} s")


@dataclass
class Count:
    """What became of damaged files.

    Attributes:
        files: how many.
        refused: with an error of the right class.
        failures: what else went wrong than that, each in a line.
    """

    files: int = 0
    refused: int = 0
    failures: tuple[str, ...] = ()


def read(form: Format, folder: Path) -> bool:
    """Whether the file is read; refused with an error of the right class, it is not."""
    try:
        with no_hang():
            form.load(folder)
    except form.errors:
        return False
    return True


def cases(form: Format, folder: Path, count: int, seed: str) -> Iterator[bytes]:
    """Damaged files; where something is packed in the file, one in two is whole but for what is in it."""
    path = folder / form.file
    whole = path.read_bytes()
    if form.unpack is None or form.pack is None:
        yield from damaged(whole, count, seed)
    else:
        yield from damaged(whole, count // 2, seed)
        yield from map(form.pack, damaged(form.unpack(whole), count - count // 2, seed))
    yield from list(rewritten(path, count // 3, seed))  # before the file changes


def fuzz(name: str, form: Format, folder: Path, count: int) -> Count:
    """Damage a file `count` times and read each; those that hold other values come in addition."""
    path = folder / form.file
    whole = path.read_bytes()
    found = Count()
    if not read(form, folder):
        raise AssertionError(f"the whole {name} is refused")
    try:
        for content in list(cases(form, folder, count, name)):
            path.write_bytes(content)
            found.files += 1
            try:
                found.refused += not read(form, folder)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
                line = f"{type(error).__name__} ({str(error)[:200]}) of {name}, file {found.files}: {content[:300]!r}"
                found.failures = (*found.failures, line)
    finally:
        path.write_bytes(whole)
    return found
