"""Conformance checks for search spaces and supernets, ours and others'.

Call them from your own tests::

    from nas_spaces.testing import check_space, check_supernet

    def test_my_space():
        check_space(my_space())
        check_supernet(my_space(), images=torch.randn(4, 3, 8, 8))

A space that reads tokens is checked on ``torch.randint(classes, (batch, time))``.
"""

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from nas_spaces.architecture import Architecture
from nas_spaces.choices import Choices
from nas_spaces.costs import operation_costs
from nas_spaces.errors import ArchitectureError, InputError, WeightsError
from nas_spaces.space import SearchSpace
from nas_spaces.supernet import Supernet

__all__ = ["check_space", "check_supernet"]

# How many architectures are listed at most.
_LISTED = 2000
# What happens by chance once in so many times is taken for a fault.
_CERTAIN = 10**5


def check_space(space: SearchSpace, *, samples: int = 20, seed: int = 0) -> None:
    """Check the laws that every search space obeys, on random architectures.

    Raises:
        AssertionError: a law does not hold; the message names it.
    """
    generator = torch.Generator().manual_seed(seed)
    again = torch.Generator().manual_seed(seed)
    _check_choices(space.choices)
    _check_refusals(space)
    state = torch.random.get_rng_state()
    seen: list[Architecture] = []
    for _ in range(samples):
        a = space.sample(generator)
        assert a == space.sample(again), "equal generators draw equal architectures"
        seen.append(a)
        neighbors = _check_architecture(space, a)
        _check_discretize(space, torch.rand(space.choices.shape, generator=generator))
        torch.rand(space.choices.shape, generator=again)
        if space.size == 1:
            assert not neighbors, "the only architecture has no neighbour"
            continue
        b = space.mutate(a, generator)
        space.mutate(a, again)
        assert b in neighbors, f"a mutation is a neighbour, which {b} is not of {a}"
        assert space.distance(a, b) == space.distance(b, a) > 0, "the distance is symmetric and positive"
        seen.append(b)
    assert torch.equal(state, torch.random.get_rng_state()), "the global random state is not touched"
    if space.size > 1 and samples:
        assert len({_drawn(space, a) for a in seen}) > 1, "different architectures have different graphs"
    if space.size > 1 and space.size ** (samples - 1) > _CERTAIN:
        assert len(set(seen[::2])) > 1, f"{samples} draws of {space.size} architectures are not all the same"
    _check_listing(space)


def _check_choices(choices: Choices) -> None:
    shape, mask = choices.shape, choices.mask
    assert tuple(mask.shape) == shape, f"the mask has shape {tuple(mask.shape)}, the choices {shape}"
    assert len(choices.picks) == shape[0], "there is one number of picks per row"
    for name, rows in choices.groups.items():
        assert all(0 <= row < shape[0] for row in rows), f"group {name!r} names rows that do not exist"
    entering = [row for rows in choices.nodes for row in rows]
    assert len(set(entering)) == len(entering), "an edge enters one node"
    assert all(0 <= row < shape[0] for row in entering), "the nodes name rows that exist"
    assert all(0 <= row < shape[0] for row in choices.wiring), "the wiring names rows that exist"


def _check_refusals(space: SearchSpace) -> None:
    for text in ("", "not an architecture", "|||"):
        _must_refuse(partial(space.parse, text), ArchitectureError, f"parse({text!r})")
    foreign = Architecture(f"not {space.name}", ((0,),), "foreign")
    for call in (space.require, space.weights):
        _must_refuse(partial(call, foreign), ArchitectureError, f"{call.__name__}() of another space's architecture")
    rows, options = space.choices.shape
    wrong = {"another shape": torch.zeros(rows + 1, options)}
    if space.choices.mask.any():
        wrong["NaN"] = torch.full((rows, options), torch.nan)
    for kind, weights in wrong.items():
        _must_refuse(partial(space.discretize, weights), WeightsError, f"discretize() of weights of {kind}")


def _must_refuse(call: Callable[[], object], error: type[Exception], what: str) -> None:
    try:
        call()
    except error:
        return
    except Exception as other:
        raise AssertionError(
            f"{what} must raise {error.__name__}, and raised {type(other).__name__}: {other}"
        ) from other
    raise AssertionError(f"{what} must raise {error.__name__}")


