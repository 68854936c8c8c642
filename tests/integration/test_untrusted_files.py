"""What is read from disk runs no code, whatever stands there: thousands of damaged files, and pickles that try."""

import bz2
import io
import itertools
import json
import pickle
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch

from nas_augment import AugmentError, Policy, PolicyError, preset
from nas_augment.fixed import Crop, Cutout, Flip
from nas_augment.stages import Step, SubPolicies, SubPolicy, UniformOperations
from nas_search import CheckpointError, ConfigError, DataError, RunFolderError, SearchError, SearchResult, methods
from nas_search import catalog as search_catalog
from nas_search.checkpoint import load_checkpoint
from nas_search.config import RunConfig
from nas_search.data_sources import fake, load_data
from nas_search.model_file import load_model
from nas_search.pretraining import AutoencoderSettings, load_autoencoder, obtain_autoencoder
from nas_search.reports.html import write_report
from nas_search.run_folder import RunFolder, Store
from nas_search.runs import run_search, run_training
from nas_search.state import SearchState
from nas_spaces import ArchitectureError, SearchSpace, SpacesError, TableError, catalog, load_table, nas_bench_201
from nas_spaces.latency import LatencyTable

OURS = (SearchError, SpacesError, AugmentError)
CONFIG = RunConfig(method="dha", data="fake:1x8x8", epochs=2, train_epochs=1, channels=4, device="cpu")
AUTOENCODER = AutoencoderSettings(hidden=4, epochs=1, samples=64)
FAST, SLOW = 30, 1000
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
    """

    file: str
    load: Callable[[Path], object]
    errors: type[Exception] | tuple[type[Exception], ...]


def resume(folder: Path) -> object:
    """As a search does that goes on from ``last.pt``."""
    path = folder / "checkpoints" / "last.pt"
    fingerprint = torch.load(folder / "fingerprint.pt", weights_only=True)
    load_checkpoint(path, fingerprint)
    state = SearchState(
        nas_bench_201(), fake("1x8x8", count=32), methods.dha(), epochs=2, batch_size=16, seed=0,
        device=torch.device("cpu"), channels=4, cells=1,
    )  # fmt: skip
    return Store(path, fingerprint).restore(state)


def configured(folder: Path) -> object:
    config = RunConfig.from_toml(folder / "config.toml").resolved()
    return search_catalog.method(config.method, config.settings)


@cache
def every_space() -> tuple[SearchSpace, ...]:
    return tuple(catalog.space(name) for name in catalog.names())


def genotype(folder: Path) -> object:
    """Every space reads the text; the tuple of what each made of it."""
    text = (folder / "genotype.txt").read_bytes().decode(errors="replace")
    found = []
    for space in every_space():
        try:
            architecture = space.parse(text)
        except ArchitectureError:
            continue
        assert space.parse(str(architecture)) == architecture
        found.append(architecture)
    return found


def policy(folder: Path) -> object:
    read = Policy.from_json((folder / "policy.json").read_bytes().decode(errors="replace"))
    assert Policy.from_json(read.to_json()) == read
    return read


FORMATS = {
    "checkpoint": Format("checkpoints/last.pt", resume, CheckpointError),
    "model": Format("model.pt", lambda folder: load_model(folder / "model.pt"), RunFolderError),
    "result": Format("result.json", lambda folder: SearchResult.load(folder), RunFolderError),
    "events": Format("events.jsonl", lambda folder: SearchResult.load(folder), RunFolderError),
    "report": Format("result.json", lambda folder: write_report([folder], folder / "page.html"), RunFolderError),
    "training": Format("train.json", lambda folder: write_report([folder], folder / "page.html"), RunFolderError),
    "config": Format("config.toml", configured, ConfigError),
    "policy": Format("policy.json", policy, PolicyError),
    "npz table": Format("table.npz", lambda folder: load_table(folder / "table.npz"), TableError),
    "csv table": Format("table.csv", lambda folder: load_table(folder / "table.csv"), TableError),
    "latency table": Format("latency.json", lambda folder: LatencyTable.load(folder / "latency.json"), TableError),
    "npz data": Format("data.npz", lambda folder: load_data(f"npz:{folder / 'data.npz'}"), DataError),
    "text data": Format("text/train.txt", lambda folder: load_data(f"wikitext:{folder / 'text'}"), DataError),
    "autoencoder": Format(
        "autoencoder.pt", lambda folder: load_autoencoder(folder / "autoencoder.pt", nas_bench_201(), AUTOENCODER), CheckpointError
    ),
    "genotype": Format("genotype.txt", genotype, ArchitectureError),
    "examples": Format("checkpoints/examples.npz", lambda folder: write_report([folder], folder / "page.html"), RunFolderError),
    "cifar-10 batch": Format("cifar/data_batch_1", lambda folder: load_data(f"cifar10:{folder / 'cifar'}"), DataError),
    "cifar-10 names": Format("cifar/batches.meta", lambda folder: load_data(f"cifar10:{folder / 'cifar'}"), DataError),
    "cifar-10 binary": Format("binary/data_batch_1.bin", lambda folder: load_data(f"cifar10:{folder / 'binary'}"), DataError),
}  # fmt: skip

READ_OR_LEFT_OUT = ("genotype", "cifar-10 binary")
"""Where no error is due: a list that is empty where every space refuses the text, and bytes that are all pixels."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with one valid file of every format."""
    folder = tmp_path_factory.mktemp("files") / "run"
    run_search(CONFIG, folder)
    run_training(folder, epochs=1)
    torch.save(
        torch.load(folder / "checkpoints" / "last.pt", weights_only=True)["fingerprint"], folder / "fingerprint.pt"
    )
    space = nas_bench_201()
    generator = torch.Generator().manual_seed(0)
    texts = sorted({str(space.sample(generator)) for _ in range(20)})
    values = np.linspace(0, 100, len(texts))
    np.savez(folder / "table.npz", arch=np.array(texts), cifar10_test_200=values)
    rows = [f"{text},{value}" for text, value in zip(texts, values, strict=True)]
    (folder / "table.csv").write_text("\n".join(["arch,cifar10_test_200", *rows]))
    LatencyTable({f"nor_conv_3x3 {n}x8x8 {n}x8x8": 1e-3 for n in (4, 8)}).save(folder / "latency.json")
    images, labels = np.zeros((8, 4, 4, 1), np.uint8), np.arange(8) % 2
    np.savez(folder / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    (folder / "text").mkdir()
    for part in ("train", "valid", "test"):
        (folder / "text" / f"{part}.txt").write_text("the cat sat on the mat\n" * 20)
    operations = preset("fast_aa")
    entries = (SubPolicy((Step("Invert", 0.5), Step("Rotate", 0.2, 3))), SubPolicy((Step("Rotate", 1.0, None),), 2.0))
    stages = (Crop(2), Flip(), Cutout(4), SubPolicies(operations, entries), UniformOperations(operations))
    (folder / "policy.json").write_text(Policy(stages).to_json())
    obtain_autoencoder(space, AUTOENCODER, folder / "autoencoder.pt")
    write_cifar(folder)
    (folder / "genotype.txt").write_text(str(catalog.space("darts").sample(generator)))
    return folder


def write_cifar(folder: Path) -> None:
    """CIFAR-10 with two images a batch, as pickles and as binary files."""
    names = [f"class {number}" for number in range(10)]
    pixels, labels = np.arange(2 * 3072, dtype=np.int64).reshape(2, 3072).astype(np.uint8), [3, 7]
    for place in ("cifar", "binary"):
        (folder / place).mkdir()
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        content = {"data": pixels, "labels": labels, "batch_label": name, "filenames": ["a.png", "b.png"]}
        (folder / "cifar" / name).write_bytes(pickle.dumps(content, 2))
        records = np.concatenate([np.array(labels, np.uint8)[:, None], pixels], axis=1)
        records.tofile(folder / "binary" / f"{name}.bin")
    (folder / "cifar" / "batches.meta").write_bytes(pickle.dumps({"label_names": names}, 2))
    (folder / "binary" / "batches.meta.txt").write_text("".join(f"{name.replace(' ', '_')}\n" for name in names))


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
    def stop(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"not done after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def read(form: Format, folder: Path, case: str) -> bool:
    """Whether the file is read; refused with an error of the right class, it is not."""
    try:
        with no_hang():
            form.load(folder)
    except form.errors:
        return False
    except Exception as error:
        raise AssertionError(f"{type(error).__name__} of {case}") from error
    return True


def fuzz(name: str, folder: Path, count: int) -> int:
    """Damage the file `count` times; how many of them were refused."""
    form = FORMATS[name]
    path = folder / form.file
    whole = path.read_bytes()
    refused = 0
    try:
        assert read(form, folder, "the whole file")
        others = itertools.chain(damaged(whole, count, name), list(rewritten(path, count // 3, name)))
        for index, content in enumerate(others):
            path.write_bytes(content)
            refused += not read(form, folder, f"{name}, file {index}: {content[:300]!r}")
    finally:
        path.write_bytes(whole)
    return refused


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_read_or_refused(name: str, folder: Path) -> None:
    refused = fuzz(name, folder, FAST)
    assert refused > 0 or name in READ_OR_LEFT_OUT


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_a_thousand_damaged_files_are_read_or_refused(name: str, folder: Path) -> None:
    assert fuzz(name, folder, SLOW) > 0 or name in READ_OR_LEFT_OUT


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.sentinel,))


def pickles(path: Path, trap: Trap) -> Iterator[bytes]:
    """The file as what runs code where a reader trusts it: pickles in all the ways that libraries write them."""
    for protocol in (0, 2, 4):
        yield pickle.dumps(trap, protocol)
        yield bz2.compress(pickle.dumps({"meta_archs": [trap], "arch2infos": {0: trap}}, protocol))
    for zipped in (True, False):
        buffer = io.BytesIO()
        whole = torch.load(path, weights_only=True) if path.suffix == ".pt" else {}
        torch.save({**whole, "fingerprint": trap, "build": trap, "weights": trap, "state": trap}, buffer,
                   _use_new_zipfile_serialization=zipped)  # fmt: skip
        yield buffer.getvalue()
    buffer = io.BytesIO()
    names = ("arch", "cifar10_test_200", "x_train", "y_train", "x_test", "y_test")
    np.savez(buffer, **{name: np.array([trap, trap], dtype=object) for name in names})  # type: ignore[arg-type]
    yield buffer.getvalue()
    buffer = io.BytesIO()
    np.save(buffer, np.array([trap], dtype=object))
    yield buffer.getvalue()


@pytest.mark.parametrize("name", FORMATS)
def test_a_pickle_in_the_place_of_a_file_is_refused_and_not_executed(name: str, folder: Path, tmp_path: Path) -> None:
    form, trap = FORMATS[name], Trap(tmp_path / "ran")
    path = folder / form.file
    whole = path.read_bytes()
    try:
        for content in list(pickles(path, trap)):
            path.write_bytes(content)
            read(form, folder, repr(content))
            assert not trap.sentinel.exists()
    finally:
        path.write_bytes(whole)


def test_a_pickle_in_the_place_of_an_official_table_is_refused_and_not_executed(folder: Path, tmp_path: Path) -> None:
    trap = Trap(tmp_path / "ran")
    path = tmp_path / "NATS-tss.pickle.pbz2"
    for content in pickles(folder / "model.pt", trap):
        path.write_bytes(content)
        with pytest.raises(TableError):
            load_table(path)
    assert not trap.sentinel.exists()
    pickle.loads(pickle.dumps(trap))  # the trap is one
    assert trap.sentinel.exists()


def test_a_version_that_is_no_number_and_figures_that_are_none_are_said(folder: Path) -> None:
    path = RunFolder(folder).last
    whole, record = path.read_bytes(), torch.load(path, weights_only=True)
    try:
        torch.save({**record, "version": torch.zeros(2)}, path)
        with pytest.raises(CheckpointError, match=r"is of version tensor\(\[0., 0.\]\); this release reads version 1"):
            load_checkpoint(path, {})
    finally:
        path.write_bytes(whole)
    path = folder / "result.json"
    whole, record = path.read_bytes(), json.loads(path.read_text())
    try:
        path.write_text(json.dumps({**record, "seconds": [1]}))
        with pytest.raises(RunFolderError, match="a value is not of the type .*; it was changed or damaged"):
            write_report([folder], folder / "page.html")
        path.write_text("[" * 100_000)
        with pytest.raises(RunFolderError, match="result.json cannot be read"):
            SearchResult.load(folder)
    finally:
        path.write_bytes(whole)


def test_a_batch_file_that_asks_for_more_memory_than_it_has_content_is_refused(tmp_path: Path) -> None:
    """An object of number 2^24 makes Python reserve 256 MiB; that of a damaged number ended the process."""
    write_cifar(tmp_path)
    path = tmp_path / "cifar" / "data_batch_1"
    path.write_bytes(b"\x80\x02}r" + (2**24).to_bytes(4, "little") + b".")
    with pytest.raises(DataError, match="has an object of number 16777216, and 9 bytes"):
        load_data(f"cifar10:{tmp_path / 'cifar'}")
