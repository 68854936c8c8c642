"""One trial of a sweep, as its process sees it."""

from pathlib import Path

from nas_search.config import RunConfig
from nas_search.reports import can_draw
from nas_search.run_folder import RunFolder
from nas_search.runs import run_search

__all__ = ["finished", "run_file", "run_trial"]


def finished(folder: Path, config: RunConfig) -> bool:
    """Whether a trial has all its results: the search, and the training if it has one."""
    where = RunFolder(folder)
    if not where.result.exists() or (config.training_epochs and not where.model.exists()):
        return False
    metrics = where.read_result().get("metrics")
    # A training on other data since has taken the comparison with it.
    compared = isinstance(metrics, dict) and ("random_architecture" in metrics or "train_data" in metrics)
    if config.training_epochs and not compared:
        return False
    # The last thing that a run writes; but anybody may have written one before.
    return where.report.exists() or not can_draw()


def run_trial(config: RunConfig, folder: Path) -> None:
    """Run it, from wherever an earlier process left off.

    Raises:
        SearchError, SpacesError: as `nas_search.runs.run_search`.
    """
    run_search(config, folder, resume=(folder / "config.toml").exists())


def run_file(config: Path, folder: Path) -> None:
    """Run the trial of a file; what an engine calls."""
    run_trial(RunConfig.from_toml(config), folder)
