"""The kinds of files that the toolkit reads, each with what reads it in use, and a valid file of each to damage."""

import bz2
import gzip
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from damage import Format
from nas_bench_101_files import framed, records
from nats_bench_files import content, write
from PIL import Image
from scipy.io import savemat

from nas_augment import Policy, PolicyError, preset
from nas_augment.fixed import Crop, Cutout, Flip
from nas_augment.stages import Step, SubPolicies, SubPolicy, UniformOperations
from nas_search import CheckpointError, ConfigError, DataError, RunFolderError, SearchError, SearchResult, methods
from nas_search import catalog as search_catalog
from nas_search.bundle import load_bundle, write_bundle
from nas_search.checkpoint import load_checkpoint
from nas_search.config import RunConfig
from nas_search.data_sources import fake, load_data
from nas_search.mixed_space import named
from nas_search.model_file import load_model
from nas_search.optimizers import SGD
from nas_search.pretraining import AutoencoderSettings, load_autoencoder, obtain_autoencoder
from nas_search.reports.html import write_report
from nas_search.run_folder import Store
from nas_search.run_parts import RunParts
from nas_search.runs import run_evaluation, run_search, run_training
from nas_search.state import SearchState
from nas_search.sweep.plan import plan
from nas_search.sweep.summary import read_row, summarize, to_csv
from nas_search.train_found import training_optimizer
from nas_search.training import TrainState
from nas_spaces import ArchitectureError, SearchSpace, TableError, catalog, load_table, nas_bench_201
from nas_spaces.latency import LatencyTable

CONFIG = RunConfig(method="dha", data="fake:1x8x8", epochs=2, train_epochs=1, channels=4, device="cpu")
AUTOENCODER = AutoencoderSettings(hidden=4, epochs=1, samples=64)


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


def resume_training(folder: Path) -> object:
    """As a training does that goes on from its checkpoint."""
    space = nas_bench_201()
    state = TrainState(
        lambda: space.network(space.parse(_SKIPS), classes=4, channels=4, cells=1, in_channels=1),
        fake("1x8x8", count=32).train, policy=Policy(), optimizer=SGD(), epochs=1, batch_size=16, seed=0,
        device=torch.device("cpu"),
    )  # fmt: skip
    store = Store(folder / "checkpoints" / "training.pt", {})
    if not store.checkpoint.exists():
        store.save(state)
    return store.restore(state)


_SKIPS = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|"


def trained_again(folder: Path) -> object:
    """What a training takes from the result of a search."""
    result = SearchResult.load(folder)
    return training_optimizer(_parts(), result.hyperparameters)


@cache
def _parts() -> RunParts:
    return RunParts.of(CONFIG.resolved())


@cache
def every_space() -> tuple[SearchSpace, ...]:
    mixed = named("nas_bench_201+learning_rate+weight_decay+augmentation_magnitude")
    return (*(catalog.space(name) for name in catalog.names()), mixed)


def genotype(folder: Path) -> object:
    """Every space reads the text; the list of what each made of it."""
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


def architecture(name: str) -> Format:
    """The text of an architecture of one space, which this space reads."""
    space = next(each for each in every_space() if each.name == name)

    def load(folder: Path) -> object:
        parsed = space.parse((folder / "texts" / f"{name}.txt").read_bytes().decode(errors="replace"))
        assert space.parse(str(parsed)) == parsed
        return parsed

    return Format(f"texts/{name}.txt", load, ArchitectureError)


def policy(folder: Path) -> object:
    read = Policy.from_json((folder / "policy.json").read_bytes().decode(errors="replace"))
    assert Policy.from_json(read.to_json()) == read
    return read


def page(folder: Path) -> object:
    return write_report([folder], folder / "page.html")


def swept(folder: Path) -> object:
    """A sweep that is started again: its plan, and the rows of what is finished."""
    sweep = plan(folder / "sweep", replace(CONFIG, epochs=1), ["dha"], 1)
    with sweep.claimed():
        pass
    rows = [read_row(sweep, trial) for trial in sweep.trials]
    if rows[0].error:
        raise RunFolderError(rows[0].error)
    return to_csv(rows), summarize(rows)


def data(source: str) -> Callable[[Path], object]:
    kind, _, place = source.partition(":")
    return lambda folder: load_data(f"{kind}:{folder / place}")