def _check_architecture(space: SearchSpace, a: Architecture) -> list[Architecture]:
    """The neighbours, which are checked too."""
    assert space.parse(str(a)) == a, f"parse(str(a)) gives back {a}"
    assert hash(space.parse(str(a))) == hash(a), "equal architectures have equal hashes"
    assert space.distance(a, a) == 0, "an architecture is at distance 0 from itself"
    weights = space.weights(a)
    assert tuple(weights.shape) == space.choices.shape, "the weights have the shape of the choices"
    assert not weights[~space.choices.mask].any(), "no weight stands where the mask is false"
    assert space.discretize(weights) == a, f"the weights of {a} are discretized to it"
    neighbors = list(space.neighbors(a))
    assert len(set(neighbors)) == len(neighbors), "no neighbour comes twice"
    assert a not in neighbors, "an architecture is not its own neighbour"
    for b in neighbors[:5]:
        assert 0 < space.distance(a, b) < float("inf"), "neighbours are at a positive distance"
        assert space.parse(str(b)) == b, f"the neighbour {b} is an architecture of the space"
    assert all("operation" in data for _, _, data in space.graph(a).edges(data=True)), "edges carry their operation"
    return neighbors


def _check_discretize(space: SearchSpace, weights: Tensor) -> None:
    found = space.discretize(weights)
    assert space.parse(str(found)) == found, "discretize gives an architecture of the space"
    padded = weights.masked_fill(~space.choices.mask, 1e6)
    assert space.discretize(padded) == found, "discretize does not look where the mask is false"


def _drawn(space: SearchSpace, a: Architecture) -> str:
    graph = space.graph(a)
    return repr((sorted(graph.nodes(data=True), key=repr), sorted(graph.edges(data=True), key=repr)))


def _check_listing(space: SearchSpace) -> None:
    """That the space lists each architecture once: all of a small one, the first of a large one."""
    try:
        listed = list(islice(space, _LISTED + 1))
    except InputError:  # it does not list them
        return
    assert len(set(listed)) == len(listed), "no architecture is listed twice"
    expected = min(space.size, _LISTED + 1)
    assert len(listed) == expected, f"{len(listed)} architectures are listed of a space whose size is {space.size}"


