"""The folder of a run: what stands in it, who may write to it, and how a run continues in it."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shlex import quote
from typing import Any

from nas_search import distributed
from nas_search.checkpoint import load_checkpoint, save_checkpoint
from nas_search.errors import WHERE_RUNS_ARE, CheckpointError, RunFolderError
from nas_search.files import LOCK, is_temporary, locked, write_atomically
from nas_search.run_state import RunState

__all__ = ["RunFolder", "Store", "check_foreign"]

_SHARE = 0.01
"""Of the time that saving takes, where nothing asks for it but the end of an epoch."""
_LONGEST = 600.0
"""Seconds that it waits at most for that: one save may be slow because a disk is busy."""


class RunFolder:
    """The paths of a run.

    Args:
        root: the folder.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.config = self.root / "config.toml"
        self.events = self.root / "events.jsonl"
        self.result = self.root / "result.json"
        self.report = self.root / "report.html"
        self.model = self.root / "model.pt"
        self.best_model = self.root / "model-best.pt"
        self.last_model = self.root / "model-last.pt"
        self.training = self.root / "train.json"
        self.checkpoints = self.root / "checkpoints"
        self.examples = self.checkpoints / "examples.npz"  # a few images, for the report
        self.last = self.checkpoints / "last.pt"

    def check(self, *, resume: bool) -> None:
        """Make sure that `claimed` may take the folder, and change nothing.

        Raises:
            RunFolderError: it holds something and `resume` is false, or it is no run and `resume` is true, or it cannot be
                read.
        """
        try:
            ours = any(path.exists() for path in (self.config, self.last, self.events, self.result))
            taken = self._is_taken()
        except OSError as error:
            raise RunFolderError(
                f"cannot read {self.root} ({error.strerror}); choose another folder with --out."
            ) from error
        if resume and not ours:
            raise RunFolderError(f"{self.root} holds no run to resume; leave out --resume to start one there.")
        if not resume and taken:
            if not self.root.is_dir():
                raise RunFolderError(f"{self.root} is a file, and no folder; choose another one with --out.")
            what = "another run" if ours else "other files"
            remedy = "go on with it by --resume, or choose" if ours else "choose"
            raise RunFolderError(f"{self.root} exists and holds {what}; {remedy} another folder with --out.")

    @contextmanager
    def claimed(self, *, resume: bool) -> Iterator[None]:
        """The folder as `taken`, if a run may begin or continue in it.

        Raises:
            RunFolderError: as `check` and `taken`.
        """
        if distributed.is_first():
            self.check(resume=resume)  # at once, and not only when another process has been waited for
        with self.taken():
            if distributed.is_first():
                self.check(resume=resume)  # again: that process may have changed it
            distributed.wait_for_all()
            yield

    @contextmanager
    def taken(self) -> Iterator[None]:
        """The folder, made if it is not there, for this process and its ranks alone until the end of the block.

        Raises:
            RunFolderError: it cannot be written, or another process writes there.
        """
        distributed.wait_for_all()  # all ranks have looked at the folder before the first one changes it
        with ExitStack() as stack:
            if distributed.is_first():
                self._make()
                stack.enter_context(locked(self.root, self.checkpoints / LOCK))
                self.remove_leftovers()  # of nobody who is still writing
            distributed.wait_for_all()
            yield

    def _make(self) -> None:
        """Make the folder of the checkpoints, which a run that was copied may lack."""
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(
                f"cannot make {self.checkpoints} ({error.strerror}); choose another folder with --out."
            ) from error

    def model_of(self, weights: str | None) -> Path:
        """The file of the ``best`` or the ``last`` weights of a training; None for those that it chose.

        Raises:
            RunFolderError: the best ones, of a training in which nothing validated, or the last ones where only the best are.
        """
        if weights is not None and self.model.exists() and not self.best_model.exists():
            kept = self.read_json(self.training, "").get("weights") if self.training.exists() else "last"
            if kept == weights:
                return self.model
            if weights == "last":
                raise RunFolderError(
                    f"{self.root} has the best weights alone, as a bundle of them does; leave out --weights."
                )
            raise RunFolderError(
                f"{self.root} has no best weights: nothing validated in its training. Take the last ones, or train with "
                f"--valid-share 0.1."
            )
        if weights is None or not self.best_model.exists():
            return self.model  # which has the last weights where nothing validated
        return self.best_model if weights == "best" else self.last_model

    @staticmethod
    def remove(*paths: Path) -> None:
        """Remove files that are there; of several ranks the first alone does.

        Raises:
            RunFolderError: one cannot be removed.
        """
        for path in paths if distributed.is_first() else ():
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise RunFolderError(f"cannot remove {path} ({error.strerror or error}).") from error

    def remove_leftovers(self) -> None:
        """Remove what a process that was killed has left half written.

        Raises:
            RunFolderError: it cannot be removed.
        """
        self.remove(*(path for path in (*self.root.glob(".*"), *self.checkpoints.glob(".*")) if is_temporary(path)))

    def _is_taken(self) -> bool:
        """Whether something stands there that is not the empty beginning of a run which was killed at once."""
        if not self.root.exists():
            return False
        if not self.root.is_dir():
            return True
        found = [path for path in self.root.iterdir() if path != self.checkpoints]
        found += self.checkpoints.iterdir() if self.checkpoints.is_dir() else []
        return not all(is_temporary(path) or path.name == LOCK for path in found)

    def read_events(self) -> list[dict[str, Any]]:
        """The epochs' records, in order; an unfinished last line is left out.

        Raises:
            RunFolderError: a line is not a JSON object, or its speed is no number.
        """
        if not self.events.exists():
            return []
        # What follows the last line break is a line that was being written when the run was killed.
        try:
            lines = self.events.read_text(encoding="utf-8").split("\n")
            records = [json.loads(line) for line in lines[:-1] if line]
        except (ValueError, RecursionError) as error:
            raise RunFolderError(
                f"{self.events} has a line that is not JSON ({error}); it was changed or damaged."
            ) from error
        if not all(isinstance(record, dict) for record in records):
            raise RunFolderError(f"{self.events} has a line that is not a JSON object; it was changed or damaged.")
        speeds = [record.get("images_per_second", 0) for record in records]
        if wrong := [speed for speed in speeds if not isinstance(speed, int | float)]:
            raise RunFolderError(
                f"{self.events} has images_per_second {wrong[0]!r:.100}, which is no number; it was changed or damaged."
            )
        return records

    def read_result(self) -> dict[str, Any]:
        """The content of ``result.json``.

        Raises:
            RunFolderError: there is none, or it is not JSON.
        """
        again = f"search has not finished: go on with `nascli search --out {quote(str(self.root))} --resume`"
        begun = self.config.exists() or self.last.exists()
        return self.read_json(
            self.result, again if begun else f"search has not finished, nor begun there; {WHERE_RUNS_ARE}"
        )

    def read_json(self, path: Path, missing: str) -> dict[str, Any]:
        """The content of a JSON file of the folder; `missing` says why it may not be there and what to do.

        Raises:
            RunFolderError: there is none, or it is not a JSON object.
        """
        if not self.root.is_dir():
            raise RunFolderError(f"no run folder {self.root}; {WHERE_RUNS_ARE}.")
        try:
            record = json.loads(path.read_text())
        except FileNotFoundError as error:
            raise RunFolderError(f"{self.root} has no {path.name}; its {missing}.") from error
        except (OSError, ValueError, RecursionError) as error:
            raise RunFolderError(
                f"{path} cannot be read ({error}); it was changed or damaged after it was written."
            ) from error
        if not isinstance(record, dict):
            raise RunFolderError(f"{path} is not a JSON object; it was changed after it was written.")
        return record