FORMATS = {
    "checkpoint": Format("checkpoints/last.pt", resume, CheckpointError),
    "checkpoint of a training": Format("checkpoints/training.pt", resume_training, CheckpointError),
    "model": Format("model.pt", lambda folder: load_model(folder / "model.pt"), RunFolderError),
    "model to evaluate": Format("model.pt", lambda folder: run_evaluation(folder, data="fake:1x8x8"), SearchError),
    "result": Format("result.json", lambda folder: SearchResult.load(folder), RunFolderError),
    "result to train": Format("result.json", trained_again, (RunFolderError, ConfigError)),
    "result in a report": Format("result.json", page, RunFolderError),
    "events": Format("events.jsonl", lambda folder: SearchResult.load(folder), RunFolderError),
    "events in a report": Format("events.jsonl", page, RunFolderError),
    "training in a report": Format("train.json", page, RunFolderError),
    "examples in a report": Format("checkpoints/examples.npz", page, RunFolderError),
    "config": Format("config.toml", configured, ConfigError),
    "policy": Format("policy.json", policy, PolicyError),
    "bundle": Format("bundle.zip", lambda folder: load_bundle(folder / "bundle.zip"), RunFolderError),
    "policy of a bundle": Format("bundle/policy.json", lambda folder: load_bundle(folder / "bundle"), RunFolderError),
    "sweep": Format("sweep/sweep.json", swept, RunFolderError),
    "result in a sweep": Format("sweep/dha-seed0/result.json", swept, RunFolderError),
    "npz table": Format("table.npz", lambda folder: load_table(folder / "table.npz"), TableError),
    "csv table": Format("table.csv", lambda folder: load_table(folder / "table.csv"), TableError),
    "latency table": Format("latency.json", lambda folder: LatencyTable.load(folder / "latency.json"), TableError),
    "NATS-Bench": Format(
        "NATS-tss-simple/000001.pickle.pbz2", lambda folder: load_table(folder / "NATS-tss-simple"), TableError,
        bz2.decompress, bz2.compress),
    "NAS-Bench-101": Format(
        "nasbench.tfrecord", lambda folder: load_table(folder / "nasbench.tfrecord"), TableError,
        lambda file: b"\n".join(records()), lambda lines: b"".join(map(framed, lines.split(b"\n")))),
    "npz data": Format("data.npz", data("npz:data.npz"), DataError),
    "WikiText": Format("text/train.txt", data("wikitext:text"), DataError),
    "Penn Treebank": Format("ptb/ptb.train.txt", data("ptb:ptb"), DataError),
    "autoencoder": Format(
        "autoencoder.pt", lambda folder: load_autoencoder(folder / "autoencoder.pt", nas_bench_201(), AUTOENCODER),
        CheckpointError),
    "genotype": Format("genotype.txt", genotype, ArchitectureError),
    "CIFAR-10 batch": Format("cifar/data_batch_1", data("cifar10:cifar"), DataError),
    "CIFAR-10 names": Format("cifar/batches.meta", data("cifar10:cifar"), DataError),
    "CIFAR-10 binary": Format("binary/data_batch_1.bin", data("cifar10:binary"), DataError),
    "CIFAR-100": Format("cifar100/train", data("cifar100:cifar100"), DataError),
    "SVHN": Format("svhn/train_32x32.mat", data("svhn:svhn"), DataError),
    "Fashion-MNIST": Format(
        "fashion/train-images-idx3-ubyte.gz", data("fashion-mnist:fashion"), DataError, gzip.decompress, gzip.compress),
    **{f"{suffix} image": Format(f"{suffix}/b/0.{suffix.lower()}", data(f"imagefolder:{suffix}"), DataError)
       for suffix in ("PNG", "JPEG", "GIF", "WebP", "TIFF", "BMP")},
    **{f"architecture of {space.name}": architecture(space.name) for space in every_space()},
}  # fmt: skip

READ_OR_LEFT_OUT = ("genotype", "CIFAR-10 binary")
"""Where no error is due: a list that is empty where every space refuses the text, and bytes that are all pixels."""


def write_files(folder: Path) -> None:
    """Make a run folder with one valid file of every format; image folders keep their pixels where XDG_CACHE_HOME says."""
    run_search(CONFIG, folder)
    run_training(folder, epochs=1)  # the method trains its network while it searches
    resume_training(folder)
    torch.save(
        torch.load(folder / "checkpoints" / "last.pt", weights_only=True)["fingerprint"], folder / "fingerprint.pt"
    )
    write_bundle(folder, folder / "bundle.zip")
    with zipfile.ZipFile(folder / "bundle.zip") as archive:
        archive.extractall(folder / "bundle")
    generator = torch.Generator().manual_seed(0)
    space = nas_bench_201()
    texts = sorted({str(space.sample(generator)) for _ in range(20)})
    _write_tables(folder, texts)
    operations = preset("fast_aa")
    entries = (SubPolicy((Step("Invert", 0.5), Step("Rotate", 0.2, 3))), SubPolicy((Step("Rotate", 1.0, None),), 2.0))
    stages = (Crop(2), Flip(), Cutout(4), SubPolicies(operations, entries), UniformOperations(operations))
    (folder / "policy.json").write_text(Policy(stages).to_json())
    obtain_autoencoder(space, AUTOENCODER, folder / "autoencoder.pt")
    (folder / "genotype.txt").write_text(str(catalog.space("darts").sample(generator)))
    (folder / "texts").mkdir()
    for each in every_space():
        (folder / "texts" / f"{each.name}.txt").write_text(str(each.sample(generator)))
    for place, pattern in (("text", "{}.txt"), ("ptb", "ptb.{}.txt")):
        (folder / place).mkdir()
        for part in ("train", "valid", "test"):
            (folder / place / pattern.format(part)).write_text("the cat sat on the mat\n" * 20)
    write_images(folder)
    sweep = plan(folder / "sweep", replace(CONFIG, epochs=1), ["dha"], 1)
    with sweep.claimed():
        pass
    for trial in sweep.trials:
        run_search(trial.config, sweep.folder(trial))


