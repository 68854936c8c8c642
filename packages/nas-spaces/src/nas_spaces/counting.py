"""Parameters and multiply-adds of a network, counted by a dry run that allocates nothing."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Counts", "count"]


@dataclass(frozen=True)
class Counts:
    """The size of a network.

    Args:
        parameters: number of trainable scalars.
        multiply_adds: multiplications of convolutions and linear layers, and the additions of their biases, for one
            input: what the architecture search literature calls FLOPs.
    """

    parameters: int
    multiply_adds: int


def count(network: nn.Module, *inputs: Tensor | tuple[int, ...]) -> Counts:
    """Count by one forward pass on the meta device, where no memory is taken and nothing is computed.

    Normalisation, activations and pooling are left out, as in NAS-Bench-201 and DARTS.

    Args:
        network: any module; it is copied, not touched.
        inputs: the arguments of its ``forward``, or their shapes, for a batch of one.

    Example:
        >>> count(nn.Linear(10, 5), (1, 10))
        Counts(parameters=55, multiply_adds=55)
    """
    network = copy.deepcopy(network).to("meta").eval()
    total = 0

    def add(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, Tensor)
        positions = output.numel() // weight.shape[0]
        total += positions * (weight.numel() + (0 if module.bias is None else weight.shape[0]))

    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            module.register_forward_hook(add)
    with torch.no_grad():
        network(*(torch.empty(x, device="meta") if isinstance(x, tuple) else x.to("meta") for x in inputs))
    return Counts(sum(p.numel() for p in network.parameters() if p.requires_grad), total)
