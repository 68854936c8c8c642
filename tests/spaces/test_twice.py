"""Derivatives of convolution and normalisation up to the second, against differences and against PyTorch's own."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from nas_spaces import convolutions
from nas_spaces.twice import batch_norm, conv2d


def leaf(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype).requires_grad_()


SIZES = [(1, 0, 1, 1), (2, 1, 1, 1), (1, 2, 2, 4), (1, 1, 1, 2)]


@pytest.mark.parametrize("sizes", SIZES)
def test_convolution(sizes: tuple[int, int, int, int]) -> None:
    def function(features: Tensor, kernel: Tensor) -> Tensor:
        return conv2d(features, kernel, *sizes)

    inputs = leaf(2, 4, 5, 4), leaf(4, 4 // sizes[3], 3, 3)
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)
    torch.testing.assert_close(function(*inputs), F.conv2d(*inputs, None, *sizes))


class Products(TorchDispatchMode):
    """Counts the products of matrices."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += str(func.overloadpacket) in ("aten.mm", "aten.addmm")
        return func(*args, **(kwargs or {}))


LAST, FIRST = torch.channels_last, torch.contiguous_format
POINTWISE = {
    "small": ((3, 4, 5, 4), LAST, (1, 0, 1, 1), 3),
    "one pixel": ((5, 4, 1, 1), LAST, (1, 0, 1, 1), 3),
    "one channel": ((3, 1, 4, 4), LAST, (1, 0, 1, 1), 3),
    "dilated": ((3, 4, 5, 4), LAST, (1, 0, 2, 1), 3),
    "channels first": ((3, 4, 5, 4), FIRST, (1, 0, 1, 1), 0),
    "strided": ((3, 4, 5, 4), LAST, (2, 0, 1, 1), 0),
    "padded": ((3, 4, 5, 4), LAST, (1, 1, 1, 1), 0),
    "grouped": ((3, 4, 5, 4), LAST, (1, 0, 1, 2), 0),
    "too small": ((1, 4, 2, 2), LAST, (1, 0, 1, 1), 0),
    "too large": ((3, 4, 20, 20), LAST, (1, 0, 1, 1), 0),
}


@pytest.mark.parametrize("name", POINTWISE)
def test_a_pointwise_convolution_is_a_product_where_that_is_faster(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Smaller than they are: derivatives are compared entry by entry.
    monkeypatch.setattr(convolutions, "_PRODUCTS", range(25, 4000))
    shape, layout, sizes, products = POINTWISE[name]
    x = leaf(*shape).detach().contiguous(memory_format=layout).requires_grad_()
    kernel = leaf(6, shape[1] // sizes[3], 1, 1)
    grad = torch.randn(F.conv2d(x, kernel, None, *sizes).shape, dtype=torch.float64)  # channels first
    with Products() as counter:
        output = conv2d(x, kernel, *sizes)
        found = torch.autograd.grad(output, (x, kernel), grad)
    assert counter.count == products
    reference = F.conv2d(x, kernel, None, *sizes)
    torch.testing.assert_close(output, reference)
    for mine, theirs in zip(found, torch.autograd.grad(reference, (x, kernel), grad), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert output.is_contiguous(memory_format=layout)
    if products:
        assert torch.autograd.gradcheck(lambda x, k: conv2d(x, k, *sizes), (x, kernel))
        assert torch.autograd.gradgradcheck(lambda x, k: conv2d(x, k, *sizes), (x, kernel))


def test_what_a_pointwise_convolution_gives_can_be_added_to_in_place() -> None:
    x = leaf(8, 16, 16, 16).detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    kernel = leaf(16, 16, 1, 1)
    with Products() as counter:
        output = conv2d(x, kernel)
    assert counter.count == 1
    output += 1.0
    torch.testing.assert_close(output, F.conv2d(x, kernel) + 1.0)


@pytest.mark.parametrize(
    "inputs", [(leaf(3, 2, 3, 3),), (leaf(3, 2, 3, 3), leaf(2)), (leaf(3, 2, 3, 3), leaf(2), leaf(2))]
)
def test_normalisation(inputs: tuple[Tensor, ...]) -> None:
    assert torch.autograd.gradcheck(batch_norm, inputs)
    assert torch.autograd.gradgradcheck(batch_norm, inputs)
    norm: Any = F.batch_norm
    torch.testing.assert_close(batch_norm(*inputs), norm(inputs[0], None, None, *inputs[1:], training=True))


def product(block: Callable[..., Tensor], inputs: tuple[Tensor, ...], wanted: tuple[int, ...]) -> list[Tensor]:
    """A Hessian product of a loss that is nonlinear in the block, with respect to some of the inputs."""
    loss = block(*inputs).tanh().square().sum()
    grads = torch.autograd.grad(loss, [inputs[i] for i in wanted], create_graph=True)
    vectors = [torch.linspace(-1, 1, grad.numel(), dtype=grad.dtype).view_as(grad) for grad in grads]
    return list(torch.autograd.grad(grads, inputs, vectors))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 1, 2)])
