"""Batch normalisation with the pointwise convolution before it and what follows, as one step.

PyTorch keeps the output of the convolution and of the normalisation for the backward pass. Neither is needed, and memory that
is not taken is time that is not spent. The mean is taken off before the squares are summed: in float32 PyTorch's own routine
for channels-last features loses a digit there. Written for float32 and float64 on a CPU: elsewhere, and wherever the gradient
is itself differentiated, the same function is a convolution and a normalisation by `nas_spaces.twice`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_spaces.convolutions import channels_last, pixel_rows
from nas_spaces.modes import by_hand, outside_autocast, traced, transformed
from nas_spaces.twice import EPSILON, batch_norm, conv2d

__all__ = ["add_normalized", "normalized", "normalized_relu"]

_PIXELS = (0, 2, 3)
_NARROW = 64
"""Up to how many channels a product of matrices takes as long as a sum of as many pixels."""


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
    if _fusible(features, kernel) and _narrow(kernel, groups):
        return _NormalizedReLU.apply(features, kernel, groups)
    return _normalized_relu(features, kernel, groups)


def add_normalized(total: Tensor | None, features: Tensor, kernel: Tensor, scale: Tensor, groups: int = 1) -> Tensor:
    """``total + scale * norm(kernel * features)`` with the statistics of the batch; `total` is written over where that is possible.

    Args:
        total: ``(batch, outputs, height, width)``, or nothing; it must share no memory with the features.
        features: ``(batch, inputs, height, width)``.
        kernel: ``(outputs, inputs / groups, 1, 1)``.
        scale: ``()``, a single number of the type of the features.
        groups: of the convolution.
    """
    if _fusible(features, kernel, scale) and _narrow(kernel, groups):
        return _AddNormalized.apply(total, features, kernel, scale, groups)
    term = _scaled_norm(features, kernel, scale, groups)
    if total is None:
        return term
    return total + term if transformed(total, term) else total.add_(term)  # vmap has no rule for the other one


def _fusible(*tensors: Tensor) -> bool:
    features = tensors[0]
    return (
        by_hand(*tensors)
        # In half precision the cube of the inverse deviation is too large a number.
        and features.dtype in (torch.float32, torch.float64)
        # A single value of each channel has no deviation, and PyTorch says so.
        and features.numel() > features.shape[1]
    )


def _narrow(kernel: Tensor, groups: int) -> bool:
    """Whether the zeros between groups cost less than is saved."""
    return groups == 1 or len(kernel) <= _NARROW


def _normalized(features: Tensor) -> Tensor:
    return batch_norm(features)


def _normalized_relu(features: Tensor, kernel: Tensor, groups: int) -> Tensor:
    return F.relu(_normalized(conv2d(features, kernel, groups=groups)))


def _scaled_norm(features: Tensor, kernel: Tensor, scale: Tensor, groups: int) -> Tensor:
    convolved = conv2d(features, kernel, groups=groups)
    # A copy, since the CPU kernel of the gradient reads the factors as if they lay side by side in memory.
    return batch_norm(convolved, scale.repeat(convolved.shape[1]))


def _matrix(kernel: Tensor, groups: int) -> Tensor:
    """The kernel as ``(outputs, inputs)``, zero between groups."""
    return kernel.flatten(1) if groups == 1 else torch.block_diag(*kernel.flatten(1).chunk(groups))


def _kernel(matrix: Tensor, like: Tensor, groups: int) -> Tensor:
    """The inverse of `_matrix`, which leaves out what is between groups."""
    if groups > 1:
        matrix = torch.cat([rows.chunk(groups, dim=1)[index] for index, rows in enumerate(matrix.chunk(groups))])
    return matrix.view_as(like)


# Below, factors of 1 / n are arguments of the products: a tensor times a number takes Python five times as long as a
# tensor times a tensor of the same small size, and of these there are some thirty in a pass through one operation.


def _centered(x: Tensor, matrix: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
    """Write the convolution less its mean, ``c = W (x - mean(x))``, into `output`.

    Args:
        x: the features, ``(pixels, inputs)``.
        matrix: W, ``(outputs, inputs)``.
        output: ``(pixels, outputs)``.

    Returns:
        ``sum(x)`` and the inverse deviation of c, ``(outputs,)``.
    """
    n = len(x)
    total = x.sum(dim=0)
    torch.addmm(matrix.mv(total), x, matrix.t(), beta=-1 / n, out=output)
    # The diagonal of a product reads once and writes nothing.
    squares = output.t().mm(output).diagonal() if len(matrix) <= _NARROW else (output * output).sum(dim=0)
    return total, torch.add(x.new_full((), EPSILON), squares, alpha=1 / n).rsqrt_()


def _gradients(
    g: Tensor,
    x: Tensor,
    matrix: Tensor,
    statistics: Sequence[Tensor],
    factor: Tensor,
    wanted: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor]:
    """Of ``y = f i c`` with the centered convolution ``c = W (x - mean(x))`` and the inverse deviation i of each channel.

    That of c is ``f i (g - mean(g) - c i^2 sum(g c) / n)``. Put into the products of the convolution, everything is a product
    with g or with x, and c, which is as large as x, is not made again.

    Args:
        g: that of the output, ``(pixels, outputs)``.
        x: the features, ``(pixels, inputs)``.
        matrix: W, ``(outputs, inputs)``.
        statistics: what `_centered` returned.
        factor: ``f i``.
        wanted: whether that of x and that of W are.

    Returns:
        the gradients with respect to x and W, and that with respect to each channel's f.
    """
    n = len(x)
    total, inverse = statistics
    total_g = g.sum(dim=0)
    along = torch.addr(g.t().mm(x), total_g, total, alpha=-1 / n)  # g' (x - mean(x))
    to_factor = (along * matrix).sum(dim=1).mul_(inverse)  # sum(g c) i
    column = factor.unsqueeze(1)
    second = (factor * inverse).mul_(to_factor).unsqueeze(1) * matrix
    to_x = to_matrix = None
    if wanted[0]:
        first, back = column * matrix, matrix.t().mm(second)
        constant = torch.addmv(back.mv(total), first.t(), total_g, beta=1 / n**2, alpha=-1 / n)
        to_x = torch.addmm(constant, g, first).addmm_(x, back, alpha=-1 / n)
    if wanted[1]:
        covariance = torch.addr(x.t().mm(x), total, total, alpha=-1 / n)
        to_matrix = (column * along).addmm_(second, covariance, alpha=-1 / n)
    return to_x, to_matrix, to_factor


def _last(features: Tensor) -> Tensor:
    return features.contiguous(memory_format=torch.channels_last)


def _as_features(rows: Tensor | None, like: Tensor) -> Tensor | None:
    """The inverse of `pixel_rows`."""
    if rows is None:
        return None
    b, _, h, w = like.shape
    return rows.view(b, h, w, -1).permute(0, 3, 1, 2)


class _Normalized(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        mean = features.mean(_PIXELS, keepdim=True)
        centered = features - mean
        inverse = (centered * centered).mean(_PIXELS, keepdim=True).add_(EPSILON).rsqrt_()
        ctx.save_for_backward(features, mean, inverse)
        return centered.mul_(inverse)

    @staticmethod
    @outside_autocast
    def backward(ctx: Any, *grads: Tensor) -> Any:
        features, mean, inverse = ctx.saved_tensors
        (grad,) = grads
        if torch.is_grad_enabled() or traced(grad, features):
            return _differentiable(_normalized, (features,), grad, (True,))[0]
        # i (g - mean(g) - c i^2 sum(g c) / n), written over c.
        centered = features - mean
        along = (grad * centered).mean(_PIXELS, keepdim=True) * -inverse.pow(3)
        torch.addcmul(grad.mean(_PIXELS, keepdim=True) * -inverse, centered, along, out=centered)
        return centered.addcmul_(grad, inverse)


class _NormalizedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, kernel: Tensor, groups: int) -> Tensor:
        output = channels_last(features, len(kernel))
        rows = pixel_rows(output)
        statistics = _centered(pixel_rows(_last(features)), _matrix(kernel, groups), rows)
        rows.mul_(statistics[-1]).relu_()
        ctx.groups = groups
        ctx.save_for_backward(features, kernel, output, *statistics)
        return output

    @staticmethod
    @outside_autocast
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        features, kernel, output, *statistics = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled() or traced(grad, features, kernel):
            parts = _differentiable(lambda x, k: _normalized_relu(x, k, ctx.groups), (features, kernel), grad, wanted)
            return *parts, None
        g = pixel_rows(_last(torch.ops.aten.threshold_backward(grad, output, 0)))
        x, matrix = pixel_rows(_last(features)), _matrix(kernel, ctx.groups)
        to_x, to_matrix, _ = _gradients(g, x, matrix, statistics, statistics[-1], wanted)
        to_kernel = None if to_matrix is None else _kernel(to_matrix, kernel, ctx.groups)
        return _as_features(to_x, features), to_kernel, None


class _AddNormalized(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, total: Tensor | None, features: Tensor, kernel: Tensor, scale: Tensor, groups: int) -> Tensor:
        output = channels_last(features, len(kernel))
        rows = pixel_rows(output)
        statistics = _centered(pixel_rows(_last(features)), _matrix(kernel, groups), rows)
        ctx.groups = groups
        ctx.save_for_backward(features, kernel, scale, *statistics)
        factor = statistics[-1] * scale
        if total is None:
            rows.mul_(factor)
            return output
        ctx.mark_dirty(total)
        return total.addcmul_(output, factor[:, None, None])

    @staticmethod
    @outside_autocast
    def backward(ctx: Any, *grads: Tensor) -> Any:
        features, kernel, scale, *statistics = ctx.saved_tensors
        to_total, *wanted = ctx.needs_input_grad[:4]
        if torch.is_grad_enabled() or traced(grads[0], features, kernel, scale):
            parts = _differentiable(
                lambda x, k, s: _scaled_norm(x, k, s, ctx.groups), (features, kernel, scale), grads[0], wanted
            )
            return grads[0] if to_total else None, *parts, None
        grad = _last(grads[0])  # once for the whole sum, since the gradient that is handed on is the next one's
        x, matrix = pixel_rows(_last(features)), _matrix(kernel, ctx.groups)
        factor = statistics[-1] * scale
        to_x, to_matrix, to_factor = _gradients(pixel_rows(grad), x, matrix, statistics, factor, wanted)
        to_kernel = None if to_matrix is None else _kernel(to_matrix, kernel, ctx.groups)
        to_scale = to_factor.sum().reshape(scale.shape) if wanted[2] else None
        return grad if to_total else None, _as_features(to_x, features), to_kernel, to_scale, None


def _differentiable(
    function: Callable[..., Tensor], inputs: tuple[Tensor, ...], grad: Tensor, wanted: Sequence[bool]
) -> list[Tensor | None]:
    """The gradients by operations that can be differentiated again."""
    if not any(wanted):
        return [None] * len(wanted)
    with torch.enable_grad():
        # Aliases: one input may depend on another, and that way is not to be counted here.
        inputs = tuple(x.view_as(x) for x in inputs)
        output = function(*inputs)
        chosen = [x for x, wants in zip(inputs, wanted, strict=True) if wants]
        found = iter(torch.autograd.grad(output, chosen, grad, create_graph=True))
    return [next(found) if wants else None for wants in wanted]
