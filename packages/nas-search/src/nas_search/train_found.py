"""Training one architecture of a run from scratch: what is kept, how it is judged on the way, and what is written."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from nas_augment import Policy
from nas_augment.fixed import Crop, Cutout, Flip
from nas_search.averaging import Averaging
from nas_search.computation import Computation
from nas_search.data import Examples
from nas_search.describe import describe
from nas_search.errors import ConfigError
from nas_search.evaluation import perplexity, top1
from nas_search.files import write_atomically
from nas_search.hyperparameters import with_learned
from nas_search.lazy_images import ImageFolders
from nas_search.loop import drive, isolated_random_state
from nas_search.model_file import save_model, told_of
from nas_search.optimizers import SGD
from nas_search.protocols import TrainingProtocol
from nas_search.result import SearchResult
from nas_search.roles import Observer
from nas_search.run_folder import RunFolder, Store
from nas_search.run_parts import RunParts
from nas_search.streams import stream_seed
from nas_search.training import Judge, TrainState
from nas_search.training_data import TrainingData, from_folders, in_memory
from nas_spaces import Architecture

__all__ = [
    "Keeping",
    "Recipe",
    "Weights",
    "train_architecture",
    "train_found",
    "trained_figures",
    "training_data_of",
    "training_optimizer",
]

Weights = Literal["best", "last"]
"""Of the epoch that validated best, or of the last one."""


@dataclass(frozen=True)
class Keeping:
    """Which weights of a training are kept, and how they are judged on the way; the trainings of a search are not."""

    validating: bool = False
    averaging: Averaging | None = None
    valid_share: float = 0.0
    weights: Weights | None = None
    test_every: int = 0

    def check(self) -> None:
        """Refuse values out of their range.

        Raises:
            ConfigError: naming one.
        """
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


@dataclass(frozen=True)
class Recipe:
    """How an architecture is trained from scratch.

    Args:
        optimizer: of the weights.
        protocol: sizes and regularisation in place of those of the run.
        keeping: which weights are kept, and how they are judged.
        computation: number format, compiled or not, deterministic or not; that of the run when left out.
    """

    optimizer: SGD
    protocol: TrainingProtocol | None = None
    keeping: Keeping = Keeping()
    computation: Computation | None = None


def trained_figures(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the metrics of a result say of a training."""
    figures = {name: record[name] for name in ("test_accuracy", "test_perplexity") if name in record}
    kept = {f"train_{name}": record[name] for name in ("epochs", "weights", "computation", "recipe")}
    return {**figures, **kept}


def train_found(
    parts: RunParts,
    data: TrainingData,
    result: SearchResult,
    folder: RunFolder,
    checkpoint: Path,
    observers: Sequence[Observer],
    recipe: Recipe,
) -> dict[str, Any]:
    """Train the network of a result, and write it and the record of the training into the run folder.

    Returns:
        The content of ``train.json``.
    """
    protocol, keeping = recipe.protocol, recipe.keeping
    record, state = train_architecture(parts, data, result.architecture, result.policy, checkpoint, observers, recipe)
    build = {
        "space": parts.space.name,
        "architecture": str(result.architecture),
        **parts.sizes,
        **told_of(parts.source, data.train.images),
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


def training_optimizer(parts: RunParts, hyperparameters: Mapping[str, Any], weight_decay: float | None = None) -> SGD:
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


def training_data_of(parts: RunParts, keeping: Keeping) -> TrainingData:
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


def train_architecture(
    parts: RunParts,
    data: TrainingData,
    architecture: Architecture,
    policy: Policy,
    checkpoint: Path,
    observers: Sequence[Observer],
    recipe: Recipe,
    name: str = "train",
) -> tuple[dict[str, Any], TrainState]:
    """Train one architecture, from its checkpoint if there is one; the record of it, and the state that has the network.

    Args:
        parts: what the run is made of.
        data: what is trained on, what validates and what tests.
        architecture: of the space.
        policy: the augmentation.
        checkpoint: where the training is saved.
        observers: told of every step and epoch.
        recipe: how it is trained.
        name: what observers and messages call the training.
    """
    config, device, protocol, keeping = parts.config, parts.device, recipe.protocol, recipe.keeping
    computation = recipe.computation or config.computation
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
        "optimizer": recipe.optimizer,
        "data": data.fingerprint,
        "epochs": config.training_epochs,
        "batch_size": config.batch_size,
        "seed": config.seed,
        **parts.sizes,
    }
    values |= {} if protocol is None else {"protocol": protocol}
    # The trainings of a search have none of these, and their checkpoints no entries for them.
    values |= {} if keeping == Keeping() else {"averaging": keeping.averaging, "valid_share": keeping.valid_share}
    values |= {} if computation in (Computation("float32"), Computation()) else {"computation": computation}
    store = Store(checkpoint, {key: describe(value) for key, value in values.items()})
    seed = stream_seed(config.seed, "train")
    batches = None if data.batches is None else data.batches(config.batch_size, seed, device)
    with isolated_random_state(config.seed, device), nullcontext() if batches is None else closing(batches):
        state = TrainState(
            lambda: parts.space.network(architecture, **parts.sizes, **options),
            data.train,
            policy=policy,
            optimizer=recipe.optimizer,
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
            name=name,
            **extras,
        )
        store.restore(state)
        drive(state, observers=observers, store=store)
    figures = _judge("test", data.test, parts)(state.trained(chosen))
    # Whatever two architectures must have in common to be compared by their trainings.
    alike = {name: value for name, value in values.items() if name not in ("architecture", "computation")}
    alike |= {
        "protocol": protocol,
        "averaging": keeping.averaging,
        "valid_share": keeping.valid_share,
        "weights": chosen,
    }
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
        "recipe": hashlib.sha256(describe(sorted(alike.items())).encode()).hexdigest()[:16],
        "computation": computation.record(device) | {"workers": 0 if parts.reading is None else parts.reading.workers},
        "seconds": sum(epoch["seconds"] for epoch in state.history),
        "history": state.history,
    }
    if state.best is not None:
        record["best_epoch"] = state.best["epoch"]
    return record, state


def _judge(part: str, examples: Examples | Iterable[Examples], parts: RunParts) -> Judge:
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
    """The policy and then cutout, which covers with the mean of all channels: after normalisation near the papers' 0."""
    if not length:
        return policy
    images = data.train.images[:: max(1, len(data.train.images) // 10_000)]
    mean = float(images.float().mean()) / (255 if images.dtype == torch.uint8 else 1)
    return Policy((*policy.stages, Cutout(length, mean)))
