"""Evaluating losses safely: private copies, one random draw, gradients on, and errors that name the variable."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas_hypergrad.errors import NonFiniteError, ProblemError
from nas_hypergrad.problem import BilevelProblem, Loss, Variables
from nas_hypergrad.vectors import Vector, is_finite

__all__ = [
    "Point",
    "RandomState",
    "averaged",
    "check_keys",
    "check_response",
    "check_twice_differentiable",
    "differentiate",
    "finite",
    "isolated",
    "keyed",
    "outer_gradient",
    "parted",
    "reached",
    "zero_filled",
]


@dataclass(frozen=True)
class RandomState:
    """The state of the random generators that losses may draw from."""

    cpu: Tensor
    cuda: tuple[tuple[torch.device, Tensor], ...]
    generators: tuple[tuple[torch.Generator, Tensor], ...]

    @classmethod
    def capture(cls, devices: Iterable[torch.device], generators: Iterable[torch.Generator]) -> "RandomState":
        """The present state of the CPU's generator, of those of CUDA devices, and of explicit generators."""
        return cls(
            torch.get_rng_state(),
            tuple((device, torch.cuda.get_rng_state(device)) for device in devices),
            tuple((generator, generator.get_state()) for generator in generators),
        )

    def again(self) -> "RandomState":
        """The present state of the same generators."""
        return RandomState.capture((device for device, _ in self.cuda), (generator for generator, _ in self.generators))

    def restore(self) -> None:
        """Put all generators back into this state."""
        torch.set_rng_state(self.cpu)
        for device, state in self.cuda:
            torch.cuda.set_rng_state(state, device)
        for generator, state in self.generators:
            generator.set_state(state)


@dataclass(frozen=True)
class Point:
    """Where losses are evaluated: private leaves of the variables and the random state to start from.

    Attributes:
        inner: the inner variables as leaves that require grad, frozen parameters as constants.
        outer: likewise the outer variables.
        random: the state that every evaluation starts from.
        frozen: the names of the inner variables that are constants.
    """

    inner: Vector
    outer: Vector
    random: RandomState
    frozen: frozenset[str] = frozenset()

    @property
    def moving(self) -> Vector:
        """The inner variables that are no constants."""
        return {name: value for name, value in self.inner.items() if name not in self.frozen}

    @property
    def learned(self) -> Vector:
        """The outer variables that are no constants."""
        return {name: value for name, value in self.outer.items() if value.requires_grad}

    def at(self, inner: Vector, random: RandomState | None = None) -> "Point":
        """The same problem at other inner variables; names left out keep their value."""
        leaves = {name: _leaf(inner[name]) if name in inner else value for name, value in self.inner.items()}
        return Point(leaves, self.outer, random or self.random, self.frozen)

    def value(self, loss: Loss, role: str, *, may_be_constant: bool = False) -> Tensor:
        """The loss here, checked to be a scalar that depends on some variable.

        Args:
            loss: the loss to evaluate.
            role: what to call it in messages.
            may_be_constant: whether it need not depend on any.

        Raises:
            ProblemError: the loss is no scalar, depends on no variable, or changes a variable in place.
        """
        self.random.restore()
        versions = [leaf._version for group in (self.inner, self.outer) for leaf in group.values()]
        try:
            # Fresh dictionaries: a loss that adds or removes a key must not affect the next evaluation.
            value = loss(dict(self.inner), dict(self.outer))
        except RuntimeError as error:
            if "in-place" in str(error) or "inplace" in str(error):
                raise _changed_in_place(role, self._in_place_names(loss)) from error
            raise
        finally:
            # Autocast keeps a cast copy of every leaf it has met; ours are met once, so the copies would pile up.
            if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
                torch.clear_autocast_cache()
        self._check(value, role, versions)
        if not value.requires_grad and not may_be_constant:
            raise ProblemError(
                f"{role} depends on none of the inner variables {sorted(self.inner)} and none of the outer variables "
                f"{sorted(self.outer)}: it uses other tensors, or a non-differentiable operation (argmax, round, "
                "detach, .item(), .data) cuts it off. Compute it from the two dictionaries with differentiable "
                "operations, or use the score function for sampled choices."
            )
        return value

    def _check(self, value: Tensor, role: str, versions: list[int]) -> None:
        if not isinstance(value, Tensor) or value.numel() != 1:
            given = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise ProblemError(f"{role} returned {given}; expected a scalar tensor: take its mean(), without .item().")
        leaves = [(name, leaf) for group in (self.inner, self.outer) for name, leaf in group.items()]
        changed = [name for (name, leaf), version in zip(leaves, versions, strict=True) if leaf._version != version]
        if changed:
            raise _changed_in_place(role, changed)

    def _in_place_names(self, loss: Loss) -> list[str]:
        """Evaluate once more on views, which may be changed in place, to learn which variables are."""
        views = [{name: leaf.detach().clone() for name, leaf in group.items()} for group in (self.inner, self.outer)]
        self.random.restore()
        with torch.no_grad():
            loss(*views)
        return [name for group in views for name, view in group.items() if view._version]


