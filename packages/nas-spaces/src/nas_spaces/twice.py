"""Convolution and batch normalisation whose second derivatives cost what they must on a CPU.

PyTorch has both, but slowly: the second derivative of a batch normalisation is a chain of elementwise operations in another
memory format, which the operations after it inherit, and that of a convolution takes the features for a kernel as large as
they are. Here the gradient is a function of its own, whose derivative is written by hand; forward and first derivative of a
convolution are those of `nas_spaces.convolutions`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_spaces.convolutions import Sizes, convolve, gradients
from nas_spaces.modes import by_hand, outside_autocast, transformed

__all__ = ["EPSILON", "batch_norm", "conv2d"]

EPSILON = 1e-5


def conv2d(
    features: Tensor, kernel: Tensor, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
) -> Tensor:
    """``F.conv2d`` without bias; `features` ``(b, inputs, h, w)``, `kernel` ``(outputs, inputs / groups, k, k)``."""
    sizes = (stride, padding, dilation, groups)
    return (
        _Convolution.apply(features, kernel, sizes)
        if by_hand(features, kernel)
        else F.conv2d(features, kernel, None, *sizes)
    )


def batch_norm(features: Tensor, factor: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """``F.batch_norm`` with the statistics of the batch; `features` ``(b, c, h, w)``, `factor` and `bias` ``(c,)``."""
    if by_hand(features) and features.numel() > features.shape[1]:
        scaled = _Norm.apply(features, features.new_ones(features.shape[1]) if factor is None else factor)
        return scaled if bias is None else scaled + bias[:, None, None]
    return F.batch_norm(features, None, None, weight=factor, bias=bias, training=True, eps=EPSILON)


def _by_pytorch(
    function: Callable[..., Tensor], grad: Tensor, inputs: Sequence[Tensor], along: tuple[Tensor | None, ...]
) -> list[Tensor | None]:
    """The derivatives of a gradient by PyTorch's own operations, for whoever differentiates a third time."""
    # Aliases: the gradient may itself depend on the inputs, and that way is not to be counted here.
    grad, *inputs = given = [x.view_as(x) for x in (grad, *inputs)]
    chosen = [(x, vector) for x, vector in zip(inputs, along, strict=True) if vector is not None and x.requires_grad]
    first = torch.autograd.grad(function(*inputs), [x for x, _ in chosen], grad, create_graph=True)
    learned = [x for x in given if x.requires_grad]
    vectors = [vector for _, vector in chosen]
    found = iter(torch.autograd.grad(first, learned, vectors, create_graph=True, allow_unused=True))
    return [next(found) if x.requires_grad else None for x in given]


def _written_out(features: Tensor, factor: Tensor) -> Tensor:
    """The normalisation by its definition: PyTorch's own has no third derivative, and in torch 2.9 a wrong one."""
    centered = features - features.mean((0, 2, 3), keepdim=True)
    variance = centered.square().mean((0, 2, 3), keepdim=True)
    return centered * (variance + EPSILON).rsqrt() * factor[:, None, None]


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, kernel: Tensor, sizes: Sizes) -> Tensor:
        ctx.save_for_backward(features, kernel)
        ctx.sizes = sizes
        return convolve(features, kernel, sizes)

    @staticmethod
    @outside_autocast
    def backward(ctx: Any, *grads: Tensor) -> Any:
        features, kernel = ctx.saved_tensors
        find = _ConvolutionBackward.apply if torch.is_grad_enabled() else gradients
        return *find(grads[0], features, kernel, ctx.sizes, ctx.needs_input_grad[:2]), None


