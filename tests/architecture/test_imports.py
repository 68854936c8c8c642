"""What importing a package may bring along."""

import subprocess
import sys

import pytest

FORBIDDEN = {
    "nas_hypergrad": {"numpy", "torchvision", "kornia", "botorch", "networkx", "click", "rich", "sklearn"},
    "nas_spaces": {"torchvision", "kornia", "botorch", "click", "rich", "sklearn", "matplotlib"},
    "nas_augment": {"torchvision", "kornia", "botorch", "click", "rich", "sklearn", "matplotlib"},
    "nas_search": {"torchvision", "kornia", "botorch", "click", "rich", "sklearn", "matplotlib"},
    "nas_cli": {"torch", "nas_search", "nas_spaces"},
}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_importing_a_package_loads_only_what_it_needs(package: str) -> None:
    # torch itself imports some of them where they are installed, so only what comes on top of torch counts.
    before = "import torch" if package != "nas_cli" else "pass"
    program = (
        f"import sys; {before}; before = set(sys.modules); import {package}; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & FORBIDDEN[package]
