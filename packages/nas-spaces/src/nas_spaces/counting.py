"""Parameters and multiply-adds of a network, counted by a dry run that allocates nothing."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

__all__ = ["Counts", "count"]


@dataclass(frozen=True)
class Counts:
    """The size of a network.

    Args:
        parameters: number of trainable scalars.
        multiply_adds: multiplications of convolutions and matrix products, and the additions of the biases of convolutional and
            linear layers, for one input: what the architecture search literature calls FLOPs.
    """

    parameters: int
    multiply_adds: int


def count(network: nn.Module, *inputs: Tensor | tuple[int, ...]) -> Counts:
    """Count by one forward pass on the meta device, where no memory is taken and nothing is computed.

    Normalisation, activations and pooling are left out, as in NAS-Bench-201 and DARTS. Convolutions and matrix products count
    wherever they are made, in attention and recurrent layers too, whose biases are left out.

    Args:
        network: any module; it is copied, not touched.
        inputs: the arguments of its ``forward``, or their shapes, for a batch of one.

    Example:
        >>> count(nn.Linear(10, 5), (1, 10))
        Counts(parameters=55, multiply_adds=55)
    """
    biases = 0

    def add(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        nonlocal biases
        biases += 0 if module.bias is None else output.numel()

    # With gradients: without them attention is one kernel, and in inference mode a convolution too, of which nothing is counted.
    with torch.inference_mode(False), torch.enable_grad(), _Products() as products:
        network = copy.deepcopy(network).to("meta").eval()
        parameters = sum(p.numel() for p in network.parameters() if p.requires_grad)
        network.requires_grad_(False)  # what a module changes in place may be changed
        for module in network.modules():
            if isinstance(module, _ConvNd | nn.Linear):
                module.register_forward_hook(add)
        network(*(torch.empty(x, device="meta") if isinstance(x, tuple) else x.to("meta") for x in inputs))
    return Counts(parameters, products.multiply_adds + biases)


class _Products(TorchDispatchMode):
    """Adds up the multiplications of every convolution and matrix product; torch's own counter also tells modules apart."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.multiply_adds = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            # Of torch's formulas one multiplication and one addition are two.
            self.multiply_adds += formula(*args, **(kwargs or {}), out_val=output) // 2
        return output
