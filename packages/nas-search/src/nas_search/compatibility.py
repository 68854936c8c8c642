"""Whether the parts of a method fit together: found before a search starts, and before anything is written."""

import inspect
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch

from nas_augment import PolicyError
from nas_hypergrad import FirstOrder, HypergradError, Implicit
from nas_hypergrad.finite_difference import FiniteDifference
from nas_search.computation import Computation
from nas_search.data import NO_VALIDATION
from nas_search.errors import ConfigError
from nas_search.losses import Validation
from nas_search.method import Method
from nas_search.roles import Checked, HypergradientFactory, Relaxation, Update
from nas_spaces import SearchSpace

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["check_arguments", "check_parts", "check_saved", "computation_of", "used"]


def used(updates: "Iterable[Update]") -> frozenset[str] | None:
    """What the updates say together that they use; None if one of them does not say it."""
    found: list[frozenset[str] | None] = [getattr(update, "uses", None) for update in updates]
    said = [uses for uses in found if uses is not None]
    return frozenset[str]().union(*said) if len(said) == len(found) else None


def check_arguments(space: object, data: object, method: object, observers: object) -> None:
    """Refuse what stands in the place of a space, data or a method, and say how each is made.

    Raises:
        ConfigError: naming the argument.
    """
    made = {
        "space": (isinstance(space, SearchSpace), space, "a SearchSpace, such as nas_bench_201() or chain(...)"),
        "data": (
            all(hasattr(data, name) for name in ("kind", "train", "test")),
            data,
            "an ImageData, such as digits(), load_data('npz:FILE') or ImageData(name, Examples(images, labels), Examples(...))",
        ),
        "method": (isinstance(method, Method), method, "a Method, such as methods.darts()"),
        "observers": (not callable(observers), observers, "a sequence of functions, such as (print,)"),
    }
    for name, (fits, given, expected) in made.items():
        if not fits:
            call = f"; call it: {given.__name__}(...)" if inspect.isfunction(given) and name != "observers" else ""
            raise ConfigError(f"{name} is {given!r:.80}, a {type(given).__name__}; expected {expected}{call}.")


def check_parts(state: "SearchState") -> None:
    """Refuse a method whose parts contradict each other.

    Raises:
        ConfigError: less than one step an epoch; outer parts without anything to learn, or without a supernet whose
            losses they use; parts that no update uses; hyper-parameters of an optimiser that there is not; a part that
            says it does not fit; a policy that nothing would move, or an optimiser of one that does not learn; a
            hypergradient that the optimiser or the learning rate of the weights does not allow; a regulariser that asks
            for another relaxation; implicit differentiation of drawn paths.
    """
    method = state.method
    if method.steps is not None and method.steps < 1:
        raise ConfigError(
            f"method {method.name!r} has steps={method.steps}; expected 1 or more, or None for a pass over the data."
        )
    outer_parts = {
        "hypergradient": method.hypergradient != FirstOrder(),
        "outer_loss": method.outer_loss != Validation(),
        "regularizers": bool(method.regularizers),
    }
    given = [name for name, changed in outer_parts.items() if changed]
    if given and not state.outer_parameters():
        raise ConfigError(
            f"method {method.name!r} sets {', '.join(given)}, but has nothing to learn in the outer problem: give it a relaxation "
            "or a policy that learns, or leave them out."
        )
    if given and state.supernet is None:
        raise ConfigError(
            f"method {method.name!r} sets {', '.join(given)}, but trains no supernet (weights=None): a black-box method has no "
            "loss to differentiate."
        )
    before = state.generator.get_state()
    state.regularizers()  # those that depend on the search refuse one that has not what they are about
    state.generator.set_state(before)
    if method.hyperparameters is not None and state.supernet is None:
        raise ConfigError(
            f"method {method.name!r} learns hyper-parameters of the weights' optimiser, but trains no supernet (weights=None); "
            "leave hyperparameters out."
        )
    parts = (
        *_every(method.updates),
        method.sampler,
        method.hyperparameters,
        method.network,
        method.selector,
        *method.regularizers,
    )
    for part in parts:
        if isinstance(part, Checked):
            part.check(state)
    if method.policy_optimizer is not None and state.policy_optimizer is None:
        raise ConfigError(
            f"method {method.name!r} has a policy_optimizer, but nothing of its policy {type(state.policy).__name__} is learned; "
            "leave it out, or give the method a policy that learns."
        )
    _check_used(state, given)
    hypergradient = method.hypergradient
    if (
        any(name.startswith("policy.") for name in state.outer_parameters())
        and isinstance(hypergradient, FirstOrder)
        and method.outer_loss == Validation()
    ):
        raise ConfigError(
            f"method {method.name!r} learns a policy by the first-order gradient of the validation loss, which is that of images "
            "as they are: the policy would never move. Take OneStep, or an implicit hypergradient if the relaxation weights every "
            "option and draws none, or an update and a policy_optimizer of its own."
        )
    if isinstance(hypergradient, HypergradientFactory):
        try:
            hypergradient = hypergradient.at(state)
        except HypergradError as error:
            raise ConfigError(
                f"the hypergradient of method {method.name!r} does not fit its weights' optimiser: {error}"
            ) from error
    if isinstance(hypergradient, Implicit) and state.relaxation is not None and _draws_paths(state.relaxation):
        raise ConfigError(
            f"method {method.name!r} differentiates implicitly, but its relaxation {type(state.relaxation).__name__} draws paths: "
            "implicit differentiation needs weights near a minimum of the very loss that is differentiated, and no weights "
            "are trained to that of one path. Take FirstOrder or OneStep, or a relaxation that weights every option."
        )


