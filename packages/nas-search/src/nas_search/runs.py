"""The runs of the command line, as library calls: search, then train what was found, and report both."""

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas_augment import Policy
from nas_augment.fixed import Cutout
from nas_search import catalog, distributed
from nas_search.config import RunConfig
from nas_search.data import Data, ImageData, stream_seed
from nas_search.data_sources import load_data
from nas_search.describe import describe
from nas_search.diagnostics import CellDepth, HessianSpectrum, OperationWeights
from nas_search.errors import CheckpointError, ConfigError, RunFolderError
from nas_search.evaluation import perplexity, top1
from nas_search.files import write_atomically
from nas_search.hyperparameters import with_learned
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
from nas_search.state import SearchState
from nas_search.training import TrainState
from nas_spaces import Architecture, SearchSpace, Table, TableError, load_table, space_of_table

__all__ = ["free_folder", "run_evaluation", "run_search", "run_training"]


@dataclass(frozen=True)
class _Parts:
    """What the names of a configuration stand for."""

    config: RunConfig
    searched: SearchSpace
    data: Data
    device: torch.device
    method: Method

    @staticmethod
    def of(config: RunConfig) -> "_Parts":
        data = load_data(config.data)
        if config.policy != "default":
            policy = catalog.policy(config.policy)
            if not isinstance(data, ImageData):
                raise ConfigError(
                    f"policy {config.policy!r} is for images; {data.name} is made of tokens: leave it out."
                )
            data = replace(data, policy=policy)
        method = catalog.method(config.method, config.settings)
        return _Parts(config, named(config.space), data, choose_device(config.device), method)

    @property
    def space(self) -> SearchSpace:
        """Whose networks are trained: what was found has settings of the training apart from its architecture."""
        return self.searched.base if isinstance(self.searched, MixedSpace) else self.searched

    @property
    def sizes(self) -> dict[str, int]:
        return {
            "classes": self.data.classes,
            "channels": self.config.channels,
            "cells": self.config.cells,
            "in_channels": self.data.in_channels,
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
    config = config.resolved()
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
    if result.network is not None and "test_accuracy" not in metrics:
        metrics["test_accuracy"] = top1(result.network, parts.data.test, parts.device)
        metrics["train_epochs"] = config.epochs
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
    device: str | None = None,
    resume: bool = False,
    observers: Sequence[Observer] = (),
) -> dict[str, Any]:
    """Train the network that a run found from scratch, on all its train images, and write ``model.pt`` and ``train.json``.

    It is trained with the augmentation that was found, and with the learning rate, weight decay and momentum over the run
    that were, if any were learned.

    Args:
        run: the run folder.
        epochs: of the training; those of the configuration when left out.
        learning_rate: at the beginning, annealed as the method does, in place of a learned one or the configuration's.
        weight_decay: in place of a learned one or the default.
        protocol: sizes, optimiser and regularisation in place of those of the run and of what was learned; the three
            arguments before it are fields of it.
        device: where to compute; that of the configuration when left out.
        resume: continue a training that was interrupted.
        observers: told of every step and epoch.

    Returns:
        The content of ``train.json``.

    Raises:
        RunFolderError: there is no finished search in the folder.
        CheckpointError: the training to resume was configured otherwise.
    """
    folder = RunFolder(run)
    result = SearchResult.load(run)
    config = RunConfig.from_toml(folder.config)
    if protocol is not None:
        given = {"epochs": epochs, "learning_rate": learning_rate, "weight_decay": weight_decay}
        protocol = protocol.changed({name: value for name, value in given.items() if value is not None})
        epochs, learning_rate = protocol.epochs, protocol.learning_rate
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
    parts = _Parts.of(config)
    if protocol is not None:
        _check_protocol(parts, protocol)
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
    record = _train_found(parts, result, folder, checkpoint, observers, optimizer, protocol)
    replace(result, metrics={**result.metrics, **_trained(record)}).save(run)
    write_report([folder.root], folder.report)
    return record


def run_evaluation(run: str | Path, *, data: str | None = None, device: str = "auto") -> dict[str, Any]:
    """Classify the test part of a data set with the trained network of a run.

    Args:
        run: the run folder, with a ``model.pt``.
        data: name of the data; those of the run when left out.
        device: where to compute.

    Returns:
        ``test_accuracy``, ``examples``, ``data``; for images the share of each class in ``classes``, for text ``test_perplexity``.

    Raises:
        RunFolderError: there is no trained network.
        ConfigError: the data have other channels or classes than the network.
    """
    folder = RunFolder(run)
    network, build = read_model(folder.model)
    place = choose_device(device)
    found = load_data(data or RunConfig.from_toml(folder.config).data)
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
        "test_accuracy": top1(network, found.test, place),
        "examples": int(found.test.labels.numel()),
        "data": found.name,
    }
    if found.kind == "tokens":
        return {**record, "test_perplexity": perplexity(network, found.test, place)}
    names = getattr(found, "class_names", ()) or tuple(map(str, range(found.classes)))
    shares = {}
    for label, name in enumerate(names):
        index = (found.test.labels == label).nonzero()[:, 0]
        if len(index):
            shares[str(name)] = top1(network, found.test.take(index), place)
    return {**record, "classes": shares}


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
    optimizer = _optimizer(parts, result.hyperparameters)
    distributed.wait_for_all()  # what the first rank writes before a training is there, or is not, for all
    if "test_accuracy" not in result.metrics or not folder.model.exists():
        record = _train_found(parts, result, folder, folder.checkpoints / "train.pt", observers, optimizer)
        result = replace(result, metrics={**result.metrics, **_trained(record)})
        result.save(folder.root)
    if "random_test_accuracy" not in result.metrics:
        generator = torch.Generator().manual_seed(stream_seed(parts.config.seed, "random architecture"))
        other = parts.space.sample(generator)
        record, _ = _train(parts, other, result.policy, folder.checkpoints / "random.pt", observers, optimizer)
        beside = {f"random_{name}": value for name, value in _trained(record).items()}
        result = replace(result, metrics={**result.metrics, **beside, "random_architecture": str(other)})
        result.save(folder.root)
    return result


