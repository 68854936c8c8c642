import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

from nas_spaces.fused import add_normalized, normalized, normalized_relu
from nas_spaces.modes import by_hand

Function = Callable[[Tensor, Tensor, Tensor], Tensor]
PIXELS = (0, 2, 3)
NAMES = ["plain", "relu", "first", "further"]


def problem(size: tuple[int, int] = (3, 4), groups: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 4, *size, dtype=torch.float64, generator=generator)
    kernel = torch.randn(6, 4 // groups, 1, 1, dtype=torch.float64, generator=generator)
    scale = torch.rand((), dtype=torch.float64, generator=generator)
    last = features.contiguous(memory_format=torch.channels_last)
    return last.requires_grad_(), kernel.requires_grad_(), scale.requires_grad_()


def norm(x: Tensor) -> Tensor:
    variance = x.var(dim=PIXELS, keepdim=True, unbiased=False)
    return (x - x.mean(dim=PIXELS, keepdim=True)) / (variance + 1e-5).sqrt()


def ours(groups: int) -> dict[str, Function]:
    return {
        "plain": lambda x, kernel, scale: normalized(F.conv2d(x, kernel, groups=groups)) * scale,
        "relu": lambda x, kernel, scale: normalized_relu(x, kernel, groups) * scale,
        "first": lambda x, kernel, scale: add_normalized(None, x, kernel, scale, groups),
        "further": lambda x, kernel, scale: add_normalized(kernel.mean() * torch.ones(3, 6, *x.shape[2:]).to(x), x, kernel,
                                                           scale, groups),
    }  # fmt: skip


def longhand(groups: int) -> dict[str, Function]:
    return {
        "plain": lambda x, kernel, scale: norm(F.conv2d(x, kernel, groups=groups)) * scale,
        "relu": lambda x, kernel, scale: F.relu(norm(F.conv2d(x, kernel, groups=groups))) * scale,
        "first": lambda x, kernel, scale: scale * norm(F.conv2d(x, kernel, groups=groups)),
        "further": lambda x, kernel, scale: kernel.mean() + scale * norm(F.conv2d(x, kernel, groups=groups)),
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("size", "groups"), [((3, 4), 1), ((1, 1), 1), ((5, 2), 2)])
def test_it_is_the_definition(name: str, size: tuple[int, int], groups: int) -> None:
    inputs = problem(size, groups)
    results = [functions[name](*inputs) for functions in (ours(groups), longhand(groups))]
    torch.testing.assert_close(*results)
    target = torch.linspace(-1, 1, results[0].numel(), dtype=torch.float64).reshape(results[0].shape)
    for a, b in zip(*(torch.autograd.grad((y * target).sum(), inputs) for y in results), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", NAMES)
def test_second_derivatives(name: str) -> None:
    function = ours(1)[name]
    inputs = problem()
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("name", ["relu", "first", "further"])
def test_a_kernel_and_a_scale_that_two_steps_share(name: str) -> None:
    """The gradient that can be differentiated again is the gradient, though the second step's features depend on both."""
    features, _, scale = problem()
    kernel = torch.linspace(-1, 1, 16, dtype=torch.float64).view(4, 4, 1, 1).requires_grad_()
    inputs, found = (features, kernel, scale), []
    functions = ours(1) | {
        "further": lambda x, k, s: add_normalized(k.mean() * torch.ones_like(x), x, k, s),
    }
    theirs = longhand(1)
    for function in (functions[name], theirs[name]):
        alone, loss = (function(function(*inputs), kernel, scale).tanh().sum() for _ in range(2))
        first = torch.autograd.grad(loss, inputs, create_graph=True)
        second = torch.autograd.grad(torch.stack([g.square().sum() for g in first]).sum(), inputs)
        found.append([*torch.autograd.grad(alone, inputs), *first, *second])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("groups", [1, 4])
def test_many_channels(groups: int) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 80, 3, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    kernel = torch.randn(80, 80 // groups, 1, 1, dtype=torch.float64, generator=generator, requires_grad=True)
    inputs = features, kernel, torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    results = [functions["first"](*inputs) for functions in (ours(groups), longhand(groups))]
    torch.testing.assert_close(*results)
    for a, b in zip(*(torch.autograd.grad(y.tanh().sum(), inputs) for y in results), strict=True):
        torch.testing.assert_close(a, b)


def test_products_in_bfloat16_are_not_taken_for_convolutions() -> None:
    features, kernel, scale = (x.detach().float() for x in problem((16, 16)))
    expected = add_normalized(None, features, kernel, scale)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.9 recommends other settings
        torch.set_float32_matmul_precision("medium")
        try:
            assert not by_hand(features)
            torch.testing.assert_close(add_normalized(None, features, kernel, scale), expected)
        finally:
            torch.set_float32_matmul_precision("highest")


def test_the_precision_of_another_device_is_none_of_ours() -> None:
    """Where one backend's is set, PyTorch refuses to say what that of all is."""
    features, kernel, scale = (x.detach().float() for x in problem((16, 16)))
    products = torch.backends.cuda.matmul
    before = products.fp32_precision
    products.fp32_precision = "tf32"
    try:
        assert by_hand(features)
        add_normalized(None, features, kernel, scale)
    finally:
        products.fp32_precision = before


@pytest.mark.parametrize("name", NAMES)
def test_features_in_the_other_memory_format(name: str) -> None:
    features, *others = problem()
    inputs = features.detach().contiguous().requires_grad_(), *others
    results = [functions[name](*inputs) for functions in (ours(1), longhand(1))]
    firsts = [torch.autograd.grad(y.tanh().sum(), inputs, create_graph=True) for y in results]
    squares = [torch.stack([g.square().sum() for g in first]).sum() for first in firsts]
    seconds = [torch.autograd.grad(square, inputs) for square in squares]
    for found, expected in (results, *zip(*firsts, strict=True), *zip(*seconds, strict=True)):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", NAMES)
def test_backward_passes_under_autocast_have_the_precision_of_the_forward_pass(name: str) -> None:
    inputs = [x.detach().float().requires_grad_() for x in problem()]
    found: list[list[Tensor]] = []
    for enabled in (False, True):
        loss = ours(1)[name](*inputs).tanh().sum()
        differentiated = ours(1)[name](*inputs).tanh().sum()
        first = torch.autograd.grad(differentiated, inputs, create_graph=True)
        square = torch.stack([g.square().sum() for g in first]).sum()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append([*torch.autograd.grad(loss, inputs), *torch.autograd.grad(square, inputs)])
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", NAMES)
def test_features_without_deviation(name: str) -> None:
    """Their rounding is squared with a sign: its square root must be one of a positive number."""
    _, kernel, scale = problem()
    features = torch.full((3, 4, 3, 4), 1000.1).contiguous(memory_format=torch.channels_last).requires_grad_()
    output = ours(1)[name](features, kernel.float(), scale.float())
    (grad,) = torch.autograd.grad(output.square().sum(), features)
    assert output.isfinite().all()
    assert grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2)])
