"""What holds for the supernets of all spaces: what a step evaluates, synchronises and compiles."""

import shutil
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nas_spaces import (
    InputError,
    Layer,
    SearchSpace,
    allegro,
    amended_s1,
    amended_s2,
    chain,
    darts,
    darts_rnn,
    mobile,
    nas_bench_1shot1,
    nas_bench_101,
    nas_bench_201,
)
from nas_spaces.mobile import Stage
from nas_spaces.nas_bench_201_supernet import MixedCell
from nas_spaces.supernet import Supernet

STAGES: tuple[Stage, ...] = ((16, 1, 1), (24, 2, 2))
SPACES: list[tuple[SearchSpace, int | None]] = [
    (nas_bench_201(), 1),
    (nas_bench_101(), 1),
    (darts(), 3),
    (darts(inputs=True), 3),
    (darts(free=True), 3),
    (allegro(), 3),
    (amended_s1(), 3),
    (amended_s2(), None),
    (mobile(STAGES), None),
    (chain([Layer(), Layer(2, 2)], {"conv": lambda i, o, s: torch.nn.Conv2d(i, o, 3, s, padding=1)}), None),
]
NAMES = [space.name for space, _ in SPACES]
# A block of 1Shot1 that nothing reads is evaluated; tokens on a CPU are looked at.
EVERY = [*SPACES, (nas_bench_1shot1(1), 1), (nas_bench_1shot1(2), 1), (darts_rnn(), None)]
EVERY_NAME = [space.name for space, _ in EVERY]
# Twenty cells make much of what bfloat16 rounds.
SHALLOW = [(space, cells) for space, cells in EVERY if space.name != "amended_s2"]


