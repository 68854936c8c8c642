"""Training what a run found, as a library call."""

import inspect
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas_search import distributed
from nas_search.averaging import Averaging, ExponentialAverage, NonMonotoneAverage
from nas_search.checkpoint import position_of
from nas_search.computation import Computation, deterministic
from nas_search.config import RunConfig
from nas_search.decoding import explained
from nas_search.errors import ConfigError, RunFolderError
from nas_search.lazy_images import Reading
from nas_search.protocols import TrainingProtocol
from nas_search.reports.html import write_report_if_possible
from nas_search.result import SearchResult
from nas_search.roles import Observer
from nas_search.run_folder import RunFolder
from nas_search.run_parts import RunParts
from nas_search.schedules import Constant
from nas_search.state import require_fit
from nas_search.train_found import (
    Keeping,
    Recipe,
    Weights,
    train_found,
    trained_figures,
    training_data_of,
    training_optimizer,
)

__all__ = ["run_training"]


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
    restart: bool = False,
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
        computation: number format, compiled or not, deterministic or not; where it leaves the format to the device, that of the
            run's configuration, and deterministic also if that says so.
        data: source of other data than the run's, to which the architecture is transferred.
        workers: processes that decode images of folders, where the protocol has an ``image_size``.
        loader_timeout: seconds after which a batch that they do not bring is an error.
        device: where to compute; that of the configuration when left out.
        resume: continue a training that was interrupted.
        restart: begin anew where one was interrupted, which is kept otherwise.
        observers: told of every step and epoch.

    Returns:
        The content of ``train.json``.

    Raises:
        RunFolderError: there is no finished search in the folder, or it holds a training that was interrupted, and neither
            `resume` nor `restart` says what to do with it.
        CheckpointError: the training to resume was configured otherwise.
        LoaderError: a worker died, or brought no batch in time.
    """
    if resume and restart:
        raise ConfigError("a training is resumed or begun anew: leave out --resume or --restart.")
    folder = RunFolder(run)
    result, found = SearchResult.load(run), folder.result.read_bytes()
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
    if learning_rate is not None and not learning_rate >= 0:
        raise ConfigError(f"learning_rate of the training is {learning_rate}; expected 0 or more.")
    rate = config.train_learning_rate if learning_rate is None else learning_rate
    config = replace(config, train_epochs=epochs, train_learning_rate=rate, device=device or config.device)
    config = config if data is None else replace(config, data=data, policy="default").resolved()
    reading = _reading(config, protocol, workers, loader_timeout)
    parts = RunParts.of(config, reading)
    require_fit(parts.space, parts.source)
    if protocol is not None:
        _check_protocol(parts, protocol)
    keeping = Keeping(True, _averaging(ema or 0.0, asgd), valid_share or 0.0, weights, test_every)
    keeping.check()
    if asgd is not None and parts.source.kind != "tokens":
        raise ConfigError(
            "asgd begins when the validation loss of a text stops to fall, and the data are images; take ema."
        )
    with explained(None if reading is None else reading.crew):
        material = training_data_of(parts, keeping)
    keeping.chosen(material)
    checkpoint = folder.checkpoints / "retrain.pt"  # apart from that of the search's own training
    if resume and not checkpoint.exists():
        raise RunFolderError(f"{folder.root} has no training to resume; leave out --resume to start one.")
    optimizer = (
        training_optimizer(parts, result.hyperparameters, weight_decay)
        if protocol is None
        else protocol.optimizer(parts.method.annealing)
    )
    if asgd is not None:
        optimizer = replace(optimizer, learning_rate=Constant(optimizer.learning_rate(0.0)))
    computation = replace(
        computation,
        precision=config.precision if computation.precision == "auto" else computation.precision,
        deterministic=computation.deterministic or config.deterministic,
    )
    with folder.taken():
        if folder.result.read_bytes() != found or (resume and not checkpoint.exists()):
            raise RunFolderError(f"{folder.root} was changed by the process that this one has waited for; start again.")
        if not (resume or restart):
            _require_ended(folder, checkpoint)
        if not resume:
            folder.remove(checkpoint)
        distributed.wait_for_all()
        with deterministic(computation.deterministic), explained(None if reading is None else reading.crew):
            record = train_found(
                parts,
                material,
                result,
                folder,
                checkpoint,
                observers,
                Recipe(optimizer, protocol, keeping, computation),
            )
        transferred = RunConfig.from_toml(folder.config).data != config.data
        lost = ["trained_in_search", "train_data"]
        lost += ["random_"] if transferred else []  # an architecture that was trained on other data is no comparison
        kept = {name: value for name, value in result.metrics.items() if not name.startswith(tuple(lost))}
        if transferred:
            kept["train_data"] = parts.source.name
        stem = "cifar" if protocol is None else protocol.stem
        size = parts.counts(result.architecture, tuple(material.train.images.shape[1:]), stem)
        replace(result, metrics={**kept, **size, **trained_figures(record)}).save(run)
        write_report_if_possible([folder.root], folder.report)
        return record


def _require_ended(folder: RunFolder, checkpoint: Path) -> None:
    """Refuse to drop a training unasked.

    Raises:
        RunFolderError: it has not ended.
    """
    come = position_of(checkpoint) if distributed.is_first() else None
    # What a training writes last; it may have been interrupted, or have failed, after its last epoch too.
    if come is not None and come[0] == come[1] and _is_newer(folder.training, checkpoint):
        come = None
    told = distributed.from_first("" if come is None else f"{come[0]} of {come[1]} epochs")
    if told:
        raise RunFolderError(
            f"{folder.root} holds a training that was interrupted after {told}; go on with it by --resume and its settings, or "
            "drop it by --restart."
        )


def _is_newer(path: Path, other: Path) -> bool:
    return path.exists() and path.stat().st_mtime_ns >= other.stat().st_mtime_ns


def _reading(config: RunConfig, protocol: TrainingProtocol | None, workers: int, timeout: float) -> Reading | None:
    """How images of folders are read while the training goes on; None where all of the data is in memory.

    Raises:
        ConfigError: workers, and nothing for them to read; or a time that is not positive.
    """
    if config.data.partition(":")[0] == "imagefolder" and protocol is not None and protocol.image_size:
        return Reading(protocol.image_size, protocol.crop, protocol.jitter, workers, timeout)
    if not timeout > 0:
        raise ConfigError(f"loader_timeout is {timeout}; expected a positive number of seconds.")
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


def _check_protocol(parts: RunParts, protocol: TrainingProtocol) -> None:
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
