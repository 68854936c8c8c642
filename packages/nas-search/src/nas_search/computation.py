"""How a run computes: number format, compiled or not, and whether every operation must be deterministic."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from nas_search.errors import ConfigError, did_you_mean

__all__ = ["Computation", "deterministic", "placed"]

Network = TypeVar("Network", bound=nn.Module)


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
            near = did_you_mean(self.precision, ("auto", "bfloat16", "float32"))
            raise ConfigError(f"precision is {self.precision!r}; expected auto, bfloat16 or float32; {near}")

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


def placed(network: Network, device: torch.device) -> Network:
    """Move a network to where it is trained, in the channels-last memory format, and return it.

    Its strided convolutions of 1 x 1 take every other pixel first and have stride 1 then, which is the same function: for few
    channels in this format oneDNN writes the gradient of strided ones outside of its memory (its issue 6035; below 8 channels
    with AVX2, 16 with AVX-512), and the process dies, or learns from wrong gradients.
    """
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    for module in network.modules():
        if not isinstance(module, nn.Conv2d) or max(module.stride) == 1:
            continue
        if module.kernel_size == (1, 1) and module.padding in ((0, 0), "valid"):
            module.register_forward_pre_hook(partial(_thinned, module.stride))
            module.stride = (1, 1)
    return network


def _thinned(stride: tuple[int, ...], _: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    return (inputs[0][..., :: stride[0], :: stride[1]],)


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
