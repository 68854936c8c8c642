"""Reverse-mode differentiation with errors that name the loss, and the bookkeeping of what is reached."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext

import torch
from torch import Tensor

from nas_hypergrad.errors import ProblemError
from nas_hypergrad.vectors import Vector

__all__ = ["check_twice_differentiable", "differentiate", "keyed", "own", "parted", "reached", "zero_filled"]


def differentiate(
    outputs: Sequence[Tensor],
    inputs: Mapping[str, Tensor],
    vectors: Sequence[Tensor] | None = None,
    *,
    role: str,
    create_graph: bool = False,
    retain_graph: bool = False,
) -> dict[str, Tensor | None]:
    """``vectors' d outputs / d inputs`` by reverse mode; None where an input is not reached.

    Raises:
        ProblemError: an operation on the way has no derivative of the required order, or was changed in place.
    """
    tensors = list(inputs.values())
    if not tensors or not outputs:
        return dict.fromkeys(inputs)
    # A backward pass belongs outside autocast: its operations repeat the dtypes of the forward pass by themselves.
    with _autocast_off():
        try:
            grads = torch.autograd.grad(
                outputs,
                tensors,
                vectors,
                retain_graph=retain_graph or create_graph,
                create_graph=create_graph,
                allow_unused=True,
            )
        except RuntimeError as error:
            explained = _explained(error, role)
            if explained is None:
                raise
            raise explained from error
    return dict(zip(inputs, grads, strict=True))


def check_twice_differentiable(
    value: Tensor, grads: Iterable[Tensor | None], inputs: Iterable[Tensor], role: str
) -> None:
    """Raise ProblemError if a gradient made with `create_graph` was cut by an operation that is differentiable once.

    Autograd raises only when it walks through such an operation, and reports what lies behind it as not reached: the
    second derivative would silently be zero. Only custom functions can do that, and compiled losses are made of them,
    so the larger graph of the gradient is searched only if the loss has one. The search ends at the `inputs`, behind which
    may lie the steps before.
    """
    ends = {x.grad_fn for x in inputs if x.grad_fn is not None}
    if any(isinstance(node, torch.autograd.function.BackwardCFunction) for node in _graph([value], ends)):
        names = {node.name() for node in _graph(grads, ends)}
        if "CompiledFunctionBackwardBackward" in names:
            raise ProblemError(_COMPILED.format(role))
        if "torch::autograd::Error" in names:
            raise ProblemError(
                f"a custom operation in {role} has no derivative of the required order (it is marked "
                "once_differentiable): replace it, or choose products=finite_difference(), which needs first "
                "derivatives only."
            )


def _graph(
    outputs: Iterable[Tensor | None], ends: set[torch.autograd.graph.Node]
) -> Iterator[torch.autograd.graph.Node]:
    waiting = [value.grad_fn for value in outputs if value is not None and value.grad_fn is not None]
    seen = {*waiting, *ends}
    while waiting:
        node = waiting.pop()
        yield node
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)


def zero_filled(grads: Mapping[str, Tensor | None], like: Mapping[str, Tensor]) -> Vector:
    """The gradients, with zeros for variables that were not reached."""
    return {
        name: torch.zeros_like(like[name], requires_grad=False) if grad is None else grad
        for name, grad in grads.items()
    }


def own(grads: Vector) -> Vector:
    """The gradients each in memory of its own: that of a sum is one number seen many times, and two summands share theirs."""
    return {name: grad.clone(memory_format=torch.contiguous_format) for name, grad in grads.items()}


def keyed(inner: Vector, outer: Vector) -> Vector:
    """Both groups in one dictionary, to differentiate with respect to both at once."""
    return {**{"w." + name: value for name, value in inner.items()}, **{"a." + name: v for name, v in outer.items()}}


def parted(
    grads: Mapping[str, Tensor | None], inner: Vector, outer: Vector
) -> tuple[dict[str, Tensor | None], dict[str, Tensor | None]]:
    """What `keyed` joined, apart again; None for names that were left out."""
    return {name: grads.get("w." + name) for name in inner}, {name: grads.get("a." + name) for name in outer}


def reached(grads: Mapping[str, Tensor | None]) -> Vector:
    """The gradients without those that are None."""
    return {name: grad for name, grad in grads.items() if grad is not None}


_COMPILED = (
    "{} is compiled (torch.compile), and compiled graphs have no second derivatives: differentiate the module or "
    "function that was compiled, or take differences of gradients (products=finite_difference())."
)


def _explained(error: RuntimeError, role: str) -> ProblemError | None:
    text = str(error)
    if "does not currently support double backward" in text:
        return ProblemError(_COMPILED.format(role))
    if "is not implemented" in text or "once_differentiable" in text:
        return ProblemError(
            f"an operation in {role} has no derivative of the required order ({text.splitlines()[0]}): replace it, "
            "or choose products=finite_difference(), which needs first derivatives only."
        )
    if "modified by an inplace operation" in text:
        return ProblemError(
            f"a tensor that the gradient of {role} needs was changed in place ({text.splitlines()[0]}): write "
            "x = x + y instead of x += y inside the loss."
        )
    return None


def _autocast_off() -> AbstractContextManager[object]:
    on = [device for device in ("cpu", "cuda") if torch.is_autocast_enabled(device)]
    if not on:
        return nullcontext()
    stack = ExitStack()
    for device in on:
        stack.enter_context(torch.autocast(device, enabled=False))
    return stack
