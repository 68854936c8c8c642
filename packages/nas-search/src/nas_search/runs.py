"""The runs of the command line, as library calls: search, then train what was found, and report both."""

import inspect
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, fields, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from nas_augment import Policy
from nas_augment.fixed import Crop, Cutout, Flip
from nas_search import catalog, distributed
from nas_search.averaging import Averaging, ExponentialAverage, NonMonotoneAverage
from nas_search.computation import Computation, deterministic
from nas_search.config import RunConfig
from nas_search.data import Data, Examples, ImageData, stream_seed
from nas_search.data_sources import image_folders, load_data
from nas_search.describe import describe
from nas_search.diagnostics import CellDepth, HessianSpectrum, OperationWeights
from nas_search.errors import CheckpointError, ConfigError, RunFolderError
from nas_search.evaluation import perplexity, top1
from nas_search.files import write_atomically
from nas_search.hyperparameters import with_learned
from nas_search.lazy_images import ImageFolders, Reading, explained_workers
from nas_search.loop import complete, drive, isolated_random_state
from nas_search.measure import choose_device
from nas_search.method import Method
from nas_search.mixed_space import MixedSpace, named
from nas_search.model_file import read_model, save_model
from nas_search.optimizers import SGD
from nas_search.protocols import TrainingProtocol
from nas_search.reports.html import write_report
from nas_search.result import SearchResult
from nas_search.roles import Event, Observer
from nas_search.run_folder import RunFolder, Store
from nas_search.schedules import Constant
from nas_search.state import SearchState
from nas_search.training import Judge, TrainState
from nas_search.training_data import TrainingData, from_folders, in_memory
from nas_spaces import Architecture, SearchSpace, Table, TableError, load_table, space_of_table

__all__ = ["Weights", "free_folder", "run_evaluation", "run_search", "run_training"]

Weights = Literal["best", "last"]
"""Of the epoch that validated best, or of the last one."""


@dataclass(frozen=True)
class _Parts:
    """What the names of a configuration stand for."""

    config: RunConfig
    searched: SearchSpace
    source: Data | ImageFolders
    device: torch.device
    method: Method
    reading: Reading | None = None

    @property
    def data(self) -> Data:
        """What is whole in memory."""
        assert not isinstance(self.source, ImageFolders)
        return self.source

    @staticmethod
    def of(config: RunConfig, reading: Reading | None = None) -> "_Parts":
        """With a `reading`, images in folders are left there."""
        method = catalog.method(config.method, config.settings)
        if reading is not None:
            folders = image_folders(config.data)
            return _Parts(config, named(config.space), folders, choose_device(config.device), method, reading)
        data = load_data(config.data)
        if config.policy != "default":
            policy = catalog.policy(config.policy)
            if not isinstance(data, ImageData):
                raise ConfigError(
                    f"policy {config.policy!r} is for images; {data.name} is made of tokens: leave it out."
                )
            data = replace(data, policy=policy)
        return _Parts(config, named(config.space), data, choose_device(config.device), method)

    @property
    def space(self) -> SearchSpace:
        """Whose networks are trained: what was found has settings of the training apart from its architecture."""
        return self.searched.base if isinstance(self.searched, MixedSpace) else self.searched

    @property
    def sizes(self) -> dict[str, int]:
        return {
            "classes": self.source.classes,
            "channels": self.config.channels,
            "cells": self.config.cells,
            "in_channels": self.source.in_channels,
        }


def free_folder(config: RunConfig, parent: str | Path = "runs") -> Path:
    """A folder that does not exist yet, named after the method, the data and the seed."""
    data = config.data.partition(":")[0]
    stem = Path(parent) / f"{config.method}-{data}-seed{config.seed}"
    return next(path for number in range(1, 10**6) if not (path := stem.with_name(f"{stem.name}-{number}")).exists())


def run_search(
    config: RunConfig, out: str | Path, *, resume: bool = False, observers: Sequence[Observer] = ()
) -> dict[str, Any]:
    """Search, look the result up, train it and a random architecture alike, and write the report.

    Everything that can be wrong about the configuration is found before anything is written.

    Args:
        config: what to do.
        out: the run folder.
        resume: continue the run in `out`.
        observers: told of every step and epoch of the search and of the trainings.

    Returns:
        The content of ``result.json``.

    Raises:
        SearchError, SpacesError: see `nas_search.search`, `load_data` and `load_table`.
    """
    with deterministic(config.deterministic):
        return _run_search(config.resolved(), out, resume, observers)


