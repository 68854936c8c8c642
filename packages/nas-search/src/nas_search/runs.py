"""The runs of the command line, as library calls: search, then train what was found, and report both."""

from collections.abc import Sequence
from dataclasses import fields, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas_search import distributed
from nas_search.compatibility import check_saved
from nas_search.computation import deterministic
from nas_search.config import RunConfig
from nas_search.data import Data, ImageData
from nas_search.diagnostics import CellDepth, HessianSpectrum, OperationWeights
from nas_search.engines import Engine
from nas_search.errors import CheckpointError
from nas_search.evaluation import top1
from nas_search.evaluations import run_evaluation
from nas_search.files import write_atomically
from nas_search.reports.html import write_report_if_possible
from nas_search.result import SearchResult
from nas_search.roles import Event, Observer
from nas_search.run_folder import RunFolder
from nas_search.run_parts import RunParts
from nas_search.scoring import check_engine
from nas_search.searching import complete
from nas_search.state import SearchState
from nas_search.streams import stream_seed
from nas_search.train_found import (
    Keeping,
    Recipe,
    train_architecture,
    train_found,
    trained_figures,
    training_data_of,
    training_optimizer,
)
from nas_search.trainings import run_training
from nas_spaces import Architecture, SearchSpace, Table, TableError, load_table, space_of_table

__all__ = ["free_folder", "run_evaluation", "run_search", "run_training"]


def free_folder(config: RunConfig, parent: str | Path = "runs") -> Path:
    """A folder that does not exist yet, named after the method, the data and the seed."""
    data = config.data.partition(":")[0]
    stem = Path(parent) / f"{config.method}-{data}-seed{config.seed}"
    return next(path for number in range(1, 10**6) if not (path := stem.with_name(f"{stem.name}-{number}")).exists())


def run_search(
    config: RunConfig,
    out: str | Path,
    *,
    resume: bool = False,
    observers: Sequence[Observer] = (),
    engine: Engine | None = None,
) -> dict[str, Any]:
    """Search, look the result up, train it and a random architecture alike, and write the report.

    Everything that can be wrong about the configuration is found before anything is written.

    Args:
        config: what to do.
        out: the run folder.
        resume: continue the run in `out`.
        observers: told of every step and epoch of the search and of the trainings.
        engine: see `nas_search.search`.

    Returns:
        The content of ``result.json``, the folder as ``run``, and the page as ``report``: None where matplotlib, which draws its
        charts, is missing; a warning says so.

    Raises:
        SearchError, SpacesError: see `nas_search.search`, `load_data` and `load_table`.
    """
    with deterministic(config.deterministic):
        return _run_search(config.resolved(), out, resume, observers, engine)


def _run_search(
    config: RunConfig, out: str | Path, resume: bool, observers: Sequence[Observer], engine: Engine | None
) -> dict[str, Any]:
    parts = RunParts.of(config)
    folder = RunFolder(out)
    folder.check(resume=resume)
    table = _covering_table(config.table, parts.space) if config.table else None
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
        computation=config.computation,
    )
    shape = tuple(parts.data.train.images.shape[1:])
    # A dry run of a network, for which the images may be too small: else the first step finds out, in a folder that is taken.
    parts.counts(parts.space.sample(torch.Generator().manual_seed(0)), shape)
    check_engine(engine, state)
    watchers: list[Observer] = [CellDepth(), OperationWeights()]
    if config.spectrum:
        spectrum = HessianSpectrum()
        spectrum.check(state)
        watchers.append(spectrum)
    if table is not None:
        watchers.append(TableValue(table, parts.space))
    check_saved(state)
    with folder.claimed(resume=resume):
        if folder.config.exists():
            _require_same(RunConfig.from_toml(folder.config), config, folder)
        else:
            write_atomically(folder.config, config.to_toml())
        _keep_examples(parts.data, folder)
        result = complete(state, folder, observers=[*watchers, *observers], engine=engine)
        # Those of a training after the search, with sizes of its own, are kept.
        metrics: dict[str, Any] = {**parts.counts(result.architecture, shape), **result.metrics}
        if isinstance(parts.data, ImageData) and (empty := parts.data.empty_classes):
            metrics["empty_classes"] = list(empty)
        if result.network is not None and "test_accuracy" not in metrics:
            metrics["test_accuracy"] = top1(result.network, parts.data.test, parts.device)
            metrics.update(train_epochs=config.epochs, trained_in_search=True)
        if table is not None:
            metrics.update(_table_metrics(table, result.architecture))
        result = replace(result, metrics=metrics)
        result.save(out)
        if config.training_epochs:
            result = _train_both(parts, result, folder, observers)
        report = write_report_if_possible([folder.root], folder.report)
        return {**result.to_dict(), "run": str(folder.root), "report": None if report is None else str(report)}


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


def _train_both(
    parts: RunParts, result: SearchResult, folder: RunFolder, observers: Sequence[Observer]
) -> SearchResult:
    """Train what was found, and beside it a random architecture in the same way; what is done already is not repeated."""
    recipe, data = Recipe(training_optimizer(parts, result.hyperparameters)), training_data_of(parts, Keeping())
    distributed.wait_for_all()  # what the first rank writes before a training is there, or is not, for all
    if "test_accuracy" not in result.metrics or not folder.model.exists():
        record = train_found(parts, data, result, folder, folder.checkpoints / "train.pt", observers, recipe)
        result = replace(result, metrics={**result.metrics, **trained_figures(record)})
        result.save(folder.root)
    # After a training on other data a random architecture that is trained on these is no comparison.
    if "random_test_accuracy" not in result.metrics and "train_data" not in result.metrics:
        generator = torch.Generator().manual_seed(stream_seed(parts.config.seed, "random architecture"))
        other = parts.space.sample(generator)
        record, _ = train_architecture(
            parts, data, other, result.policy, folder.checkpoints / "random.pt", observers, recipe, "train-random"
        )
        beside = {f"random_{name}": value for name, value in trained_figures(record).items()}
        result = replace(result, metrics={**result.metrics, **beside, "random_architecture": str(other)})
        result.save(folder.root)
    return result
