"""What a sweep runs: a name and a configuration for each trial."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas_search.config import RunConfig
from nas_search.config_template import check_names
from nas_search.errors import ConfigError, RunFolderError
from nas_search.files import LOCK, is_temporary, locked, write_atomically

__all__ = ["Plan", "Trial", "plan"]


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Args:
        name: unique; the name of its folder too.
        config: of the run.
    """

    name: str
    config: RunConfig


@dataclass(frozen=True)
class Plan:
    """The trials of a sweep and where they live.

    ``ROOT/sweep.json`` names them all, ``ROOT/NAME/`` is the run folder of a trial, ``ROOT/logs/NAME.log`` what it printed, and
    ``ROOT/results.csv`` the table that grows.

    Args:
        root: the folder.
        trials: in the order in which they begin.
    """

    root: Path
    trials: tuple[Trial, ...]

    @property
    def table(self) -> Path:
        """The file of the results."""
        return self.root / "results.csv"

    def folder(self, trial: Trial) -> Path:
        """The run folder of a trial."""
        return self.root / trial.name

    def log(self, trial: Trial) -> Path:
        """Where a trial prints."""
        return self.root / "logs" / f"{trial.name}.log"

    def config_file(self, trial: Trial) -> Path:
        """What the process of a trial reads."""
        return self.root / "logs" / f"{trial.name}.toml"

    def paths(self, trial: Trial) -> tuple[Path, Path]:
        """What the process of a trial is told: the file of its configuration and its folder, wherever it is started."""
        return self.config_file(trial).resolve(), self.folder(trial).resolve()

    @property
    def lock(self) -> Path:
        """What the process that runs the sweep holds."""
        return self.root / "logs" / LOCK

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """The folder, made or with this very sweep in it, whose finished trials are kept, for this process alone.

        Another sweep, of which no trial has begun, is replaced.

        Raises:
            RunFolderError: it holds trials of another sweep or other files, cannot be written, or another process runs the sweep.
        """
        self._check()
        try:
            self.lock.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(
                f"cannot make {self.root} ({error.strerror}); choose another folder with --out."
            ) from error
        with locked(self.root, self.lock):
            self._check()  # which another process may have changed that this one has waited for
            write_atomically(self.root / "sweep.json", self._content())
            for trial in self.trials:
                write_atomically(self.config_file(trial), trial.config.to_toml())
            yield

    def _content(self) -> str:
        return json.dumps({trial.name: asdict(trial.config) for trial in self.trials}, indent=1, default=str) + "\n"

    def _check(self) -> None:
        file = self.root / "sweep.json"
        if file.exists():
            if file.read_bytes() != self._content().encode() and self._has_trials():
                raise RunFolderError(
                    f"{self.root} holds another sweep, of other methods, seeds or settings; repeat its command to go on with it, "
                    "or choose another folder with --out."
                )
        elif self.root.exists() and not self.root.is_dir():
            raise RunFolderError(f"{self.root} is a file, and no folder; choose another one with --out.")
        elif self.root.exists() and not all(self._is_beginning(path) for path in self.root.iterdir()):
            raise RunFolderError(f"{self.root} exists and holds other files; choose another folder with --out.")

    def _has_trials(self) -> bool:
        """Whether any has begun, or other files are there: trials whose data is missing, or whose device, make no folder."""
        own = (self.root / "sweep.json", self.table, self.lock.parent)
        only = all(path in own or is_temporary(path) for path in self.root.iterdir())
        return not (only and self.lock.parent.is_dir())

    def _is_beginning(self, path: Path) -> bool:
        """Whether it is what a sweep leaves that was killed at once."""
        if path == self.lock.parent and path.is_dir():
            return all(inside == self.lock for inside in path.iterdir())
        return is_temporary(path)


def plan(
    root: str | Path,
    base: RunConfig,
    methods: Sequence[str],
    seeds: int,
    grid: Mapping[str, Sequence[Any]] | None = None,
) -> Plan:
    """Every method with every seed and every combination of the grid.

    Args:
        root: folder of the sweep.
        base: what all have in common.
        methods: their names.
        seeds: how many: the base's seed, and those after it.
        grid: values of each key of the configuration or setting of the methods.

    Raises:
        ConfigError: no method or seed, a key or value that a method does not have, the method or the seed as a key, two
            trials of one name, or as `check_names`.
    """
    if not methods or seeds < 1:
        raise ConfigError(f"a sweep of methods {list(methods)} and {seeds} seeds has no run; give one or more of both.")
    repeated = sorted({name for name in methods if methods.count(name) > 1})
    if repeated:
        raise ConfigError(f"method {repeated[0]!r} is given twice.")
    grid = dict(grid or {})
    for key in ("method", "seed"):
        if key in grid:
            raise ConfigError(
                f"a grid of {key!r}: a sweep has its own {key}s (--{key}s), of which every trial has one."
            )
    trials: list[Trial] = []
    for method in methods:
        for values in itertools.product(*grid.values()):
            changed = dict(zip(grid, values, strict=True))
            for seed in range(base.seed, base.seed + seeds):
                config = base.updated({"method": method}).updated(changed).updated({"seed": seed}).resolved()
                check_names(config)
                marks = [f"{key}={value}" for key, value in changed.items()]
                name = "-".join([config.method, *marks, f"seed{seed}"])
                trials.append(Trial("".join(c if c.isalnum() or c in "-_.=" else "_" for c in name), config))
    names = [trial.name for trial in trials]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"two trials would be called {twice[0]!r}, and share a folder: the values of a grid must differ in more than "
            "punctuation; give each of them once."
        )
    return Plan(Path(root), tuple(trials))