def _run_search(config: RunConfig, out: str | Path, resume: bool, observers: Sequence[Observer]) -> dict[str, Any]:
    parts = _Parts.of(config)
    folder = RunFolder(out)
    folder.check(resume=resume)
    parts.method.prepare(parts.searched, observers)
    state = SearchState(
        parts.searched,
        parts.data,
        parts.method,
        epochs=config.epochs,
        batch_size=config.batch_size,
        seed=config.seed,
        device=parts.device,
        channels=config.channels,
        cells=config.cells,
    )
    watchers: list[Observer] = [CellDepth(), OperationWeights()]
    if config.spectrum:
        spectrum = HessianSpectrum()
        spectrum.check(state)
        watchers.append(spectrum)
    table = _covering_table(config.table, parts.space) if config.table else None
    if table is not None:
        watchers.append(TableValue(table, parts.space))
    folder.claim(resume=resume)
    if folder.config.exists():
        _require_same(RunConfig.from_toml(folder.config), config, folder)
    else:
        write_atomically(folder.config, config.to_toml())
    _keep_examples(parts.data, folder)
    result = complete(state, folder, observers=[*watchers, *observers])
    metrics: dict[str, Any] = {**result.metrics, **_counts(parts, result.architecture)}
    metrics["computation"] = Computation("float32", deterministic=config.deterministic).record(parts.device)
    if result.network is not None and "test_accuracy" not in metrics:
        metrics["test_accuracy"] = top1(result.network, parts.data.test, parts.device)
        metrics.update(train_epochs=config.epochs, trained_in_search=True)
    if table is not None:
        metrics.update(_table_metrics(table, result.architecture))
    result = replace(result, metrics=metrics)
    result.save(out)
    if config.training_epochs:
        result = _train_both(parts, result, folder, observers)
    write_report([folder.root], folder.report)
    return {**result.to_dict(), "run": str(folder.root), "report": str(folder.report)}


