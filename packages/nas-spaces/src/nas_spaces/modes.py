"""Who asks for derivatives: autograd alone, or whoever must see PyTorch's own operations."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["by_hand", "outside_autocast", "traced", "transformed"]


def by_hand(*tensors: Tensor) -> bool:
    """Whether gradients written by hand may stand for PyTorch's own.

    On a CPU, for real numbers, in one precision, and where neither a compiler, nor forward mode, nor ``torch.func`` wants the
    operations. With `torch.set_float32_matmul_precision` at "medium" the products of matrices, of which those gradients are made,
    would be in bfloat16, and PyTorch's own convolutions are not. (Its getter raises where somebody has set another backend's.)
    """
    return (
        tensors[0].device.type == "cpu"
        and tensors[0].is_floating_point()
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.matmul.fp32_precision != "bf16"  # type: ignore[attr-defined]
        and not traced(*tensors)
    )


def traced(*tensors: Tensor) -> bool:
    """Whether derivatives must be made of PyTorch's own operations: for forward mode, ``torch.func`` and batches of gradients."""
    # The level and not the tensors: what has no tangent here may meet one that has it in the backward pass.
    return forward_ad._current_level >= 0 or transformed(*tensors)


def transformed(*tensors: Tensor) -> bool:
    """Whether ``torch.func`` transforms what is computed, such as ``vmap``, or one of the tensors is a batch of gradients."""
    # The first is what torch.autograd.Function itself asks before it refuses. Batches of gradients are not compiled.
    return torch._C._are_functorch_transforms_active() or (
        not torch.compiler.is_compiling() and any(map(torch._C._functorch.is_legacy_batchedtensor, tensors))
    )


def outside_autocast(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A backward pass in the precision of its forward pass, as PyTorch's own are, where somebody calls it under autocast."""

    @functools.wraps(backward)
    def run(ctx: Any, *grads: Tensor) -> Any:
        if not torch.is_autocast_enabled("cpu"):
            return backward(ctx, *grads)
        with torch.autocast("cpu", enabled=False):
            return backward(ctx, *grads)

    return run
