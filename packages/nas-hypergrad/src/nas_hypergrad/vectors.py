"""Arithmetic of vectors that are dictionaries of tensors, keyed like the inner variables."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

__all__ = ["Vector", "add_in_place", "clone", "dot", "is_finite", "norm", "norms", "scale", "zeros_like"]

Vector: TypeAlias = dict[str, Tensor]

_NARROW = (torch.float16, torch.bfloat16)


def clone(vector: Mapping[str, Tensor]) -> Vector:
    """A copy that may be changed in place."""
    return {name: value.clone() for name, value in vector.items()}


def zeros_like(vector: Mapping[str, Tensor]) -> Vector:
    """Zeros of the same shapes."""
    return {name: torch.zeros_like(value) for name, value in vector.items()}


def scale(vector: Vector, factor: float | Tensor) -> Vector:
    """``factor * vector``."""
    scaled = torch._foreach_mul(list(vector.values()), factor)
    return dict(zip(vector, scaled, strict=True))


def add_in_place(target: Vector, vector: Vector, factor: float | Tensor = 1.0) -> None:
    """``target += factor * vector``, without a temporary where `factor` is a number."""
    if isinstance(factor, Tensor):
        vector, factor = scale(vector, factor), 1.0
    torch._foreach_add_(list(target.values()), [vector[name] for name in target], alpha=factor)


def dot(left: Vector, right: Vector) -> Tensor:
    """The inner product, a scalar tensor; half precision is summed in single precision."""
    parts = [(value * right[name]).sum(dtype=_wide(value)) for name, value in left.items()]
    return parts[0] if len(parts) == 1 else torch.stack([part.to(parts[0]) for part in parts]).sum()


def norm(vector: Vector) -> Tensor:
    """The Euclidean norm over all entries, a scalar tensor; half precision is summed in single precision."""
    parts = _lengths(list(vector.values()))
    return parts[0] if len(parts) == 1 else torch.linalg.vector_norm(torch.stack([part.to(parts[0]) for part in parts]))


def norms(*vectors: Vector) -> list[float]:
    """The norm of each of several vectors, with one synchronisation with the device."""
    parts = _lengths([value for vector in vectors for value in vector.values()])
    lengths = iter(torch.stack([part.to(parts[0]) for part in parts]).tolist())
    return [math.hypot(*(next(lengths) for _ in vector)) for vector in vectors]


def is_finite(vector: Vector) -> bool:
    """Whether no entry is NaN or infinite; one synchronisation with the device."""
    # The norm is finite only if all entries are and costs no mask; it may overflow where no entry does, so the exact
    # answer is asked for only then.
    return math.isfinite(float(norm(vector))) or all(bool(value.isfinite().all()) for value in vector.values())


def _lengths(values: list[Tensor]) -> Sequence[Tensor]:
    if any(value.dtype in _NARROW for value in values):
        values = [value.to(_wide(value)) for value in values]
    return torch._foreach_norm(values)


def _wide(value: Tensor) -> torch.dtype:
    return torch.float32 if value.dtype in _NARROW else value.dtype