def check_foreign(path: Path) -> None:
    """Refuse what a run keeps itself as the place of something else.

    Raises:
        RunFolderError: it is one of the files of a run.
    """
    place = path.resolve()
    root = place.parent.parent if place.parent.name == "checkpoints" else place.parent
    folder = RunFolder(root)
    own = (
        folder.config, folder.events, folder.result, folder.model, folder.best_model, folder.last_model, folder.training
    )  # fmt: skip
    if folder.config.exists() and (place in own or place.parent == folder.checkpoints):
        raise RunFolderError(f"{path} is a file that the run in {root} needs; choose another name with --out.")


class Store:
    """Where the loop saves a run, and restores it from.

    Args:
        checkpoint: the checkpoint's file.
        fingerprint: what the run was configured with.
        events: the file that gets one line per epoch; None for no such file.
    """

    def __init__(self, checkpoint: Path, fingerprint: Mapping[str, str], events: Path | None = None) -> None:
        self.checkpoint, self.fingerprint, self.events = checkpoint, dict(fingerprint), events
        self._due = 0.0

    def save_if_due(self, state: RunState) -> None:
        """Save at the end of an epoch, unless the last save is so short a time ago that saves would take more than 1 % of it.

        A process that is killed loses, besides the epoch that it was in, at most those since the last save: a hundred times as
        long as a save takes, and ten minutes at most. The events have the epochs that were saved.

        Raises:
            RunFolderError: as `save`.
        """
        if time.monotonic() >= self._due:
            self.save(state)

    def save(self, state: RunState) -> None:
        """Write the checkpoint, then the lines of the history that the events do not have yet; the first rank alone does.

        Raises:
            RunFolderError: something could not be written; what was written before is intact.
        """
        if not distributed.is_first():
            return
        start = time.monotonic()
        try:
            save_checkpoint(self.checkpoint, state.state_dict(), self.fingerprint)
            if self.events is not None:
                _append(self.events, state.history)
        except RunFolderError as error:
            raise RunFolderError(f"{error} Then go on with --resume.") from error.__cause__
        end = time.monotonic()
        self._due = end + min((end - start) * (1 / _SHARE - 1), _LONGEST)

    def restore(self, state: RunState) -> bool:
        """Continue from the checkpoint; False if there is none yet.

        Raises:
            CheckpointError: it is damaged, or of another configuration.
        """
        found = self._restore(state)
        distributed.check_position(state.position)
        return found

    def _restore(self, state: RunState) -> bool:
        if not self.checkpoint.exists():
            if self.events is not None and distributed.is_first():
                self.events.unlink(missing_ok=True)  # of a run whose checkpoint was deleted: it begins anew
            return False
        saved = load_checkpoint(self.checkpoint, self.fingerprint)
        try:
            state.load_state_dict(saved)
        except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError, AttributeError) as error:
            raise CheckpointError(
                f"{self.checkpoint} lacks parts of a checkpoint ({type(error).__name__}: {str(error)[:100]}); delete it, and "
                f"--resume starts the run from the beginning."
            ) from error
        if self.events is not None and distributed.is_first():
            _append(self.events, state.history)
        return True


def _append(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Bring the events up to the history: the checkpoint is written first, so a kill leaves at most lines to be added."""
    written = path.read_bytes() if path.exists() else b""
    whole, _, unfinished = written.rpartition(b"\n")
    count = whole.count(b"\n") + 1 if whole else 0
    lines = "".join(json.dumps(record) + "\n" for record in history[count:])
    if unfinished:
        kept = whole + b"\n" if whole else b""
        write_atomically(path, kept + lines.encode())
    elif lines:
        try:
            with path.open("a") as file:
                file.write(lines)
        except OSError as error:
            raise RunFolderError(
                f"cannot write {path} ({error.strerror}); the checkpoint is intact. Free space, or make it writable."
            ) from error
