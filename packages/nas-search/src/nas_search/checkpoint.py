"""Checkpoints: everything that a run needs to continue, in a file that cannot run code when it is read."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nas_search.errors import CheckpointError
from nas_search.files import write_atomically

__all__ = ["differences", "load_checkpoint", "position_of", "save_checkpoint"]

_FORMAT, _VERSION = "nas-search-checkpoint", 1


def save_checkpoint(path: Path, state: Mapping[str, Any], fingerprint: Mapping[str, str]) -> None:
    """Write a checkpoint, replacing the one before only when the new one is whole.

    Args:
        path: of the file.
        state: tensors, numbers and texts in dictionaries and lists.
        fingerprint: what the run was configured with; `load_checkpoint` compares it.

    Raises:
        RunFolderError: it could not be written; the one before is intact.
    """
    buffer = io.BytesIO()  # torch's own writer turns a full disk into a RuntimeError without the reason
    torch.save({"format": _FORMAT, "version": _VERSION, "fingerprint": dict(fingerprint), "state": dict(state)}, buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: Path, fingerprint: Mapping[str, str]) -> dict[str, Any]:
    """Read the state that `save_checkpoint` wrote, onto the host.

    Raises:
        CheckpointError: the file is damaged, not ours, of another version, or of a run that was configured otherwise;
            the message names the difference.
    """
    record = _read(path)
    changed = differences(record["fingerprint"], fingerprint)
    if changed:
        raise CheckpointError(
            f"{path} is of another configuration: {changed}. Resume with the old settings, or choose another folder; "
            "`nascli train` begins anew in the same one with --restart."
        )
    state: dict[str, Any] = record["state"]
    return state


def differences(saved: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """In what two fingerprints differ, in words; empty where in nothing."""
    return "; ".join(
        f"{key} was {saved.get(key)}, is {wanted.get(key)}"
        for key in sorted({*saved, *wanted})
        if saved.get(key) != wanted.get(key)
    )


def position_of(path: Path) -> tuple[int, int] | None:
    """After how many epochs of how many a checkpoint was written; None where there is none that can be read."""
    try:
        record = _read(path)
        return int(record["state"]["epoch"]), int(record["fingerprint"]["epochs"])
    except (CheckpointError, LookupError, TypeError, ValueError):
        return None


def _read(path: Path) -> dict[str, Any]:
    try:
        record: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # A damaged archive surfaces as RuntimeError, UnpicklingError, EOFError, KeyError, ValueError and others.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} is damaged or not a checkpoint ({reason[:120]}); delete it, and --resume starts the run from the beginning."
        ) from error
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of this program; choose another run folder.")
    version = record.get("version")
    if type(version) is not int or version != _VERSION:
        raise CheckpointError(
            f"{path} is of version {version!r}; this release reads version {_VERSION}: use the release that wrote it."
        )
    if not isinstance(record.get("fingerprint"), dict) or not isinstance(record.get("state"), dict):
        raise CheckpointError(
            f"{path} lacks parts of a checkpoint; delete it, and --resume starts the run from the beginning."
        )
    return record
