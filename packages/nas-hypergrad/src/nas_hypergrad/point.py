"""Where losses are evaluated: on private copies, from one random state, with gradients on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from nas_hypergrad.errors import ProblemError
from nas_hypergrad.problem import BilevelProblem, Loss, Variables
from nas_hypergrad.vectors import Vector

__all__ = ["Point", "RandomState", "is_frozen", "isolated"]


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

    @cached_property
    def moving(self) -> Vector:
        """The inner variables that are no constants."""
        return {name: value for name, value in self.inner.items() if name not in self.frozen}

    @cached_property
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
        value = self.evaluate(loss, role)
        if not isinstance(value, Tensor):
            raise ProblemError(
                f"{role} returned a {type(value).__name__}; expected a scalar tensor: return the loss alone, without "
                ".item()."
            )
        if value.numel() != 1:
            raise ProblemError(f"{role} returned shape {tuple(value.shape)}; expected a scalar: take its mean().")
        if value.is_complex():
            raise ProblemError(f"{role} is complex; expected a real scalar: take its .real or .abs().")
        if not value.requires_grad and not may_be_constant:
            raise ProblemError(
                f"{role} depends on none of the inner variables {sorted(self.inner)} and none of the outer variables "
                f"{sorted(self.outer)}: it uses other tensors, or a non-differentiable operation (argmax, round, "
                "detach, .item(), .data) cuts it off. Compute it from the two dictionaries with differentiable "
                "operations, or use the score function for sampled choices."
            )
        return value

    def evaluate(self, loss: Loss, role: str) -> Tensor:
        """What the function returns here, from the random state of the point.

        Raises:
            ProblemError: it changes a variable in place.
        """
        self.random.restore()
        leaves = [(name, leaf) for group in (self.inner, self.outer) for name, leaf in group.items()]
        versions = [leaf._version for _, leaf in leaves]
        try:
            # Fresh dictionaries: a loss that adds or removes a key must not affect the next evaluation.
            value = loss(dict(self.inner), dict(self.outer))
        except RuntimeError as error:
            changed = self._in_place_names(loss) if "in-place" in str(error) or "inplace" in str(error) else []
            if not changed:
                raise
            raise _changed_in_place(role, changed) from error
        finally:
            # Autocast keeps a cast copy of every leaf it has met; ours are met once, so the copies would pile up.
            if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
                torch.clear_autocast_cache()
        changed = [name for (name, leaf), version in zip(leaves, versions, strict=True) if leaf._version != version]
        if changed:
            raise _changed_in_place(role, changed)
        return value

    def _in_place_names(self, loss: Loss) -> list[str]:
        """Evaluate once more on copies, which may be changed in place, to learn which variables are."""
        # With gradients on: other tensors that autograd protects from the loss must stay protected.
        copies = [{name: leaf.clone() for name, leaf in group.items()} for group in (self.inner, self.outer)]
        self.random.restore()
        with suppress(RuntimeError):
            loss(*copies)
        return [name for group in copies for name, value in group.items() if value._version]


@contextmanager
def isolated(problem: BilevelProblem, inner: Variables, outer: Variables, *, constant: bool = False) -> Iterator[Point]:
    """A point to differentiate at, on copies; gradients on; the random state is put back at the end.

    Args:
        problem: whose generators are put back too.
        inner: the inner variables.
        outer: the outer variables.
        constant: whether the inner variables are all constants.

    Raises:
        ProblemError: a dictionary is empty, holds something else than floating-point tensors, or constants alone.
    """
    _check_variables(inner, "inner")
    _check_variables(outer, "outer")
    devices = {value.device for group in (inner, outer) for value in group.values() if value.is_cuda}
    random = RandomState.capture(devices, problem.generators)
    frozen = frozenset(name for name, value in inner.items() if constant or is_frozen(value))
    if not constant:
        _check_some_move(inner, "inner")
    _check_some_move(outer, "outer")
    try:
        with _inference_off(), torch.enable_grad():
            yield Point(_leaves(inner, constant=constant), _leaves(outer), random, frozen)
    finally:
        random.restore()


def _inference_off() -> AbstractContextManager[object]:
    return torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext()


def _leaf(value: Tensor) -> Tensor:
    return value.detach().requires_grad_()


def is_frozen(value: Tensor) -> bool:
    """Whether a variable is a constant: a parameter that requires no grad."""
    # A plain tensor's flag is False by default and says nothing; a parameter's was set to False by somebody.
    # The flag is looked at first: asking for the class of a parameter takes longer.
    return not value.requires_grad and isinstance(value, nn.Parameter)


def _leaves(variables: Variables, *, constant: bool = False) -> Vector:
    # Copies, so that a loss that changes its arguments in place does not move the caller's parameters.
    return {
        name: value.detach().clone().requires_grad_(not (constant or is_frozen(value)))
        for name, value in variables.items()
    }


def _check_some_move(variables: Variables, role: str) -> None:
    if all(map(is_frozen, variables.values())):
        raise ProblemError(
            f"every {role} variable {sorted(variables)} is an nn.Parameter that requires no grad, and so a constant: "
            "call requires_grad_() on what shall move."
        )


def _check_variables(variables: Variables, role: str) -> None:
    if not isinstance(variables, Mapping) or not variables:
        raise ProblemError(
            f"the {role} variables are {type(variables).__name__} {variables!r:.60}; expected a non-empty dictionary "
            "from names to tensors: module_variables(module) or list_variables(parameters) make one."
        )
    for name, value in variables.items():
        if not isinstance(name, str):
            raise ProblemError(f"a key of the {role} variables is {name!r}; expected a name, such as {str(name)!r}.")
        if not isinstance(value, Tensor):
            raise ProblemError(f"{role} variable {name!r} is a {type(value).__name__}; expected a tensor.")
        if value.is_complex():
            raise ProblemError(
                f"{role} variable {name!r} has dtype {value.dtype}; gradients need real numbers: pass "
                f"torch.view_as_real({name}), and torch.view_as_complex inside the losses."
            )
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
