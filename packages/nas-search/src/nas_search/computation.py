"""How a run computes: number format, compiled or not, and whether every operation must be deterministic."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from nas_search.errors import ConfigError

__all__ = ["Computation", "deterministic"]


@dataclass(frozen=True)
class Computation:
    """How a network, or the supernet of a search, is computed while it is trained; what it is evaluated with is float32.

    Images and convolutions are in the channels-last memory format throughout (see `nas_search.data.Normalize`).

    Args:
        precision: ``bfloat16`` for autocast: matrix products and convolutions in bfloat16, with weights, gradients and
            optimiser in float32; ``float32``; or ``auto``, which is bfloat16 on CUDA and float32 elsewhere, and in a search also
            where its method takes second derivatives (see `nas_search.compatibility.computation_of`).
        compile: whether ``torch.compile`` compiles the network; not for a search.
        deterministic: whether only deterministic algorithms are used; an operation that has none is an error.

    Raises:
        ConfigError: an unknown precision.
    """

    precision: str = "auto"
    compile: bool = False
    deterministic: bool = False

    def __post_init__(self) -> None:
        if self.precision not in ("auto", "bfloat16", "float32"):
            raise ConfigError(f"precision is {self.precision!r}; expected auto, bfloat16 or float32.")

    def resolved(self, device: torch.device) -> str:
        """``bfloat16`` or ``float32``."""
        if self.precision != "auto":
            return self.precision
        return "bfloat16" if device.type == "cuda" else "float32"

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """What the network and its loss are computed in."""
        if self.resolved(device) == "float32":
            return nullcontext()
        return torch.autocast(device.type, torch.bfloat16)

    def record(self, device: torch.device) -> dict[str, Any]:
        """What a result says of it."""
        return {
            "device": device.type,
            "precision": self.resolved(device),
            "compile": self.compile,
            "channels_last": True,
            "deterministic": self.deterministic,
        }


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Use deterministic algorithms only, and leave torch's settings as they were; nothing if not `wanted`.

    On CUDA cuBLAS reads its workspace from the environment when it is used first: in a process that has used it before,
    torch raises an error that names the variable ``CUBLAS_WORKSPACE_CONFIG`` to set before it starts.
    """
    if not wanted:
        yield
        return
    cudnn, variable = torch.backends.cudnn, "CUBLAS_WORKSPACE_CONFIG"
    before = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
    flags, workspace = (cudnn.deterministic, cudnn.benchmark), os.environ.get(variable)
    os.environ.setdefault(variable, ":4096:8")
    try:
        torch.use_deterministic_algorithms(True)
        cudnn.deterministic, cudnn.benchmark = True, False
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.deterministic, cudnn.benchmark = flags
        if workspace is None:
            os.environ.pop(variable, None)