def check_supernet(
    space: SearchSpace,
    images: Tensor,
    *,
    classes: int = 3,
    channels: int = 4,
    cells: int | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> None:
    """Check that a supernet mixes, samples and learns as `Supernet` says.

    Args:
        space: whose supernet.
        images: ``(batch, channels, height, width)`` float, or tokens below `classes`, ``(batch, time)`` int64.
        classes: number of classes, or of words.
        channels: width.
        cells: depth; when left out 1, or the space's own where it can be nothing else, and the space's own besides to see that
            the output depends on every row.
        seed: of the weights and of the architectures.
        dtype: of the computation: that of the images, or float64 for tokens, when left out.

    Raises:
        AssertionError: a law does not hold; the message names it.
    """
    tokens = space.reads == "tokens"
    assert tokens == (images.ndim == 2 and not images.is_floating_point()), f"the space reads {space.reads}"
    dtype = dtype or (torch.float64 if tokens else images.dtype)
    expected = (len(images), classes, *(images.shape[1:] if tokens else ()))
    place = torch.empty(0, dtype=dtype, device=images.device)
    images = images if tokens else images.to(dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        depth = cells
        supernet, cells = _supernet(space, cells, classes=classes, channels=channels, in_channels=images.shape[1])
    supernet = supernet.to(place)
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    weights = torch.rand(space.choices.shape, generator=generator).to(place).requires_grad_()
    logits = supernet(images, weights)
    assert tuple(logits.shape) == expected, f"logits have shape {tuple(logits.shape)}"
    (grad,) = torch.autograd.grad(logits.square().sum(), weights)
    assert torch.isfinite(grad).all(), "the gradient of the weights is finite"
    chosen = space.choices.mask
    assert grad[chosen].any() or not chosen.any(), "the output depends on the weights"
    for _ in range(5):
        a = space.sample(generator)
        one_hot = space.weights(a).to(place)
        mixed, drawn = supernet(images, one_hot), supernet(images, one_hot, a.options)
        tolerance = 1e-4 if dtype == torch.float32 else 1e-9
        assert torch.allclose(mixed, drawn, rtol=tolerance, atol=tolerance), "a drawn path equals its one-hot mixture"
    # The first option everywhere is `none` in the spaces that have it: a path that reads no weight at all.
    for options in (a.options, tuple((0,) if taken else () for taken in a.options)):
        leaf = space.choices.one_hot(options).to(place).requires_grad_()
        (grad,) = torch.autograd.grad(supernet(images, leaf, options).square().sum(), leaf)
        assert torch.isfinite(grad).all(), "the gradient of a drawn path is finite, and zero where nothing is read"
    for name, value in supernet.state_dict().items():
        assert torch.equal(value, before[name]), f"a forward pass changed {name}"
    sizes = {"classes": classes, "channels": channels, "cells": cells}
    _check_networks(space, a, images, expected, seed, {**sizes, "in_channels": images.shape[1]})
    _check_operations(space, supernet, a, {**sizes, "in_channels": images.shape[1]})
    if not tokens:
        _check_costs(space, a, (images.shape[1], images.shape[2], images.shape[3]), sizes)
    if depth is None:
        _check_every_row(space, images, {"classes": classes, "channels": channels, "in_channels": images.shape[1]})


def _supernet(space: SearchSpace, cells: int | None, **sizes: int) -> tuple[Supernet, int | None]:
    """A supernet and its depth: a shallow one where nothing is asked for and the space can be shallow."""
    if cells is not None:
        return space.supernet(cells=cells, **sizes), cells
    try:
        return space.supernet(cells=1, **sizes), 1
    except InputError:  # of a fixed number of cells or layers
        return space.supernet(**sizes), None


def _check_networks(
    space: SearchSpace,
    a: Architecture,
    images: Tensor,
    expected: tuple[int, ...],
    seed: int,
    sizes: dict[str, Any],
) -> None:
    outputs: list[Tensor] = []
    for each in (a, *islice(space.neighbors(a), 4)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = space.network(each, **sizes)
        if images.is_floating_point():
            network = network.to(images)
        with torch.no_grad():
            outputs.append(network.to(images.device)(images))
        assert tuple(outputs[-1].shape) == expected, "the network has the shape of the supernet"
    if space.size > 1:
        differ = any(not torch.allclose(output, outputs[0]) for output in outputs)
        assert differ, "networks of different architectures compute something else"


def _check_operations(space: SearchSpace, supernet: Supernet, a: Architecture, sizes: dict[str, Any]) -> None:
    """What `operation_modules` and `shared_operations` say, if the space has them."""
    network = space.inheriting_network(a, **sizes)
    try:
        modules = list(space.operation_modules(network, a))
        shared = list(space.shared_operations(supernet, a))
    except InputError:
        return
    for row, option, _ in modules:
        assert option in a.options[row], (
            f"operation_modules names option {option} of row {row}, which {a} does not take"
        )
    assert len(shared) == len(modules), f"{len(shared)} shared operations belong to {len(modules)} modules"
    for operation, (row, option, module) in zip(shared, modules, strict=True):
        assert (row, option) in operation.choices, f"the shared operation of row {row} is of option {option}"
        own = {name: value.shape for name, value in module.state_dict().items()}
        wrong = [name for name, value in operation.state.items() if own.get(name) != value.shape]
        assert not wrong, f"{wrong} of row {row}, option {option}, has other names or shapes in the supernet"


def _check_costs(space: SearchSpace, a: Architecture, image: tuple[int, int, int], sizes: dict[str, Any]) -> None:
    try:
        costs = operation_costs(space, image=image, **sizes)
    except InputError:  # the space does not say where its operations stand
        return
    told, counted = float(costs.of(space.weights(a))), space.count(a, image=image, **sizes).parameters
    assert told == counted, f"the costs of the options make {told:.0f} parameters of {a}, which has {counted}"


def _check_every_row(space: SearchSpace, images: Tensor, sizes: dict[str, Any]) -> None:
    """At the space's own depth, since what is shallower may lack a kind of cell; not where the images are too small for it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        supernet = space.supernet(**sizes)
    supernet = supernet.to(images) if images.is_floating_point() else supernet.to(images.device)
    weights = space.choices.mask.to(images.device, images.dtype if images.is_floating_point() else torch.float32)
    weights = (weights / weights.sum(dim=1, keepdim=True)).requires_grad_()
    try:
        logits = supernet(images, weights)
    except (InputError, RuntimeError):
        return
    (grad,) = torch.autograd.grad(logits.square().sum(), weights)
    still = [row for row, names in enumerate(space.choices.options) if len(names) > 1 and not grad[row].any()]
    assert not still, f"the output does not depend on the weights of the rows {still}"
