"""Writing files so that a crash, a full disk or a kill leaves the old content or the new, never half of either."""

import contextlib
import os
import re
from pathlib import Path

from nas_search import distributed
from nas_search.errors import RunFolderError

__all__ = ["is_temporary", "write_atomically"]


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