def run_training(
    run: str | Path,
    *,
    epochs: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    protocol: TrainingProtocol | None = None,
    ema: float | None = None,
    valid_share: float | None = None,
    asgd: int | None = None,
    weights: Weights | None = None,
    test_every: int = 0,
    computation: Computation = Computation(),
    data: str | None = None,
    workers: int = 0,
    loader_timeout: float = 120.0,
    device: str | None = None,
    resume: bool = False,
    observers: Sequence[Observer] = (),
) -> dict[str, Any]:
    """Train the network that a run found from scratch, and write ``model.pt`` and ``train.json``.

    It is trained with the augmentation that was found, and with the learning rate, weight decay and momentum over the run
    that were, if any were learned; on all train images, unless some are kept to validate.

    Where there is a validation part, ``model-last.pt`` has the weights of the last epoch and ``model-best.pt`` those of the
    epoch that validated best, the first of equals: by accuracy for images, by loss for text; ``model.pt`` is one of the two.
    Elsewhere it has those of the last epoch. The test part chooses nothing.

    Args:
        run: the run folder.
        epochs: of the training; those of the configuration when left out.
        learning_rate: at the beginning, annealed as the method does, in place of a learned one or the configuration's.
        weight_decay: in place of a learned one or the default.
        protocol: sizes, optimiser and regularisation in place of those of the run and of what was learned; the three
            arguments before it and the two after it are fields of it.
        ema: decay of an exponential average of the weights, which is validated, tested and saved in their place; 0 for none.
        valid_share: part of the train images that is not trained on and validates after every epoch; 0 for none. It is taken
            of every class alike, and is the same for equal seeds of the run. Text has a validation part already.
        asgd: interval of `nas_search.averaging.NonMonotoneAverage`, with a learning rate that is constant; for text.
        weights: which become ``model.pt``, and are tested: ``best``, which is the default where something validates, or
            ``last``.
        test_every: test after every so many epochs as well, for the history alone; else only at the end.
        computation: number format, compiled or not, deterministic or not; deterministic also if the run's configuration says so.
        data: source of other data than the run's, to which the architecture is transferred.
        workers: processes that decode images of folders, where the protocol has an ``image_size``.
        loader_timeout: seconds after which a batch that they do not bring is an error.
        device: where to compute; that of the configuration when left out.
        resume: continue a training that was interrupted.
        observers: told of every step and epoch.

    Returns:
        The content of ``train.json``.

    Raises:
        RunFolderError: there is no finished search in the folder.
        CheckpointError: the training to resume was configured otherwise.
        LoaderError: a worker died, or brought no batch in time.
    """
    folder = RunFolder(run)
    result = SearchResult.load(run)
    config = RunConfig.from_toml(folder.config)
    if protocol is not None:
        given = {"epochs": epochs, "learning_rate": learning_rate, "weight_decay": weight_decay}
        given |= {"ema": ema, "valid_share": valid_share}
        protocol = protocol.changed({name: value for name, value in given.items() if value is not None})
        epochs, learning_rate = protocol.epochs, protocol.learning_rate
        ema, valid_share = protocol.ema, protocol.valid_share
        config = replace(
            config,
            batch_size=protocol.batch_size,
            channels=protocol.channels or config.channels,
            cells=protocol.cells or config.cells,
        )
    epochs = config.training_epochs if epochs is None else epochs
    if epochs < 1:
        raise ConfigError(f"epochs of the training is {epochs}; expected 1 or more.")
    rate = config.train_learning_rate if learning_rate is None else learning_rate
    config = replace(config, train_epochs=epochs, train_learning_rate=rate, device=device or config.device)
    config = config if data is None else replace(config, data=data, policy="default").resolved()
    reading = _reading(config, protocol, workers, loader_timeout)
    parts = _Parts.of(config, reading)
    if protocol is not None:
        _check_protocol(parts, protocol)
    keeping = _Keeping(True, _averaging(ema or 0.0, asgd), valid_share or 0.0, weights, test_every)
    keeping.check()
    with explained_workers(reading):
        material = _training_data(parts, keeping)
    keeping.chosen(material)
    checkpoint = folder.checkpoints / "retrain.pt"  # apart from that of the search's own training
    if resume and not checkpoint.exists():
        raise RunFolderError(f"{folder.root} has no training to resume; leave out --resume to start one.")
    distributed.wait_for_all()  # all ranks have read the folder before the first one changes it
    if distributed.is_first():
        if not resume:
            checkpoint.unlink(missing_ok=True)
        folder.remove_leftovers()
    distributed.wait_for_all()
    optimizer = _optimizer(parts, result.hyperparameters, weight_decay) if protocol is None else protocol.optimizer()
    if asgd is not None:
        optimizer = replace(optimizer, learning_rate=Constant(optimizer.learning_rate(0.0)))
    computation = replace(computation, deterministic=computation.deterministic or config.deterministic)
    with deterministic(computation.deterministic), explained_workers(reading):
        record = _train_found(
            parts, material, result, folder, checkpoint, observers, optimizer, protocol, keeping, computation
        )
    kept = {name: value for name, value in result.metrics.items() if name != "trained_in_search"}
    replace(result, metrics={**kept, **_trained(record)}).save(run)
    write_report([folder.root], folder.report)
    return record


def _reading(config: RunConfig, protocol: TrainingProtocol | None, workers: int, timeout: float) -> Reading | None:
    """How images of folders are read while the training goes on; None where all of the data is in memory.

    Raises:
        ConfigError: workers, and nothing for them to read.
    """
    if config.data.partition(":")[0] == "imagefolder" and protocol is not None and protocol.image_size:
        return Reading(protocol.image_size, protocol.crop, protocol.jitter, workers, timeout)
    if workers:
        raise ConfigError(
            f"{workers} workers, and {config.data} is whole in memory in this training; leave out --workers, or train images of "
            f"folders (--data imagefolder:DIR) at a size of their own (--preset darts-imagenet, or --set image_size=224)."
        )
    return None