def test_products_are_those_of_pytorch(wanted: tuple[int, ...], layout: Any) -> None:
    """In either memory format, and where only some derivatives are asked for."""

    def ours(x: Tensor, k: Tensor, f: Tensor) -> Tensor:
        return batch_norm(conv2d(x.relu(), k, padding=1), f)

    def theirs(x: Tensor, k: Tensor, f: Tensor) -> Tensor:
        return F.batch_norm(F.conv2d(x.relu(), k, padding=1), None, None, f, training=True)

    x = leaf(3, 4, 6, 6).detach().contiguous(memory_format=layout).requires_grad_()
    inputs = x, leaf(5, 4, 3, 3), leaf(5)
    for mine, other in zip(product(ours, inputs, wanted), product(theirs, inputs, wanted), strict=True):
        torch.testing.assert_close(mine, other)


def test_a_third_derivative_is_that_of_pytorch() -> None:
    def third(block: Callable[..., Tensor]) -> list[Tensor]:
        inputs = leaf(3, 2, 4, 4), leaf(2, 2, 3, 3)
        value = block(*inputs).tanh().sum()
        for _ in range(2):
            value = torch.stack([g.pow(2).sum() for g in torch.autograd.grad(value, inputs, create_graph=True)]).sum()
        return list(torch.autograd.grad(value, inputs))

    for mine, other in zip(third(conv2d), third(F.conv2d), strict=True):
        torch.testing.assert_close(mine, other)


def test_a_third_derivative_of_the_normalisation_is_that_of_its_definition() -> None:
    """PyTorch refuses it, and computed a wrong one before."""

    def third(norm: Callable[..., Tensor]) -> list[Tensor]:
        inputs = leaf(3, 2, 3, 3), leaf(2)
        value = norm(*inputs).tanh().sum()
        for _ in range(2):
            value = torch.stack([g.pow(2).sum() for g in torch.autograd.grad(value, inputs, create_graph=True)]).sum()
        return list(torch.autograd.grad(value, inputs))

    def definition(x: Tensor, factor: Tensor) -> Tensor:
        centered = x - x.mean((0, 2, 3), keepdim=True)
        return factor[:, None, None] * centered / (centered.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()

    for mine, other in zip(third(batch_norm), third(definition), strict=True):
        torch.testing.assert_close(mine, other)


def test_second_derivatives_in_batches() -> None:
    def products(norm: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        x, factor = leaf(3, 2, 3, 3), leaf(2)
        (first,) = torch.autograd.grad(norm(x, factor).tanh().sum(), factor, create_graph=True)
        return torch.autograd.grad(first, (x, factor), torch.eye(2, dtype=torch.float64), is_grads_batched=True)

    def theirs(x: Tensor, factor: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, factor, training=True)

    for a, b in zip(products(batch_norm), products(theirs), strict=True):
        torch.testing.assert_close(a, b)


def test_transforms_and_forward_mode_see_pytorchs_operations() -> None:
    x = leaf(3, 2, 3, 3)
    tangent = torch.func.jvp(batch_norm, (x,), (torch.ones_like(x),))[1]
    torch.testing.assert_close(tangent, torch.zeros_like(tangent), atol=1e-9, rtol=0.0)
