"""One trial in a process of its own: ``python -m nas_search.sweep.trial CONFIG.toml FOLDER``."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from nas_search.config import RunConfig
from nas_search.errors import Interrupted, SearchError
from nas_search.reports import can_draw
from nas_search.run_folder import RunFolder
from nas_search.runs import run_search

__all__ = ["finished", "run_trial"]

INTERRUPTED = 130


def finished(folder: Path, config: RunConfig) -> bool:
    """Whether a trial has all its results: the search, and the training if it has one."""
    where = RunFolder(folder)
    if not where.result.exists() or (config.training_epochs and not where.model.exists()):
        return False
    if can_draw():
        return where.report.exists()  # the last thing that a run writes
    return not config.training_epochs or "random_architecture" in where.read_result()["metrics"]


def run_trial(config: RunConfig, folder: Path) -> None:
    """Run it, from wherever an earlier process left off.

    Raises:
        SearchError, SpacesError: as `nas_search.runs.run_search`.
    """
    run_search(config, folder, resume=(folder / "config.toml").exists())


def main() -> int:
    """The exit status: 0 done, 1 failed with one line on stderr, 130 stopped on request after saving."""
    config, folder = sys.argv[1:]
    threading.Thread(target=_stop_with_parent, args=(os.getppid(),), daemon=True).start()
    try:
        run_trial(RunConfig.from_toml(config), Path(folder))
    except Interrupted as error:
        print(error, file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever it is, it is printed, and the sweep goes on
        if not isinstance(error, SearchError):
            import traceback

            traceback.print_exc()
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _stop_with_parent(parent: int) -> None:
    """Save and end when the sweep was killed: when it is repeated, no two processes may write to the same folder."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