def test_only_what_is_wanted_is_differentiated(name: str, wanted: tuple[int, ...]) -> None:
    inputs = [x.detach().requires_grad_(index in wanted) for index, x in enumerate(problem())]
    chosen = [inputs[index] for index in wanted]
    target = torch.linspace(-1, 1, 3 * 6 * 12, dtype=torch.float64).reshape(3, 6, 3, 4)
    results = [functions[name](*inputs) for functions in (ours(1), longhand(1))]
    for a, b in zip(*(torch.autograd.grad((y * target).sum(), chosen) for y in results), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", NAMES)
def test_forward_mode(name: str) -> None:
    inputs = [x.detach() for x in problem()]
    tangents = [torch.linspace(-1, 1, x.numel(), dtype=torch.float64).reshape(x.shape) for x in inputs]
    found: list[Any] = []
    for functions in (ours(1), longhand(1)):
        with forward_ad.dual_level():
            duals = [forward_ad.make_dual(x, t) for x, t in zip(inputs, tangents, strict=True)]
            found.append(forward_ad.unpack_dual(functions[name](*duals)).tangent)
    torch.testing.assert_close(*found)


def test_forward_over_reverse() -> None:
    """The other way to a Hessian-vector product: a derivative of the gradient in forward mode."""
    inputs = problem()
    tangent = torch.linspace(-1, 1, inputs[1].numel(), dtype=torch.float64).reshape(inputs[1].shape)
    found: list[Any] = []
    for functions in (ours(1), longhand(1)):
        with forward_ad.dual_level():
            kernel = forward_ad.make_dual(inputs[1].detach().requires_grad_(), tangent)
            output = functions["further"](inputs[0], kernel, inputs[2]).square().sum()
            (grad,) = torch.autograd.grad(output, inputs[0])
            found.append(forward_ad.unpack_dual(grad).tangent)
    torch.testing.assert_close(*found)


def test_the_input_alone_is_kept() -> None:
    """The output of the convolution is computed again instead."""
    kept: list[Tensor] = []

    def pack(x: Tensor) -> Tensor:
        kept.append(x)
        return x

    features, kernel, scale = problem((8, 8))
    total = torch.zeros(3, 6, 8, 8, dtype=torch.float64)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        add_normalized(total, features, kernel, scale)
    large = [x for x in kept if x.numel() > kernel.numel()]
    assert [x.data_ptr() for x in large] == [features.data_ptr()]


def test_a_sum_of_which_only_the_first_part_is_differentiated_twice() -> None:
    """As where one operation is frozen and another is not."""
    features, kernel, scale = (x.detach() for x in problem())
    total = torch.linspace(-1, 1, 3 * 6 * 12, dtype=torch.float64).reshape(3, 6, 3, 4).requires_grad_()
    output = add_normalized(2 * total, features, kernel, scale)
    (grad,) = torch.autograd.grad(output.square().sum(), total, create_graph=True)
    (second,) = torch.autograd.grad(grad.sum(), total)
    torch.testing.assert_close(grad, 4 * output)
    assert (second == 8).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_single_value_has_no_statistics(name: str) -> None:
    features, kernel, scale = problem((1, 1))
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        ours(1)[name](features[:1], kernel, scale)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_small_features_in_half_precision(name: str, dtype: torch.dtype) -> None:
    """Their inverse deviation is about 100; its cube would overflow float16."""
    exact = problem()
    with torch.no_grad():
        exact[0].mul_(1e-3)
    inputs = tuple(x.detach().to(dtype).requires_grad_() for x in exact)
    found, expected = ours(1)[name](*inputs), longhand(1)[name](*exact)
    target = torch.linspace(-1, 1, found.numel()).reshape(found.shape)
    results = [
        (output, *torch.autograd.grad((output * target.to(output)).sum(), leaves))
        for output, leaves in ((found, inputs), (expected, exact))
    ]
    for a, b in zip(*results, strict=True):
        assert (a.double() - b).norm() < 0.1 * b.norm()
