"""Batch normalisation with the pointwise convolution before it and what follows, as one step that keeps its input alone.

PyTorch keeps the output of the convolution and of the normalisation for the backward pass. Both are cheap to compute
again, and memory that is not taken is time that is not spent. The mean is taken off before the squares are summed: in
float32 PyTorch's own routine for channels-last features loses a digit there. Written for float32 and float64 on a CPU:
elsewhere, and wherever the gradient is itself differentiated, the same function runs as PyTorch's own operations.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_spaces.twice import EPSILON, batch_norm, by_hand, conv2d, convolution_gradients, convolve, traced

__all__ = ["add_normalized", "by_hand", "normalized", "normalized_relu"]

_PIXELS = (0, 2, 3)


def normalized(features: Tensor) -> Tensor:
    """``norm(features)`` with the statistics of the batch, ``(batch, channels, height, width)``."""
    return _Normalized.apply(features) if _fusible(features) else _normalized(features)


def normalized_relu(features: Tensor, kernel: Tensor, groups: int = 1) -> Tensor:
    """``relu(norm(kernel * features))`` with the statistics of the batch.

    Args:
        features: ``(batch, inputs, height, width)``.
        kernel: ``(outputs, inputs / groups, 1, 1)``.
        groups: of the convolution.
    """
    if _fusible(features, kernel):
        return _NormalizedReLU.apply(features, kernel, groups)
    return _normalized_relu(features, kernel, groups)


def add_normalized(total: Tensor | None, features: Tensor, kernel: Tensor, scale: Tensor, groups: int = 1) -> Tensor:
    """``total + scale * norm(kernel * features)`` with the statistics of the batch; `total` is written over.

    Args:
        total: ``(batch, outputs, height, width)``, or nothing.
        features: ``(batch, inputs, height, width)``.
        kernel: ``(outputs, inputs / groups, 1, 1)``.
        scale: a single number.
        groups: of the convolution.
    """
    if _fusible(features, kernel, scale):
        return _AddNormalized.apply(total, features, kernel, scale, groups)
    term = _scaled_norm(features, kernel, scale, groups)
    return term if total is None else total.add_(term)


def _fusible(*tensors: Tensor) -> bool:
    features = tensors[0]
    return (
        by_hand(*tensors)
        # In half precision the cube of the inverse deviation is too large a number.
        and features.dtype in (torch.float32, torch.float64)
        # A single value of each channel has no deviation, and PyTorch says so.
        and features.numel() > features.shape[1]
    )


def _normalized(features: Tensor) -> Tensor:
    return batch_norm(features)


def _normalized_relu(features: Tensor, kernel: Tensor, groups: int) -> Tensor:
    return F.relu(_normalized(conv2d(features, kernel, groups=groups)))


def _scaled_norm(features: Tensor, kernel: Tensor, scale: Tensor, groups: int) -> Tensor:
    convolved = conv2d(features, kernel, groups=groups)
    # A copy, since the CPU kernel of the gradient reads the factors as if they lay side by side in memory.
    return batch_norm(convolved, scale.repeat(convolved.shape[1]))


def _bias(features: Tensor, kernel: Tensor, groups: int) -> Tensor:
    """What centres the convolution, ``(outputs,)``: less its mean, which is that of the features times the kernel."""
    mean = features.mean(_PIXELS).view(groups, -1, 1)
    return (kernel.view(groups, -1, kernel.shape[1]) @ mean).neg_().flatten()


def _inverse_deviation(centered: Tensor) -> Tensor:
    return (centered * centered).mean(_PIXELS, keepdim=True).add_(EPSILON).rsqrt_()


def _to_convolved(grad: Tensor, centered: Tensor, inverse: Tensor, factor: Tensor, dot: Tensor) -> Tensor:
    """The gradient of ``factor * centered * inverse`` with respect to the convolution, written over `centered`.

    With n values per channel, ``f i (g - mean(g) - c i^2 sum(g c) / n)``.
    """
    slope = factor * inverse
    count = centered.numel() // centered.shape[1]
    along = slope * inverse * inverse * dot / -count
    torch.addcmul(grad.mean(_PIXELS, keepdim=True) * -slope, centered, along, out=centered)
    return centered.addcmul_(grad, slope)


class _Normalized(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        mean = features.mean(_PIXELS, keepdim=True)
        centered = features - mean
        inverse = _inverse_deviation(centered)
        ctx.save_for_backward(features, mean, inverse)
        return centered.mul_(inverse)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        features, mean, inverse = ctx.saved_tensors
        if torch.is_grad_enabled() or traced(grads[0], features):
            return _differentiable(_normalized, (features,), grads[0], (True,))[0]
        centered = features - mean
        dot = (grads[0] * centered).sum(_PIXELS, keepdim=True)
        return _to_convolved(grads[0], centered, inverse, torch.ones_like(inverse), dot)


class _NormalizedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, kernel: Tensor, groups: int) -> Tensor:
        bias = _bias(features, kernel, groups)
        centered = convolve(features, kernel, bias, (1, 0, 1, groups))
        inverse = _inverse_deviation(centered)
        output = centered.mul_(inverse).relu_()
        ctx.groups = groups
        ctx.save_for_backward(features, kernel, bias, inverse, output)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        features, kernel, bias, inverse, output = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled() or traced(grad, features, kernel):
            parts = _differentiable(lambda x, k: _normalized_relu(x, k, ctx.groups), (features, kernel), grad, wanted)
            return *parts, None
        grad = torch.ops.aten.threshold_backward(grad, output, 0)
        centered = convolve(features, kernel, bias, (1, 0, 1, ctx.groups))
        dot = (grad * centered).sum(_PIXELS, keepdim=True)
        to_convolved = _to_convolved(grad, centered, inverse, torch.ones_like(inverse), dot)
        return *convolution_gradients(to_convolved, features, kernel, (1, 0, 1, ctx.groups), wanted), None


class _AddNormalized(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, total: Tensor | None, features: Tensor, kernel: Tensor, scale: Tensor, groups: int) -> Tensor:
        bias = _bias(features, kernel, groups)
        centered = convolve(features, kernel, bias, (1, 0, 1, groups))
        inverse = _inverse_deviation(centered)
        ctx.groups = groups
        ctx.save_for_backward(features, kernel, scale, bias, inverse)
        if total is None:
            return centered.mul_(inverse * scale)
        ctx.mark_dirty(total)
        return total.addcmul_(centered, inverse * scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        features, kernel, scale, bias, inverse = ctx.saved_tensors
        to_total, *wanted = ctx.needs_input_grad[:4]
        if torch.is_grad_enabled() or traced(grads[0], features, kernel, scale):
            parts = _differentiable(
                lambda x, k, s: _scaled_norm(x, k, s, ctx.groups), (features, kernel, scale), grads[0], wanted
            )
            return grads[0] if to_total else None, *parts, None
        # Once for the whole sum, since the gradient that is handed on is the next one's.
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        centered = convolve(features, kernel, bias, (1, 0, 1, ctx.groups))
        dot = (grad * centered).sum(_PIXELS, keepdim=True)
        to_features = to_kernel = None
        if wanted[0] or wanted[1]:
            to_convolved = _to_convolved(grad, centered, inverse, scale, dot)
            to_features, to_kernel = convolution_gradients(
                to_convolved, features, kernel, (1, 0, 1, ctx.groups), (wanted[0], wanted[1])
            )
        to_scale = (dot * inverse).sum().reshape(scale.shape) if wanted[2] else None
        return grad if to_total else None, to_features, to_kernel, to_scale, None


def _differentiable(
    function: Callable[..., Tensor], inputs: tuple[Tensor, ...], grad: Tensor, wanted: Sequence[bool]
) -> list[Tensor | None]:
    """The gradients by PyTorch's own operations, which can be differentiated again."""
    if not any(wanted):
        return [None] * len(wanted)
    with torch.enable_grad():
        output = function(*inputs)
        chosen = [x for x, wants in zip(inputs, wanted, strict=True) if wants]
        found = iter(torch.autograd.grad(output, chosen, grad, create_graph=True))
    return [next(found) if wants else None for wants in wanted]