class _ConvolutionBackward(torch.autograd.Function):
    """The gradients are linear in the gradient of the output and in one of the inputs each: so are all their derivatives."""

    @staticmethod
    def forward(
        ctx: Any, grad: Tensor, features: Tensor, kernel: Tensor, sizes: Sizes, wanted: tuple[bool, bool]
    ) -> Any:
        ctx.save_for_backward(grad, features, kernel)
        ctx.sizes = sizes
        ctx.set_materialize_grads(False)
        return gradients(grad, features, kernel, sizes, wanted)

    @staticmethod
    @outside_autocast
    def backward(ctx: Any, *along: Tensor | None) -> Any:
        grad, features, kernel = ctx.saved_tensors
        if torch.is_grad_enabled():
            found = _by_pytorch(lambda x, k: F.conv2d(x, k, None, *ctx.sizes), grad, (features, kernel), along)
            return *found, None, None
        along_features, along_kernel = along
        pairs = [
            (x, k) for x, k in ((along_features, kernel), (features, along_kernel)) if x is not None and k is not None
        ]
        to_grad = to_features = to_kernel = None
        if pairs and ctx.needs_input_grad[0]:
            if ctx.sizes[-1] == 1:  # both sums over the input channels as one
                pairs = [(torch.cat([x for x, _ in pairs], dim=1), torch.cat([k for _, k in pairs], dim=1))]
            terms = [convolve(x, k, ctx.sizes) for x, k in pairs]
            to_grad = sum(terms[1:], terms[0])
        to_features_wanted = ctx.needs_input_grad[1] and along_kernel is not None
        to_kernel_wanted = ctx.needs_input_grad[2] and along_features is not None
        if to_features_wanted or to_kernel_wanted:
            x, k = (
                (features if along_features is None else along_features),
                (kernel if along_kernel is None else along_kernel),
            )
            to_features, to_kernel = gradients(grad, x, k, ctx.sizes, (to_features_wanted, to_kernel_wanted))
        return to_grad, to_features, to_kernel, None, None


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, factor: Tensor) -> Tensor:
        output, mean, inverse = torch.native_batch_norm(features, factor, None, None, None, True, 0.0, EPSILON)
        ctx.save_for_backward(features, factor, mean, inverse)
        return output

    @staticmethod
    @outside_autocast
    def backward(ctx: Any, *grads: Tensor) -> Any:
        features = ctx.saved_tensors[0]
        grad = _like(grads[0], features)
        if not torch.is_grad_enabled():
            return _norm_backward(grad, *ctx.saved_tensors)
        return _NormBackward.apply(grad, *ctx.saved_tensors)


def _like(grad: Tensor, features: Tensor) -> Tensor:
    """In the memory format of the features: in any other the kernels are four times slower."""
    if transformed(grad):
        return grad
    last = features.is_contiguous(memory_format=torch.channels_last)
    return grad.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def _norm_backward(grad: Tensor, features: Tensor, factor: Tensor, mean: Tensor, inverse: Tensor) -> Any:
    to_features, to_factor, _ = torch.ops.aten.native_batch_norm_backward(
        grad, features, factor, None, None, mean, inverse, True, EPSILON, [True, True, False]
    )
    return to_features, to_factor


class _NormBackward(torch.autograd.Function):
    """``f i P(g)`` and ``sum(g z)``, with ``z = (x - mean) i`` and ``P(v) = v - mean(v) - z mean(v z)``, `P` symmetric."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, features: Tensor, factor: Tensor, mean: Tensor, inverse: Tensor) -> Any:
        ctx.save_for_backward(grad, features, factor, mean, inverse)
        return _norm_backward(grad, features, factor, mean, inverse)

    @staticmethod
    @outside_autocast
    def backward(ctx: Any, *along: Tensor) -> Any:
        # S = <u, f i P(g)> + <a, sum(g z)>, with P(g) = g - m(g) - z m(g z):
        # dS/dg = f i P(u) + a z,  dS/df = i <u, P(g)>,
        # dS/dx = i P(a g - f i (u m(g z) + g m(u z))) - f i^2 z <u, P(g)> / n.
        grad, features, factor, mean, inverse = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_by_pytorch(_written_out, grad, (features, factor), along), None, None
        if transformed(*along):  # either a batch where one is, since what is no batch cannot be added to in place
            along = tuple(a + torch.zeros_like(b).sum() for a, b in zip(along, reversed(along), strict=True))
        channels = features.shape[1]
        rows = [tensor.permute(0, 2, 3, 1).reshape(-1, channels) for tensor in (grad, features, along[0])]
        g, x, u = rows
        n = len(g)
        z = (x - mean).mul_(inverse)
        mean_g, mean_u = g.mean(dim=0), u.mean(dim=0)
        mean_gz, mean_uz, mean_ug = (torch.linalg.vecdot(p, q, dim=0) / n for p, q in ((g, z), (u, z), (u, g)))
        slope = factor * inverse
        inner = mean_ug - mean_u * mean_g - mean_uz * mean_gz  # <u, P(g)> / n
        to_factor = n * inverse * inner
        to_grad = (u * slope).add_(-slope * mean_u).addcmul_(z, along[1] - slope * mean_uz)
        of_g, of_u = inverse * (along[1] - slope * mean_uz), -inverse * slope * mean_gz
        of_z = -(of_g * mean_gz + of_u * mean_uz + slope * inverse * inner)
        to_features = (g * of_g).addcmul_(u, of_u).addcmul_(z, of_z).sub_(of_g * mean_g + of_u * mean_u)
        b, _, h, w = features.shape
        to_grad, to_features = (rows.view(b, h, w, channels).permute(0, 3, 1, 2) for rows in (to_grad, to_features))
        return to_grad, to_features, to_factor, None, None