def check_saved(state: "SearchState") -> None:
    """Refuse a policy that no ``result.json`` could hold, before the search that would end with it.

    Raises:
        ConfigError: one of its stages has no place in a file.
    """
    try:
        state.policy.decide().to_json()
    except PolicyError as error:
        raise ConfigError(
            f"the policy {type(state.policy).__name__} cannot be saved with the result: {error} Search without a folder (out), or "
            "transform the images before they become data."
        ) from error


def computation_of(method: "Method", asked: Computation, device: torch.device) -> Computation:
    """How a search computes: what was asked for, with ``auto`` resolved.

    Second derivatives through bfloat16 are those of a function that is rounded to eight bits: how far the hypergradients are
    from those of float32 stands in ``benchmarks/RESULTS.md``. ``auto`` is float32 for methods that take them.

    Raises:
        ConfigError: bfloat16 with central differences, or a supernet that is to be compiled.
    """
    if asked.compile:
        raise ConfigError(
            f"method {method.name!r} was asked to compile its supernet, which no search does: torch.compile has no second "
            "derivatives, and would compile each path that is drawn anew. Compile the training: nascli train RUN --compile."
        )
    uses = used(method.updates)
    estimator = method.hypergradient if uses is None or "hypergradient" in uses else FirstOrder()
    differences = isinstance(getattr(estimator, "products", None), FiniteDifference)
    if differences and asked.precision == "bfloat16":
        raise ConfigError(
            f"method {method.name!r} takes differences of gradients along a vector of length 0.01, which bfloat16 rounds away; "
            "leave out central_difference, or take --precision float32."
        )
    second = uses is None or "second_derivatives" in uses or not isinstance(estimator, FirstOrder)
    precision = "float32" if second and asked.precision == "auto" else asked.resolved(device)
    return Computation(precision, deterministic=asked.deterministic)


def _every(updates: Iterable[Update]) -> Iterator[Update]:
    """Those inside of others too, such as `After` and `OnFreshBatches`."""
    for update in updates:
        yield update
        inside = getattr(update, "update", None)
        yield from _every([*getattr(update, "updates", ()), *([] if inside is None else [inside])])


def _check_used(state: "SearchState", given: list[str]) -> None:
    """Refuse parts that would change nothing, and validation without images."""
    method, uses = state.method, used(state.method.updates)
    if uses is None:
        return
    idle = [name for name in given if name not in uses]
    if idle:
        raise ConfigError(
            f"method {method.name!r} sets {', '.join(idle)}, which none of its updates uses: leave them out, or give it an "
            "update that does, such as OuterStep()."
        )
    if state.outer_parameters() and "outer" not in uses:
        raise ConfigError(
            f"method {method.name!r} has {', '.join(sorted(state.outer_parameters()))} to learn, and no update that learns them: "
            "give it an OuterStep(), or take a relaxation or policy without parameters."
        )
    if state.policy_optimizer is not None and "policy" not in uses:
        raise ConfigError(
            f"method {method.name!r} has a policy_optimizer, and no update that takes a step with it: give it a PolicyStep() or an "
            "AdversarialStep(), or leave policy_optimizer out, so that an OuterStep() learns the policy."
        )
    if "validation" in uses and not len(state.valid_examples.labels):
        raise ConfigError(NO_VALIDATION)


def _draws_paths(relaxation: Relaxation) -> bool:
    with torch.no_grad():
        noise = relaxation.noise(torch.Generator().manual_seed(0))
        return noise is not None and relaxation(noise, 0.0).drawn is not None