def _averaging(ema: float, asgd: int | None) -> Averaging | None:
    if ema and asgd is not None:
        raise ConfigError(f"ema is {ema} and asgd {asgd}: two averages of the same weights; leave one out.")
    if asgd is not None:
        return NonMonotoneAverage(asgd)
    return ExponentialAverage(ema) if ema else None


@dataclass(frozen=True)
class _Keeping:
    """Which weights of a training are kept, and how they are judged on the way; the trainings of a search are not."""

    validating: bool = False
    averaging: Averaging | None = None
    valid_share: float = 0.0
    weights: Weights | None = None
    test_every: int = 0

    def check(self) -> None:
        if not 0 <= self.valid_share < 1:
            raise ConfigError(f"valid_share is {self.valid_share}; expected 0 or more, below 1.")
        if self.test_every < 0:
            raise ConfigError(f"test_every is {self.test_every}; expected a number of epochs, or 0 for the end alone.")
        if self.weights not in (None, "best", "last"):
            raise ConfigError(f"weights is {self.weights!r}; expected best or last.")

    def chosen(self, data: TrainingData) -> Weights:
        """The weights that become ``model.pt``.

        Raises:
            ConfigError: the best ones, and nothing validates.
        """
        if self.weights == "best" and data.valid is None:
            raise ConfigError(
                "nothing validates, so that no weights are the best; keep a part of the train images for it with "
                "--valid-share 0.1, or take --weights last."
            )
        return self.weights or ("last" if data.valid is None else "best")


def run_evaluation(
    run: str | Path, *, data: str | None = None, device: str = "auto", weights: Weights | None = None
) -> dict[str, Any]:
    """Classify the test part of a data set with the trained network of a run.

    Args:
        run: the run folder, with a ``model.pt``.
        data: source of the data; that which the network was trained on when left out.
        device: where to compute.
        weights: ``best`` or ``last`` in place of those that became ``model.pt``.

    Returns:
        ``test_accuracy``, ``examples``, ``data``; for images the share of each class in ``classes``, for text ``test_perplexity``.

    Raises:
        RunFolderError: there is no trained network.
        ConfigError: the data have other channels or classes than the network.
    """
    folder = RunFolder(run)
    network, build = read_model(folder.model_of(weights))
    place = choose_device(device)
    source = data or _trained_on(folder)
    shape = build.get("shape", ())
    found: Data | ImageFolders
    if build.get("lazy") and source.partition(":")[0] == "imagefolder" and len(shape) == 3 and type(shape[-1]) is int:
        folders = image_folders(source)
        found, size = folders, Reading(shape[-1])

        def part(index: Tensor) -> Examples | Iterable[Examples]:
            return folders.test.take(index).in_order(size)

    else:
        whole = load_data(source)
        found, part = whole, whole.test.take
    labels = found.test.labels
    for name, own, theirs in (
        ("classes", build["classes"], found.classes),
        ("channels", build["in_channels"], found.in_channels),
    ):
        if own != theirs:
            raise ConfigError(
                f"{found.name} has {theirs} {name}, the network of {folder.root} {own}; choose other --data."
            )
    network = network.to(place)
    record: dict[str, Any] = {
        "test_accuracy": top1(network, part(torch.arange(len(labels))), place),
        "examples": int(labels.numel()),
        "data": found.name,
    }
    if found.kind == "tokens" and not isinstance(found, ImageFolders):
        return {**record, "test_perplexity": perplexity(network, found.test, place)}
    names = getattr(found, "class_names", ()) or tuple(map(str, range(found.classes)))
    shares = {}
    for label, name in enumerate(names):
        index = (labels == label).nonzero()[:, 0]
        if len(index):
            shares[str(name)] = top1(network, part(index), place)
    return {**record, "classes": shares}


def _trained_on(folder: RunFolder) -> str:
    """The source of the data that the network of a run was trained on: the run's, unless a training says otherwise."""
    found = (
        folder.read_json(folder.training, "training has not finished").get("data") if folder.training.exists() else None
    )
    return found if isinstance(found, str) else RunConfig.from_toml(folder.config).data


