"""Writing files so that a crash, a full disk or a kill leaves the old content or the new, never half of either."""

import contextlib
import errno
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from nas_search import distributed
from nas_search.errors import RunFolderError

__all__ = ["LOCK", "is_temporary", "locked", "write_atomically"]

LOCK = ".lock"
"""The name of the empty file that a process holds while it writes into a folder."""
_PATIENCE = 10.0
"""Seconds that a folder is waited for: the workers of a process that was killed hold it until they notice, after five."""
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)
"""What file systems say that have no locks, such as some of clusters."""


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write to a temporary name beside `path`, flush to the disk, and rename; of several ranks the first alone does.

    Raises:
        RunFolderError: the file could not be written; what stood there before still does.
    """
    if not distributed.is_first():
        return
    if path.is_dir():
        raise RunFolderError(f"{path} is a folder; give the name of a file in it.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    data = content.encode() if isinstance(content, str) else content
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise RunFolderError(
            f"cannot write {path} ({error.strerror or error}); what was there before is intact. "
            f"Free space, or choose a folder that exists and is writable."
        ) from error
    finally:
        # Gone already if all went well; an interruption leaves nothing behind either.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def is_temporary(path: Path) -> bool:
    """Whether a file is what `write_atomically` leaves of a process that was killed while it wrote.

    Example:
        >>> is_temporary(Path("run/.config.toml.4711.tmp")), is_temporary(Path("run/config.toml"))
        (True, False)
    """
    return re.fullmatch(r"\..+\.\d+\.tmp", path.name) is not None


@contextlib.contextmanager
def locked(folder: Path, lock: Path) -> Iterator[None]:
    """Keep every other process from writing into a folder until the end of the block. A process that is killed lets go of it.

    Args:
        folder: it, for the message.
        lock: the file that is held, in a folder that is there.

    Raises:
        RunFolderError: another process holds it.
    """
    held = FileLock(lock)
    try:
        held.acquire(timeout=_PATIENCE)
    except Timeout as error:
        raise RunFolderError(
            f"{folder} is in use: another process is writing there, or another part of this one. Wait until it has ended, or "
            "end it; or choose another folder with --out."
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise RunFolderError(
                f"cannot write {lock} ({error.strerror or error}): free space, make the folder writable, or choose another one."
            ) from error
        warnings.warn(
            f"{folder} cannot be locked ({error}): see to it that no other process writes there.", stacklevel=3
        )
    try:
        yield
    finally:
        held.release()
