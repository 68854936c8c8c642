"""Scripts of the repository that belong to no package, as modules."""

import importlib.util
from pathlib import Path
from types import ModuleType

__all__ = ["loaded"]


def loaded(path: Path) -> ModuleType:
    """The module that a file is; what it does only as a script is not done."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
