"""The public surface: what is exported is what `__all__` says, the documentation runs, and importing costs little."""

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Literal, get_origin

import pytest

import nas_augment

MODULES = [module.name for module in pkgutil.iter_modules(nas_augment.__path__, "nas_augment.")]
README = Path(__file__).resolve().parents[2] / "packages" / "nas-augment" / "README.md"


def load(name: str) -> ModuleType:
    """The module, or a skip where the extra that it is for is not installed."""
    if name == "nas_augment.torchvision_transform":
        pytest.importorskip("torchvision")
    return importlib.import_module(name)


def test_exported_names_equal_all() -> None:
    modules = {"catalog", "fixed", "gallery", "published"}
    public = {
        name
        for name, value in vars(nas_augment).items()
        if not name.startswith("_") and (name in modules or not isinstance(value, ModuleType))
    }
    assert public == set(nas_augment.__all__)
    assert nas_augment.__all__ == sorted(nas_augment.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_modules_say_what_is_public(name: str) -> None:
    module = load(name)
    assert module.__doc__
    for public in module.__all__:
        value = getattr(module, public)
        if get_origin(value) is not Literal:  # an alias has no docstring before Python 3.14
            assert value.__doc__ is not None, f"{name}.{public} has no docstring"


@pytest.mark.parametrize("name", ["nas_augment", *MODULES])
def test_examples_run(name: str) -> None:
    assert doctest.testmod(load(name)).failed == 0


def test_readme_runs() -> None:
    if not README.exists():
        pytest.skip("the README stands in the repository only")
    namespace: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(compile(block, str(README), "exec"), namespace)


def test_importing_loads_no_optional_or_heavy_library() -> None:
    code = (
        "import sys, nas_augment; "
        "print({'torchvision', 'kornia', 'PIL', 'matplotlib', 'click', 'botorch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_without_the_optional_libraries_everything_else_works() -> None:
    code = """
import sys
for name in ("torchvision", "PIL", "matplotlib"):
    sys.modules[name] = None
import torch
import nas_augment.export, nas_augment.gallery, nas_augment.testing
from nas_augment import LearnablePolicy, Policy, catalog, preset
images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
for name in catalog.names():
    policy = catalog.policy(name)
    policy(images, generator=torch.Generator())
    Policy.from_json(policy.decide().to_json()).apply(images, generator=torch.Generator(), masks=images)
print(LearnablePolicy(preset("fast_aa")).grid(images).shape[0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "3"
