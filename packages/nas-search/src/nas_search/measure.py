"""What a run took, and what it ran on."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import torch

__all__ = ["choose_device", "peak_memory_mib", "versions"]

from nas_search.errors import ConfigError, did_you_mean


def choose_device(name: str) -> torch.device:
    """The device of a name; ``auto`` is the GPU where there is one.

    Raises:
        ConfigError: no such device, or CUDA is asked for and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        near = did_you_mean(name, ("auto", "cpu", "cuda"))
        raise ConfigError(f"unknown device {name!r}; expected auto, cpu or cuda; {near}") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device {name!r} is not supported; expected auto, cpu or cuda.")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device cuda was asked for, but torch finds no GPU; use --device auto or cpu, and see `nascli doctor`."
        )
    return device


def peak_memory_mib(device: torch.device) -> float | None:
    """The most memory taken so far, in MiB: of the GPU by torch, else of this process; None where unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes there, KiB elsewhere


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in ("torch", "nas-spaces", "nas-hypergrad", "nas-augment", "nas-search"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