def batch(space: SearchSpace, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    if space.reads == "tokens":
        return torch.randint(5, (4, 6), generator=generator)
    return torch.randn(4, 3, 8, 8, generator=generator).to(dtype)


def made(space: SearchSpace, cells: int | None, **options: Any) -> Supernet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return space.supernet(classes=5, channels=8, cells=cells, **options)


WAITING = ("_local_scalar_dense", "item", "nonzero", "equal", "is_nonzero", "masked_select", "index by a mask")
"""The operators whose result is needed on the host, or whose shape depends on values."""


class Counter(TorchDispatchMode):
    """Counts the operators that run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: dict[str, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func.overloadpacket)
        if name == "aten.index" and any(x is not None and x.dtype == torch.bool for x in args[1]):
            name = "aten.index by a mask"
        self.counts[name] = self.counts.get(name, 0) + 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("space", "cells"), SPACES, ids=NAMES)
def test_a_single_path_step_never_waits_for_a_device(space: SearchSpace, cells: int | None) -> None:
    """No tensor becomes a Python number, which on an accelerator would wait for it."""
    a = space.sample(torch.Generator().manual_seed(0))
    supernet = space.supernet(classes=3, channels=4, cells=cells)
    weights = space.weights(a).requires_grad_()
    with Counter() as counter:
        supernet(torch.randn(2, 3, 16, 16), weights, a.options).square().sum().backward()
    assert counter.counts["aten.convolution_backward"]
    assert not [name for name in WAITING if f"aten.{name}" in counter.counts]


def test_what_would_wait_is_seen() -> None:
    with Counter() as counter:
        assert bool(torch.ones(1).sum())
        torch.equal(torch.ones(1), torch.ones(1))
        torch.ones(2).nonzero()
        torch.ones(2)[torch.tensor([True, False])]
    assert [name for name in WAITING if f"aten.{name}" in counter.counts] == [
        "_local_scalar_dense",
        "nonzero",
        "equal",
        "index by a mask",
    ]


@pytest.mark.parametrize(("space", "cells"), SPACES, ids=NAMES)
def test_a_single_path_evaluates_the_convolutions_of_one_network(space: SearchSpace, cells: int | None) -> None:
    a = space.sample(torch.Generator().manual_seed(0))
    supernet = space.supernet(classes=3, channels=4, cells=cells)
    network = space.network(a, classes=3, channels=4, cells=cells)
    images = torch.randn(2, 3, 16, 16)
    counts = []
    for module, arguments in ((supernet, (space.weights(a), a.options)), (network, ())):
        with Counter() as counter, torch.no_grad():
            module(images, *arguments)
        # With its normalisation a pointwise convolution is a product of matrices and a sum.
        counts.append(sum(counter.counts.get(f"aten.{name}", 0) for name in ("convolution", "addmm")))
    assert counts[0] == counts[1]


@pytest.mark.parametrize(("space", "cells"), EVERY, ids=EVERY_NAME)
def test_an_option_drawn_twice_is_evaluated_once(space: SearchSpace, cells: int | None) -> None:
    a = space.sample(torch.Generator().manual_seed(0))
    supernet = made(space, cells).double()
    once, twice = (
        supernet(batch(space, torch.float64), space.weights(a), drawn)
        for drawn in (a.options, [taken * 2 for taken in a.options])
    )
    torch.testing.assert_close(twice, once)


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize(("space", "cells"), SHALLOW, ids=lambda value: getattr(value, "name", value))
def test_autocast(space: SearchSpace, cells: int | None, drawn: bool) -> None:
    """Forward in bfloat16 where PyTorch does that, and gradients in float32."""
    a = space.sample(torch.Generator().manual_seed(0))
    supernet = made(space, cells)
    weights = (space.weights(a) if drawn else torch.full(space.choices.shape, 0.3)).requires_grad_()
    path = a.options if drawn else None
    expected = supernet(batch(space), weights, path)
    with torch.autocast("cpu", torch.bfloat16):
        logits = supernet(batch(space), weights, path)
    assert logits.dtype == torch.bfloat16
    assert (logits.float() - expected).norm() < 0.1 * expected.norm()
    grads = torch.autograd.grad(logits.float().square().sum(), [weights, *supernet.parameters()], allow_unused=True)
    assert all(grad is None or (grad.dtype == torch.float32 and grad.isfinite().all()) for grad in grads)


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize(("space", "cells"), [(darts(), 3), (nas_bench_201(), 1)], ids=["darts", "nas_bench_201"])
def test_autocast_of_partial_channels(space: SearchSpace, cells: int | None, parts: int) -> None:
    supernet = made(space, cells, parts=parts)
    weights = torch.full(space.choices.shape, 0.3, requires_grad=True)
    expected = supernet(batch(space), weights)
    with torch.autocast("cpu", torch.bfloat16):
        logits = supernet(batch(space), weights)
    assert (logits.float() - expected).norm() < 0.1 * expected.norm()
    (grad,) = torch.autograd.grad(logits.float().square().sum(), weights)
    assert grad.isfinite().all()


def test_cells_of_partial_channels_can_be_evaluated_again() -> None:
    """`checkpoint=True` with `parts`: the same logits and gradients."""
    space = darts()
    weights = torch.rand(space.choices.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found = []
    for checkpoint in (False, True):
        supernet = made(space, 4, parts=2, checkpoint=checkpoint).double()
        leaf = weights.clone().requires_grad_()
        logits = supernet(batch(space, torch.float64), leaf)
        found.append((logits, *torch.autograd.grad(logits.square().sum(), [leaf, *supernet.parameters()])))
    torch.testing.assert_close(*found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "space",
    [
        nas_bench_201(),
        darts(),
        nas_bench_101(),
        darts_rnn(),
        chain(2, {"conv": lambda i, o, s: torch.nn.Conv2d(i, o, 3, s, 1), "same": lambda i, o, s: torch.nn.Identity()}),
    ],
    ids=["nas_bench_201", "darts", "nas_bench_101", "darts_rnn", "chain"],
)
@pytest.mark.parametrize("drawn", [False, True])
def test_both_forms_compile_without_graph_breaks(space: SearchSpace, drawn: bool) -> None:
    torch.compiler.reset()
    supernet = space.supernet(classes=5, channels=2, cells=2 if space.name == "chain" else 1).double()
    a = space.sample(torch.Generator().manual_seed(0))
    images = batch(space, torch.float64)
    # What breaks a graph is found by tracing; the backend that only traces keeps the test short.
    weights = space.weights(a).double().requires_grad_()
    arguments = (images, weights, a.options) if drawn else (images, weights)
    compiled = torch.compile(supernet, fullgraph=True, backend="eager")
    ours, theirs = compiled(*arguments), supernet(*arguments)
    torch.testing.assert_close(ours, theirs)
    grads = [torch.autograd.grad(output.square().sum(), [weights])[0] for output in (ours, theirs)]
    torch.testing.assert_close(*grads)


@pytest.mark.slow
def test_inductor_gives_the_same_numbers() -> None:
    """Of a cell: the C++ compiler takes a second for each of fifty kernels, and a whole supernet has them several times."""
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("torch.compile for a CPU needs a C++ compiler")
    torch.compiler.reset()
    cell = MixedCell(2, nodes=3).double()
    features = torch.randn(2, 2, 4, 4, dtype=torch.float64)
    weights = torch.full((3, 5), 0.2, dtype=torch.float64, requires_grad=True)
    outputs = [each(features, weights, None) for each in (torch.compile(cell, fullgraph=True), cell)]
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*(torch.autograd.grad(y.square().sum(), [weights])[0] for y in outputs))


def test_transforms_of_torch_func_differentiate_a_supernet() -> None:
    space = darts()
    net = space.supernet(classes=3, channels=4, cells=1).double()
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(space.choices.shape, generator=generator, dtype=torch.float64)
    images = torch.randn(4, 3, 8, 8, generator=generator, dtype=torch.float64)
    parameters = dict(net.named_parameters())

    def loss(parameters: Mapping[str, Tensor], weights: Tensor) -> Tensor:
        logits: Tensor = torch.func.functional_call(net, dict(parameters), (images, weights))
        return logits.square().mean()

    leaf = weights.clone().requires_grad_()
    expected = torch.autograd.grad(loss(parameters, leaf), [leaf, *parameters.values()])
    found = torch.func.grad(loss, argnums=1)(parameters, weights)
    torch.testing.assert_close(found, expected[0])
    torch.testing.assert_close(tuple(torch.func.grad(loss)(parameters, weights).values()), expected[1:])
    along = torch.randn(weights.shape, generator=generator, dtype=torch.float64)
    slope = torch.func.jvp(lambda w: loss(parameters, w), (weights,), (along,))[1]
    torch.testing.assert_close(slope, (expected[0] * along).sum())


@pytest.mark.parametrize(
    ("space", "cells"), [(darts(), 3), (allegro(), 3), (nas_bench_201(), 1)], ids=["darts", "allegro", "201"]
)
def test_batches_of_images_and_of_gradients_by_vmap(space: SearchSpace, cells: int) -> None:
    net = space.supernet(classes=3, channels=4, cells=cells).double()
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(space.choices.shape, generator=generator, dtype=torch.float64).requires_grad_()
    images = torch.randn(2, 3, 3, 16, 16, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(
        torch.func.vmap(lambda batch: net(batch, weights))(images),
        torch.stack([net(batch, weights) for batch in images]),
    )
    logits, parameters = net(images[0], weights)[0], [weights, *net.parameters()]
    along = torch.eye(3, dtype=torch.float64)
    found = torch.autograd.grad(logits, parameters, along, is_grads_batched=True, retain_graph=True)
    expected = [torch.autograd.grad(logits, parameters, vector, retain_graph=True) for vector in along]
    for batched, each in zip(found, zip(*expected, strict=True), strict=True):
        torch.testing.assert_close(batched, torch.stack(each))


def test_several_values_of_one_kernel_by_vmap() -> None:
    """What does not depend on it is no batch, and is met by what does: in sums, and where quarters are merged."""
    space = darts()
    net = made(space, 1).double()
    images, weights = batch(space, torch.float64), torch.rand(space.choices.shape, dtype=torch.float64)
    parameters = {name: value.detach() for name, value in net.named_parameters()}
    found = [
        [name for name in parameters if operation in name and part in name][place]
        for place in (0, -1)  # of stride 2, and of stride 1
        for operation in ("sep_conv_3x3", "dil_conv_5x5")
        for part in ("depthwise", "pointwise")
    ]
    for name in found:
        values = torch.stack([parameters[name], 2 * parameters[name].flip(0)])

        def logits(value: Tensor, name: str = name) -> Tensor:
            output: Tensor = torch.func.functional_call(net, parameters | {name: value}, (images, weights))
            return output

        expected = torch.stack([logits(value) for value in values])
        torch.testing.assert_close(torch.func.vmap(logits)(values), expected)


def test_backwards_torch_func_does_not_evaluate_cells_again() -> None:
    space = darts()
    net = made(space, 1, checkpoint=True)
    images, weights = batch(space), torch.rand(space.choices.shape)

    def loss(weights: Tensor) -> Tensor:
        return net(images, weights).square().mean()

    for differentiate in (lambda: torch.func.grad(loss)(weights), lambda: torch.func.vjp(loss, weights)):
        with pytest.raises(
            InputError, match="checkpoint=True cannot be differentiated backwards .* without checkpoint"
        ):
            differentiate()
    leaf = weights.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf), leaf)
    slope = torch.func.jvp(loss, (weights,), (weights,))[1]
    torch.testing.assert_close(slope, (gradient * weights).sum())
