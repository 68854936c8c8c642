from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_spaces import convolutions
from nas_spaces.depthwise import depthwise, merge, split


def problem(height: int, width: int, kernel: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, height, width, dtype=torch.float64, generator=generator)
    weights = torch.randn(3, 1, kernel, kernel, dtype=torch.float64, generator=generator)
    return features.contiguous(memory_format=torch.channels_last).requires_grad_(), weights.requires_grad_()


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (3, 3), (1, 2)])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 1), (5, 1, 1), (5, 2, 1), (5, 1, 2), (3, 2, 2)])
def test_it_is_the_grouped_convolution(size: tuple[int, int], kernel: int, stride: int, dilation: int) -> None:
    features, weights = problem(*size, kernel)
    ours = depthwise(features, weights, stride, dilation)
    theirs = F.conv2d(features, weights, None, stride, dilation * (kernel // 2), dilation, 3)
    torch.testing.assert_close(ours, theirs)
    grad = torch.linspace(-1, 1, ours.numel(), dtype=torch.float64).reshape(ours.shape)
    for a, b in zip(
        torch.autograd.grad(ours, [features, weights], grad),
        torch.autograd.grad(theirs, [features, weights], grad),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_second_derivatives() -> None:
    features, weights = problem(6, 5, 5)
    assert torch.autograd.gradcheck(depthwise, (features, weights))
    assert torch.autograd.gradgradcheck(depthwise, (features, weights))


def test_the_gradient_of_a_5_x_5_kernel_is_made_of_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch has no vectorised routine for it."""
    asked: list[tuple[int, ...]] = []
    by_pytorch = convolutions._by_pytorch

    def spy(grad: Tensor, features: Tensor, kernel: Tensor, *rest: Any) -> Any:
        asked.append(tuple(kernel.shape))
        return by_pytorch(grad, features, kernel, *rest)

    monkeypatch.setattr(convolutions, "_by_pytorch", spy)
    features, weights = problem(6, 8, 5)
    depthwise(features, weights).sum().backward()
    assert asked == [(3, 1, 5, 3), (6, 1, 5, 3)]


def test_gradients_that_are_not_wanted_are_not_computed() -> None:
    features, weights = problem(6, 6, 5)
    depthwise(features.detach(), weights).sum().backward()
    assert features.grad is None
    assert weights.grad is not None


def test_dilation_is_an_ordinary_convolution_of_quarters() -> None:
    features, weights = problem(6, 8, 5)
    ours = merge(depthwise(split(features), weights))
    torch.testing.assert_close(ours, depthwise(features, weights, dilation=2))


def test_merge_inverts_split() -> None:
    features, _ = problem(4, 6, 3)
    assert torch.equal(merge(split(features)), features)
    assert split(features).shape == (8, 3, 2, 3)
    assert split(features)[0, :, 0, 0].tolist() == features[0, :, 0, 0].tolist()
    assert split(features)[3, :, 0, 0].tolist() == features[1, :, 0, 1].tolist()
