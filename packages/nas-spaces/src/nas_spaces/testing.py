"""Conformance checks for search spaces and supernets, ours and others'.

Call them from your own tests::

    from nas_spaces.testing import check_space, check_supernet

    def test_my_space():
        check_space(my_space())
        check_supernet(my_space(), images=torch.randn(4, 3, 8, 8))

A space that reads tokens is checked on ``torch.randint(classes, (batch, time))``.
"""

import torch
from torch import Tensor

from nas_spaces.architecture import Architecture
from nas_spaces.errors import ArchitectureError, InputError
from nas_spaces.space import SearchSpace
from nas_spaces.supernet import Supernet

__all__ = ["check_space", "check_supernet"]


def check_space(space: SearchSpace, *, samples: int = 20, seed: int = 0) -> None:
    """Check the laws that every search space obeys, on random architectures.

    Raises:
        AssertionError: a law does not hold; the message names it.
    """
    generator = torch.Generator().manual_seed(seed)
    again = torch.Generator().manual_seed(seed)
    shape, mask = space.choices.shape, space.choices.mask
    assert tuple(mask.shape) == shape, f"the mask has shape {tuple(mask.shape)}, the choices {shape}"
    assert len(space.choices.picks) == shape[0], "there is one number of picks per row"
    for name, rows in space.choices.groups.items():
        assert all(0 <= row < shape[0] for row in rows), f"group {name!r} names rows that do not exist"
    entering = [row for rows in space.choices.nodes for row in rows]
    assert len(set(entering)) == len(entering), "an edge enters one node"
    assert all(0 <= row < shape[0] for row in entering), "the nodes name rows that exist"
    assert all(0 <= row < shape[0] for row in space.choices.wiring), "the wiring names rows that exist"
    state = torch.random.get_rng_state()
    for _ in range(samples):
        a = space.sample(generator)
        assert a == space.sample(again), "equal generators draw equal architectures"
        _check_architecture(space, a)
        b = space.mutate(a, generator)
        space.mutate(a, again)
        assert b != a, "a mutation is another architecture"
        assert space.distance(a, b) == space.distance(b, a) > 0, "the distance is symmetric and positive"
    assert torch.equal(state, torch.random.get_rng_state()), "the global random state is not touched"
    for text in ("", "not an architecture", "|||"):
        try:
            space.parse(text)
        except ArchitectureError:
            continue
        raise AssertionError(f"parse({text!r}) must raise ArchitectureError")


def _check_architecture(space: SearchSpace, a: Architecture) -> None:
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
    assert all(space.distance(a, b) > 0 for b in neighbors[:5]), "neighbours are at a positive distance"
    assert all("operation" in data for _, _, data in space.graph(a).edges(data=True)), "edges carry their operation"


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
        cells: depth; when left out 1, or the space's own where it can be nothing else.
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
        supernet, cells = _supernet(space, cells, classes=classes, channels=channels, in_channels=images.shape[1])
    supernet = supernet.to(place)
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    weights = torch.rand(space.choices.shape, generator=generator).to(place).requires_grad_()
    logits = supernet(images, weights)
    assert tuple(logits.shape) == expected, f"logits have shape {tuple(logits.shape)}"
    (grad,) = torch.autograd.grad(logits.square().sum(), weights)
    assert torch.isfinite(grad).all(), "the gradient of the weights is finite"
    assert grad[space.choices.mask].any(), "the output depends on the weights"
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
    network = space.network(a, classes=classes, channels=channels, cells=cells, in_channels=images.shape[1]).to(place)
    assert tuple(network(images).shape) == expected, "the network has the shape of the supernet"


def _supernet(space: SearchSpace, cells: int | None, **sizes: int) -> tuple[Supernet, int | None]:
    """A supernet and its depth: a shallow one where nothing is asked for and the space can be shallow."""
    if cells is not None:
        return space.supernet(cells=cells, **sizes), cells
    try:
        return space.supernet(cells=1, **sizes), 1
    except InputError:  # of a fixed number of cells or layers
        return space.supernet(**sizes), None