def _keep_examples(data: Data, folder: RunFolder) -> None:
    """A few train images, so that a report can show what the policy does where the data is not at hand."""
    if data.kind != "images" or data.in_channels not in (1, 3):
        return
    images = data.train.images[:4]
    pixels = images if images.dtype == torch.uint8 else (images * 255).round().to(torch.uint8)
    buffer = BytesIO()
    np.savez_compressed(buffer, images=pixels.cpu().numpy())
    write_atomically(folder.examples, buffer.getvalue())


def _require_same(before: RunConfig, now: RunConfig, folder: RunFolder) -> None:
    """Refuse to continue with other settings; where it runs may change."""
    changed = [
        f"{item.name} was {getattr(before, item.name)!r}, is {getattr(now, item.name)!r}"
        for item in fields(RunConfig)
        if item.name != "device" and getattr(before, item.name) != getattr(now, item.name)
    ]
    if changed:
        raise CheckpointError(
            f"{folder.root} is a run of another configuration: {'; '.join(changed)}. Resume with the old settings, or "
            f"choose another folder with --out."
        )


class TableValue:
    """An observer that adds to the history what a table says of the architecture derived after each epoch.

    Args:
        table: the tabular benchmark.
        space: the space that is searched.
    """

    def __init__(self, table: Table, space: SearchSpace) -> None:
        self.table, self.space = table, space

    def __call__(self, event: Event) -> None:
        """See `Observer`."""
        if event.kind == "epoch" and "architecture" in event.record:
            event.record["table_test"] = self.table.query(self.space.parse(event.record["architecture"]))


def _counts(parts: _Parts, architecture: Architecture) -> dict[str, int]:
    sizes = {key: value for key, value in parts.sizes.items() if key != "in_channels"}
    shape = tuple(parts.data.train.images.shape[1:])
    counts = parts.space.count(architecture, image=shape, **sizes)
    return {"parameters": counts.parameters, "multiply_adds": counts.multiply_adds}


def _table_metrics(table: Table, architecture: Architecture) -> dict[str, Any]:
    return {
        "table_dataset": table.dataset,
        "table_test": table.query(architecture),
        "table_rank": table.rank(architecture),
        "table_size": len(table),
        "table_regret": table.regret(architecture),
        "table_best": table.best(),
        "table_random": table.mean(),
    }


def _covering_table(path: str, space: SearchSpace) -> Table:
    """A table that has what the search may find.

    Raises:
        TableError: it cannot be read, or lacks architectures of the space.
    """
    own = space_of_table(path)
    if own not in (None, space.name):
        raise TableError(
            f"table {path!r} is of space {own}, and {space.name} is searched; leave the space out, or give --space {own}."
        )
    table = load_table(path)
    generator = torch.Generator().manual_seed(0)
    for architecture in {space.sample(generator) for _ in range(100)}:
        try:
            table.query(architecture)
        except TableError as error:
            raise TableError(f"{path} is not a table of the whole space {space.name}: {error}") from error
    return table


def _train_both(parts: _Parts, result: SearchResult, folder: RunFolder, observers: Sequence[Observer]) -> SearchResult:
    """Train what was found, and beside it a random architecture in the same way; what is done already is not repeated."""
    optimizer, data = _optimizer(parts, result.hyperparameters), _training_data(parts, _Keeping())
    distributed.wait_for_all()  # what the first rank writes before a training is there, or is not, for all
    if "test_accuracy" not in result.metrics or not folder.model.exists():
        record = _train_found(parts, data, result, folder, folder.checkpoints / "train.pt", observers, optimizer)
        result = replace(result, metrics={**result.metrics, **_trained(record)})
        result.save(folder.root)
    if "random_test_accuracy" not in result.metrics:
        generator = torch.Generator().manual_seed(stream_seed(parts.config.seed, "random architecture"))
        other = parts.space.sample(generator)
        record, _ = _train(parts, data, other, result.policy, folder.checkpoints / "random.pt", observers, optimizer)
        beside = {f"random_{name}": value for name, value in _trained(record).items()}
        result = replace(result, metrics={**result.metrics, **beside, "random_architecture": str(other)})
        result.save(folder.root)
    return result