def _trained(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the metrics of a result say of a training."""
    figures = {name: record[name] for name in ("test_accuracy", "test_perplexity") if name in record}
    return {**figures, "train_epochs": record["epochs"]}


def _train_found(
    parts: _Parts,
    result: SearchResult,
    folder: RunFolder,
    checkpoint: Path,
    observers: Sequence[Observer],
    optimizer: SGD,
    protocol: TrainingProtocol | None = None,
) -> dict[str, Any]:
    record, network = _train(parts, result.architecture, result.policy, checkpoint, observers, optimizer, protocol)
    build = {
        "space": parts.space.name,
        "architecture": str(result.architecture),
        **parts.sizes,
        "shape": list(parts.data.train.images.shape[1:]),
        "class_names": list(getattr(parts.data, "class_names", ())),
    }
    if protocol is not None and protocol.stem != "cifar":
        build["stem"] = protocol.stem
    save_model(folder.model, network, build)
    write_atomically(folder.training, json.dumps(record, indent=2, allow_nan=False) + "\n")
    return record


def _optimizer(parts: _Parts, hyperparameters: Mapping[str, Any], weight_decay: float | None = None) -> SGD:
    """Of the training from scratch, with what was learned and not given.

    For recurrent cells it is that of DARTS' evaluation, but for its averaging of the weights.
    """
    schedule = parts.method.annealing(parts.config.training_learning_rate)
    settings = SGD(schedule)
    if parts.data.kind == "tokens":
        settings = SGD(schedule, momentum=0.0, weight_decay=8e-7, nesterov=False, clip=0.25)
    if hyperparameters:
        given = {"learning_rate": parts.config.train_learning_rate != -1, "weight_decay": weight_decay is not None}
        learned = ("learning_rate", "weight_decay", "momentum")
        settings = with_learned(settings, hyperparameters, only=[name for name in learned if not given.get(name)])
    return settings if weight_decay is None else replace(settings, weight_decay=weight_decay)


def _train(
    parts: _Parts,
    architecture: Architecture,
    policy: Policy,
    checkpoint: Path,
    observers: Sequence[Observer],
    optimizer: SGD,
    protocol: TrainingProtocol | None = None,
) -> tuple[dict[str, Any], torch.nn.Module]:
    config = parts.config
    extras: dict[str, float] = {}
    options: dict[str, Any] = {}
    if protocol is not None:
        extras = {name: getattr(protocol, name) for name in ("label_smoothing", "auxiliary", "drop_path")}
        if protocol.auxiliary:
            options["auxiliary"] = True
        if protocol.stem != "cifar":
            options["stem"] = protocol.stem
        policy = _covered(policy, parts.data, protocol.cutout)
    values = {
        "architecture": str(architecture),
        "policy": policy,
        "optimizer": optimizer,
        "data": parts.data.fingerprint,
        "epochs": config.training_epochs,
        "batch_size": config.batch_size,
        "seed": config.seed,
        **parts.sizes,
    } | ({} if protocol is None else {"protocol": protocol})
    store = Store(checkpoint, {key: describe(value) for key, value in values.items()})
    with isolated_random_state(config.seed, parts.device):
        state = TrainState(
            lambda: parts.space.network(architecture, **parts.sizes, **options),
            parts.data.train,
            policy=policy,
            optimizer=optimizer,
            epochs=config.training_epochs,
            batch_size=config.batch_size,
            seed=config.seed,
            device=parts.device,
            **extras,
        )
        store.restore(state)
        drive(state, observers=observers, store=store)
    state.network.eval()
    if "auxiliary" in options:
        state.network[1].auxiliary = None  # type: ignore[index]  # of use while training alone
    record: dict[str, Any] = {
        "architecture": str(architecture),
        "test_accuracy": top1(state.network, parts.data.test, parts.device),
        "epochs": config.training_epochs,
        "seed": config.seed,
        "protocol": None if protocol is None else asdict(protocol),
        "seconds": sum(epoch["seconds"] for epoch in state.history),
        "history": state.history,
    }
    if state.tokens:
        record["test_perplexity"] = perplexity(state.network, parts.data.test, parts.device)
    return record, state.network


def _covered(policy: Policy, data: Data, length: int) -> Policy:
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
    if parts.data.kind == "tokens":
        raise ConfigError(
            f"presets are for images, and {parts.data.name} is made of tokens; train it without --preset."
        )