@contextmanager
def isolated(problem: BilevelProblem, inner: Variables, outer: Variables) -> Iterator[Point]:
    """A point to differentiate at, on copies; gradients on; the random state is put back at the end.

    Raises:
        ProblemError: a dictionary is empty or holds something else than floating-point tensors.
    """
    _check_variables(inner, "inner")
    _check_variables(outer, "outer")
    devices = {value.device for group in (inner, outer) for value in group.values() if value.is_cuda}
    random = RandomState.capture(devices, problem.generators)
    frozen = frozenset(name for name, value in inner.items() if _is_frozen(value))
    if len(frozen) == len(inner):
        raise ProblemError(f"every inner variable {sorted(inner)} is an nn.Parameter that requires no grad.")
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield Point(_leaves(inner), _leaves(outer), random, frozen)
    finally:
        random.restore()


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
            raise _explained(error, role) from error
    return dict(zip(inputs, grads, strict=True))


def check_twice_differentiable(value: Tensor, grads: Iterable[Tensor | None], role: str) -> None:
    """Raise ProblemError if a gradient made with `create_graph` was cut by an operation that is differentiable once.

    Autograd raises only when it walks through such an operation, and reports what lies behind it as not reached: the
    second derivative would silently be zero. Only custom functions can do that, so the larger graph of the gradient
    is searched only if the loss has one.
    """
    if any(isinstance(node, torch.autograd.function.BackwardCFunction) for node in _graph([value])) and any(
        node.name() == "torch::autograd::Error" for node in _graph(grads)
    ):
        raise ProblemError(
            f"a custom operation in {role} has no derivative of the required order (it is marked once_differentiable): "
            "replace it, or choose products=finite_difference(), which needs first derivatives only."
        )


def _graph(outputs: Iterable[Tensor | None]) -> Iterator[torch.autograd.graph.Node]:
    waiting = [value.grad_fn for value in outputs if value is not None and value.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        yield node
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)


def outer_gradient(problem: BilevelProblem, point: Point) -> tuple[Vector, Vector]:
    """``(d outer_loss / d w, d outer_loss / d a)`` at a point, averaged over ranks; zeros where not reached.

    Raises:
        ProblemError: the outer loss depends on no inner variable, so that there is no response to differentiate.
    """
    value = point.value(problem.outer_loss, "outer_loss")
    inner = point.moving
    grads = differentiate([value], keyed(inner, point.learned), role="outer_loss")
    response, direct = parted(grads, inner, point.outer)
    if all(grad is None for grad in response.values()):
        raise ProblemError(
            f"outer_loss depends on none of the inner variables {sorted(inner)}, so nothing flows through the inner "
            "problem: compute it from the dictionary it is given, or use FirstOrder."
        )
    return averaged(problem, zero_filled(response, inner)), averaged(problem, zero_filled(direct, point.outer))


