"""The public surface: what is exported is what `__all__` says, the documentation runs, and importing costs little."""

import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import GenericAlias, ModuleType

import pytest

import nas_spaces

MODULES = [module.name for module in pkgutil.iter_modules(nas_spaces.__path__, "nas_spaces.")]
README = Path(__file__).resolve().parents[2] / "packages" / "nas-spaces" / "README.md"


def test_exported_names_equal_all() -> None:
    public = {
        name
        for name, value in vars(nas_spaces).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public == set(nas_spaces.__all__)
    # Their order, in which 1shot1 comes before 101, is the linter's.
    assert len(nas_spaces.__all__) == len(public)


@pytest.mark.parametrize("name", MODULES)
def test_modules_say_what_is_public(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    for public in module.__all__:
        value = getattr(module, public)
        alias = isinstance(value, GenericAlias)  # which Python 3.10 takes for a class
        if (inspect.isclass(value) and not alias) or inspect.isfunction(value):
            assert value.__doc__, f"{name}.{public} has no docstring"


@pytest.mark.parametrize("name", ["nas_spaces", *MODULES])
def test_examples_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_readme_runs() -> None:
    if not README.exists():
        pytest.skip("the README stands in the repository only")
    namespace: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(compile(block, str(README), "exec"), namespace)


def test_importing_loads_no_optional_or_heavy_library() -> None:
    code = (
        "import sys, nas_spaces; "
        "print({'torchvision', 'kornia', 'botorch', 'click', 'matplotlib', 'nats_bench'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