def _trained(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the metrics of a result say of a training."""
    figures = {name: record[name] for name in ("test_accuracy", "test_perplexity") if name in record}
    kept = {f"train_{name}": record[name] for name in ("epochs", "weights", "computation")}
    return {**figures, **kept}


def _train_found(
    parts: _Parts,
    data: TrainingData,
    result: SearchResult,
    folder: RunFolder,
    checkpoint: Path,
    observers: Sequence[Observer],
    optimizer: SGD,
    protocol: TrainingProtocol | None = None,
    keeping: _Keeping = _Keeping(),
    computation: Computation | None = None,
) -> dict[str, Any]:
    record, state = _train(
        parts,
        data,
        result.architecture,
        result.policy,
        checkpoint,
        observers,
        optimizer,
        protocol,
        keeping,
        computation,
    )
    build = {
        "space": parts.space.name,
        "architecture": str(result.architecture),
        **parts.sizes,
        "shape": list(data.train.images.shape[1:]),
        "class_names": list(getattr(parts.source, "class_names", ())),
    }
    if protocol is not None and protocol.stem != "cifar":
        build["stem"] = protocol.stem
    if parts.reading is not None:
        build["lazy"] = True  # an evaluation reads images in the same way
    if data.valid is None:
        folder.remove(folder.best_model, folder.last_model)  # of a training before; model.pt has the last weights
    else:
        save_model(folder.best_model, _alone(state.trained("best")), build)
        save_model(folder.last_model, _alone(state.trained("last")), build)
    save_model(folder.model, _alone(state.trained(keeping.chosen(data))), build)
    write_atomically(folder.training, json.dumps(record, indent=2, allow_nan=False) + "\n")
    return record


def _optimizer(parts: _Parts, hyperparameters: Mapping[str, Any], weight_decay: float | None = None) -> SGD:
    """Of the training from scratch, with what was learned and not given.

    For recurrent cells it is that of DARTS' evaluation, but for its averaging of the weights.
    """
    schedule = parts.method.annealing(parts.config.training_learning_rate)
    settings = SGD(schedule)
    if parts.source.kind == "tokens":
        settings = SGD(schedule, momentum=0.0, weight_decay=8e-7, nesterov=False, clip=0.25)
    if hyperparameters:
        given = {"learning_rate": parts.config.train_learning_rate != -1, "weight_decay": weight_decay is not None}
        learned = ("learning_rate", "weight_decay", "momentum")
        settings = with_learned(settings, hyperparameters, only=[name for name in learned if not given.get(name)])
    return settings if weight_decay is None else replace(settings, weight_decay=weight_decay)


def _training_data(parts: _Parts, keeping: _Keeping) -> TrainingData:
    """What is trained on, and what validates.

    Raises:
        ConfigError, DataError: as `in_memory`.
    """
    seed = parts.config.seed
    if isinstance(parts.source, ImageFolders) and parts.reading is not None:
        data = from_folders(parts.source, parts.reading, keeping.valid_share, seed)
    else:
        data = in_memory(parts.data, keeping.valid_share, seed)
    return data if keeping.validating else replace(data, valid=None)


def _train(
    parts: _Parts,
    data: TrainingData,
    architecture: Architecture,
    policy: Policy,
    checkpoint: Path,
    observers: Sequence[Observer],
    optimizer: SGD,
    protocol: TrainingProtocol | None = None,
    keeping: _Keeping = _Keeping(),
    computation: Computation | None = None,
) -> tuple[dict[str, Any], TrainState]:
    config, device = parts.config, parts.device
    computation = computation or Computation("float32", deterministic=config.deterministic)
    chosen = keeping.chosen(data)
    extras: dict[str, float] = {}
    options: dict[str, Any] = {}
    if protocol is not None:
        extras = {name: getattr(protocol, name) for name in ("label_smoothing", "auxiliary", "drop_path")}
        if protocol.auxiliary:
            options["auxiliary"] = True
        if protocol.stem != "cifar":
            options["stem"] = protocol.stem
        if data.batches is not None:  # which are cropped and flipped where they are read
            policy = Policy(tuple(stage for stage in policy.stages if not isinstance(stage, Crop | Flip)))
        policy = _covered(policy, data, protocol.cutout)
    values = {
        "architecture": str(architecture),
        "policy": policy,
        "optimizer": optimizer,
        "data": data.fingerprint,
        "epochs": config.training_epochs,
        "batch_size": config.batch_size,
        "seed": config.seed,
        **parts.sizes,
    }
    values |= {} if protocol is None else {"protocol": protocol}
    # The trainings of a search have none of these, and their checkpoints no entries for them.
    values |= {} if keeping == _Keeping() else {"averaging": keeping.averaging, "valid_share": keeping.valid_share}
    values |= {} if computation == Computation("float32") else {"computation": computation}
    store = Store(checkpoint, {key: describe(value) for key, value in values.items()})
    seed = stream_seed(config.seed, "train")
    batches = None if data.batches is None else data.batches(config.batch_size, seed, device)
    with isolated_random_state(config.seed, device), nullcontext() if batches is None else closing(batches):
        state = TrainState(
            lambda: parts.space.network(architecture, **parts.sizes, **options),
            data.train,
            policy=policy,
            optimizer=optimizer,
            epochs=config.training_epochs,
            batch_size=config.batch_size,
            seed=config.seed,
            device=device,
            averaging=keeping.averaging,
            validate=None if data.valid is None else _judge("valid", data.valid, parts),
            test=_judge("test", data.test, parts),
            test_every=keeping.test_every,
            computation=computation,
            batches=batches,
            **extras,
        )
        store.restore(state)
        drive(state, observers=observers, store=store)
    figures = _judge("test", data.test, parts)(state.trained(chosen))
    record: dict[str, Any] = {
        "architecture": str(architecture),
        **figures,
        "epochs": config.training_epochs,
        "seed": config.seed,
        "data": config.data,
        "protocol": None if protocol is None else asdict(protocol),
        "weights": chosen,
        "averaging": None if keeping.averaging is None else describe(keeping.averaging),
        "valid_share": keeping.valid_share,
        "computation": computation.record(device) | {"workers": 0 if parts.reading is None else parts.reading.workers},
        "seconds": sum(epoch["seconds"] for epoch in state.history),
        "history": state.history,
    }
    if state.best is not None:
        record["best_epoch"] = state.best["epoch"]
    return record, state


def _judge(part: str, examples: Examples | Iterable[Examples], parts: _Parts) -> Judge:
    """Accuracy on some examples; of text also loss and perplexity."""

    def judge(network: torch.nn.Module) -> dict[str, float]:
        figures = {f"{part}_accuracy": top1(network, examples, parts.device)}
        if isinstance(examples, Examples) and parts.source.kind == "tokens":
            figures[f"{part}_perplexity"] = perplexity(network, examples, parts.device)
            figures[f"{part}_loss"] = math.log(figures[f"{part}_perplexity"])
        return figures

    return judge


def _alone(network: torch.nn.Module) -> torch.nn.Module:
    """A trained network without the second classifier, which is of use while training alone."""
    if getattr(network[1], "auxiliary", None) is not None:  # type: ignore[index]
        network[1].auxiliary = None  # type: ignore[index]
    return network


def _covered(policy: Policy, data: TrainingData, length: int) -> Policy:
    """The policy and then cutout, which covers with the mean of the data: after normalisation that is the papers' 0."""
    if not length:
        return policy
    images = data.train.images[:: max(1, len(data.train.images) // 10_000)]
    mean = float(images.float().mean()) / (255 if images.dtype == torch.uint8 else 1)
    return Policy((*policy.stages, Cutout(length, mean)))


def _check_protocol(parts: _Parts, protocol: TrainingProtocol) -> None:
    """Refuse what the space or the data cannot do, rather than leave it out.

    Raises:
        ConfigError: naming it, and what to set.
    """
    known = inspect.signature(parts.space.network).parameters
    for name, used in (("auxiliary", protocol.auxiliary > 0), ("stem", protocol.stem != "cifar")):
        if used and name not in known:
            plain = "0" if name == "auxiliary" else "cifar"
            raise ConfigError(
                f"{name} is {getattr(protocol, name)}, which networks of {parts.space.name} do not have; leave it off with "
                f"--set {name}={plain}."
            )
    if parts.source.kind == "tokens":
        raise ConfigError(
            f"presets are for images, and {parts.source.name} is made of tokens; train it without --preset."
        )