def averaged(problem: BilevelProblem, vector: Vector) -> Vector:
    """The vector's mean over ranks where the problem has a `reduce` hook.

    Raises:
        ProblemError: the hook returned other keys.
    """
    if problem.reduce is None:
        return vector
    reduced = problem.reduce(vector)
    check_keys(reduced, vector, "problem.reduce")
    return reduced


def check_keys(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], role: str) -> None:
    """Raise ProblemError naming the difference unless both have the same keys."""
    if given.keys() != expected.keys():
        missing, surplus = sorted(expected.keys() - given.keys()), sorted(given.keys() - expected.keys())
        raise ProblemError(
            f"{role} gave a dictionary whose keys differ: missing {missing}, not expected {surplus}. "
            f"Return one tensor for each of {sorted(expected)}."
        )


def zero_filled(grads: Mapping[str, Tensor | None], like: Mapping[str, Tensor]) -> Vector:
    """The gradients, with zeros for variables that were not reached."""
    return {
        name: torch.zeros_like(like[name], requires_grad=False) if grad is None else grad
        for name, grad in grads.items()
    }


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


def check_response(response: Vector, outer: Vector) -> None:
    """Raise ProblemError unless `response`, the outer variables that the inner ones respond to, has any."""
    if not response:
        raise ProblemError(
            f"the inner variables respond to none of the outer variables {sorted(outer)}: the gradient of inner_loss "
            "does not depend on them. Use FirstOrder, or let the inner loss (or the inner step) depend on them."
        )


def finite(vector: Vector, what: str) -> Vector:
    """The vector itself, checked.

    Raises:
        NonFiniteError: an entry is NaN or infinite.
    """
    if not is_finite(vector):
        names = [name for name, value in vector.items() if not bool(value.isfinite().all())]
        raise NonFiniteError(f"{what} is NaN or infinite for {names}: check the losses there, or lower the step size.")
    return vector


def _leaf(value: Tensor) -> Tensor:
    return value.detach().requires_grad_()


def _is_frozen(value: Tensor) -> bool:
    # A plain tensor's flag is False by default and says nothing; a parameter's was set to False by somebody.
    return isinstance(value, nn.Parameter) and not value.requires_grad


def _leaves(variables: Variables) -> Vector:
    # Copies, so that a loss that changes its arguments in place does not move the caller's parameters.
    return {name: value.detach().clone().requires_grad_(not _is_frozen(value)) for name, value in variables.items()}


def _check_variables(variables: Variables, role: str) -> None:
    if not isinstance(variables, Mapping) or not variables:
        raise ProblemError(
            f"the {role} variables are {type(variables).__name__} {variables!r:.60}; expected a non-empty dictionary "
            "from names to tensors: module_variables(module) or list_variables(parameters) make one."
        )
    for name, value in variables.items():
        if not isinstance(value, Tensor):
            raise ProblemError(f"{role} variable {name!r} is a {type(value).__name__}; expected a tensor.")
        if not value.is_floating_point():
            raise ProblemError(
                f"{role} variable {name!r} has dtype {value.dtype}; gradients need floating point: pass "
                f"{name}.float(), or keep it out of the dictionary if it is a constant."
            )


def _changed_in_place(role: str, names: Sequence[str]) -> ProblemError:
    return ProblemError(
        f"{role} changes {list(names) or 'a variable'} in place; losses are evaluated several times and must leave "
        "their arguments alone: write x = x + y instead of x += y, x.add_(y) or x[i] = y."
    )


def _explained(error: RuntimeError, role: str) -> RuntimeError | ProblemError:
    text = str(error)
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
    return error


@contextmanager
def _autocast_off() -> Iterator[None]:
    on = [device for device in ("cpu", "cuda") if torch.is_autocast_enabled(device)]
    if not on:
        yield
        return
    with torch.autocast(on[0], enabled=False):
        if len(on) == 1:
            yield
        else:
            with torch.autocast(on[1], enabled=False):
                yield
