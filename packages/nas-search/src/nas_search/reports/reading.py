"""What a report knows of a run: what its folder holds."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nas_search.config import RunConfig
from nas_search.errors import RunFolderError
from nas_search.result import SearchResult
from nas_search.run_folder import RunFolder
from nas_spaces import SearchSpace, catalog

__all__ = ["ReportedRun", "read_run", "read_runs"]


@dataclass(frozen=True)
class ReportedRun:
    """One run.

    Args:
        name: of its folder; of several runs whose folders have one name, with those of the folders that they are in.
        space: of the architecture.
        result: the content of ``result.json``.
        events: a record for every epoch of the search, with the hyper-parameters that were learned beside the other figures.
        training: the same of the training of what was found; empty if there was none.
        config: the content of ``config.toml``; empty for a search that was not made from the command line.
        images: a few train images, ``(batch, 1 or 3, height, width)`` uint8; None where there are none.
    """

    name: str
    space: SearchSpace
    result: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    training: Sequence[Mapping[str, Any]]
    config: Mapping[str, Any]
    images: Tensor | None


def read_runs(roots: Sequence[str | Path], spaces: Sequence[SearchSpace] = ()) -> list[ReportedRun]:
    """Read run folders, and tell those apart by their names that are of one name in different places.

    Args:
        roots: the folders.
        spaces: see `read_run`.

    Raises:
        RunFolderError: as `read_run`.
    """
    runs = [read_run(root, spaces) for root in roots]
    paths = [Path(root).resolve() for root in roots]
    if len({run.name for run in runs}) == len(set(paths)):
        return runs
    common = Path(os.path.commonpath(paths))
    return [replace(run, name=path.relative_to(common).as_posix()) for run, path in zip(runs, paths, strict=True)]


def read_run(root: str | Path, spaces: Sequence[SearchSpace] = ()) -> ReportedRun:
    """Read a run folder.

    Args:
        root: the folder.
        spaces: in which the space of the run is looked for by its name, before those that are installed.

    Raises:
        RunFolderError: it has no finished search, or was changed or damaged, or its space is neither installed nor given.
        ConfigError: its ``config.toml`` was changed or damaged.
    """
    folder = RunFolder(root)
    name = folder.read_result().get("space")
    given = next((space for space in spaces if space.name == name), None)
    result = SearchResult.load(folder.root, given).to_dict()
    training = folder.read_json(folder.training, "training").get("history") if folder.training.exists() else []
    if not isinstance(training, list):
        raise RunFolderError(
            f"{folder.training} has no history; it was changed or damaged: train again with `nascli train`."
        )
    events = [_flat(record) for record in folder.read_events()]
    config = asdict(RunConfig.from_toml(folder.config)) if folder.config.exists() else {}
    space = given or catalog.space(result["space"])
    return ReportedRun(folder.root.resolve().name, space, result, events, training, config, _images(folder))


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    learned = record.get("hyperparameters")
    return {**record, **(learned if isinstance(learned, dict) else {})}


def _images(folder: RunFolder) -> Tensor | None:
    if not folder.examples.exists():
        return None
    try:
        # Opened here: numpy leaves open what turns out to be no archive.
        with folder.examples.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            images = torch.from_numpy(file["images"])
    except Exception as error:
        # A damaged archive surfaces as OSError, ValueError, EOFError, BadZipFile, zlib.error, KeyError and others.
        raise RunFolderError(
            f"{folder.examples} cannot be read ({error}); delete it: the report does without."
        ) from error
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise RunFolderError(f"{folder.examples} holds no images; delete it: the report does without.")
    return images