def _write_tables(folder: Path, texts: list[str]) -> None:
    values = np.linspace(0, 100, len(texts))
    np.savez(folder / "table.npz", arch=np.array(texts), cifar10_test_200=values)
    rows = [f"{text},{value}" for text, value in zip(texts, values, strict=True)]
    (folder / "table.csv").write_text("\n".join(["arch,cifar10_test_200", *rows]))
    LatencyTable({f"nor_conv_3x3 {n}x8x8 {n}x8x8": 1e-3 for n in (4, 8)}).save(folder / "latency.json")
    everything = content(lengths=(2, 3))
    (folder / "NATS-tss-simple").mkdir()
    write(folder / "NATS-tss-simple" / "meta.pickle.pbz2", {"meta_archs": everything["meta_archs"]})
    for index, info in everything["arch2infos"].items():
        write(folder / "NATS-tss-simple" / f"{index:06d}.pickle.pbz2", info)
    (folder / "nasbench.tfrecord").write_bytes(b"".join(map(framed, records())))


def write_images(folder: Path) -> None:
    """Every source of images, with a few images each."""
    images, labels = np.zeros((8, 4, 4, 1), np.uint8), np.arange(8) % 2
    np.savez(folder / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    write_cifar(folder)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (32, 32, 3, 10), np.uint8)
    (folder / "svhn").mkdir()
    for part in ("train", "test"):
        numbers = np.arange(1, 11, dtype=np.uint8)[:, None]
        savemat(folder / "svhn" / f"{part}_32x32.mat", {"X": pixels, "y": numbers}, do_compression=True)
    (folder / "fashion").mkdir()
    idx = {"images-idx3": pixels[:28, :28, 0].transpose(2, 0, 1), "labels-idx1": np.arange(10, dtype=np.uint8)}
    for part in ("train", "t10k"):
        for name, array in idx.items():
            sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
            raw = bytes((0, 0, 8, array.ndim)) + sizes + array.tobytes()
            (folder / "fashion" / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(raw))
    for suffix in ("PNG", "JPEG", "GIF", "WebP", "TIFF", "BMP"):
        for name in ("a", "b"):
            (folder / suffix / name).mkdir(parents=True)
            for number in range(5):
                image = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
                image.save(folder / suffix / name / f"{number}.{suffix.lower()}")


def write_cifar(folder: Path) -> None:
    """CIFAR-10 with two images a batch, as pickles and as binary files, and CIFAR-100."""
    names = [f"class {number}" for number in range(10)]
    pixels, labels = np.arange(2 * 3072, dtype=np.int64).reshape(2, 3072).astype(np.uint8), [3, 7]
    for place in ("cifar", "binary", "cifar100"):
        (folder / place).mkdir()
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        batch = {"data": pixels, "labels": labels, "batch_label": name, "filenames": ["a.png", "b.png"]}
        (folder / "cifar" / name).write_bytes(pickle.dumps(batch, 2))
        both = np.concatenate([np.array(labels, np.uint8)[:, None], pixels], axis=1)
        both.tofile(folder / "binary" / f"{name}.bin")
    (folder / "cifar" / "batches.meta").write_bytes(pickle.dumps({"label_names": names}, 2))
    (folder / "binary" / "batches.meta.txt").write_text("".join(f"{name.replace(' ', '_')}\n" for name in names))
    for name in ("train", "test"):
        both_labels = {"data": pixels, "fine_labels": [0, 1], "coarse_labels": [0, 1]}
        (folder / "cifar100" / name).write_bytes(pickle.dumps(both_labels, 2))
    fine = {"fine_label_names": [f"class {number}" for number in range(100)]}
    (folder / "cifar100" / "meta").write_bytes(pickle.dumps(fine, 2))
