"""The gradient of every method's outer step against its equation, with dense matrices, on a small tanh network in float64."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from nas_hypergrad import FirstOrder, Implicit, conjugate_gradient, neumann
from nas_search import ConfigError, ImageData, Method, methods
from nas_search.batches import Batch
from nas_search.data import Examples
from nas_search.estimators import NeumannSeries, OneStep
from nas_search.optimizers import SGD, Adam
from nas_search.regularizers import Entropy
from nas_search.schedules import Constant, Linear, Ramp
from nas_search.state import SearchState
from nas_search.updates import OuterStep, WeightStep
from nas_spaces.chain import ChainSpace, Ends, Layer, chain

RATE, MOMENTUM, DECAY = 0.07, 0.9, 0.02


def tanh_space() -> ChainSpace:
    """Two layers, each a mixture of a linear map and one with tanh: about 80 weights and 4 architecture parameters."""

    def stem(in_channels: int, channels: int) -> tuple[nn.Module, int]:
        pooled = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(4 * in_channels, channels), nn.Tanh())
        return pooled, channels

    operations: dict[str, Callable[[int, int, int], nn.Module]] = {
        "linear": lambda i, o, s: nn.Linear(i, o),
        "tanh": lambda i, o, s: nn.Sequential(nn.Linear(i, o), nn.Tanh()),
    }
    return chain([Layer(), Layer()], operations, ends=Ends(stem, nn.Linear))


class Longhand:
    """Losses over flat float64 vectors, written from the definitions, and their dense derivatives."""

    def __init__(self, state: SearchState) -> None:
        self.state = state
        self.supernet = state.require_supernet()
        self.names = [name for name, _ in self.supernet.named_parameters()]
        self.shapes = [value.shape for _, value in self.supernet.named_parameters()]

    def weights(self) -> Tensor:
        return torch.cat([value.detach().flatten() for value in self.supernet.parameters()])

    def buffers(self) -> Tensor:
        optimizer = self.state.weight_optimizer
        assert optimizer is not None
        held = [optimizer.state.get(value, {}).get("momentum_buffer") for value in self.supernet.parameters()]
        return torch.cat(
            [torch.zeros(s.numel()) if b is None else b.flatten() for b, s in zip(held, self.shapes, strict=True)]
        )

    def loss(self, examples: Examples) -> Callable[[Tensor, Tensor], Tensor]:
        images = self.state.normalize(examples.images)

        def loss(w: Tensor, a: Tensor) -> Tensor:
            parts = [
                part.view(shape)
                for part, shape in zip(w.split([s.numel() for s in self.shapes]), self.shapes, strict=True)
            ]
            logits = functional_call(
                self.supernet, dict(zip(self.names, parts, strict=True)), (images, a.softmax(dim=1))
            )
            return F.cross_entropy(logits, examples.labels)

        return loss


def slope(loss: Callable[[Tensor, Tensor], Tensor], w: Tensor, a: Tensor, which: int) -> Tensor:
    points = [w.detach().clone().requires_grad_(), a.detach().clone().requires_grad_()]
    return torch.autograd.grad(loss(*points), points[which])[0].detach()


def hessian(loss: Callable[[Tensor, Tensor], Tensor], w: Tensor, a: Tensor) -> Tensor:
    """``(weights, weights)``."""
    return torch.autograd.functional.hessian(lambda at: loss(at, a), w)


def mixed(loss: Callable[[Tensor, Tensor], Tensor], w: Tensor, a: Tensor) -> Tensor:
    """``d2 loss / (da dw)``, ``(choices, options, weights)``."""

    def gradient(at: Tensor) -> Tensor:
        point = w.detach().clone().requires_grad_()
        return torch.autograd.grad(loss(point, at), point, create_graph=True)[0]

    return torch.autograd.functional.jacobian(gradient, a).permute(1, 2, 0)


def make(data: ImageData, method: Method, steps: int = 2) -> tuple[SearchState, Batch, Longhand, Tensor]:
    """A search in float64 whose optimiser has made some steps, so that its momentum buffers are not empty."""
    settings: dict[str, Any] = {"epochs": 4, "batch_size": 16, "seed": 0, "channels": 3}
    state = SearchState(tanh_space(), data, method, device=torch.device("cpu"), **settings)
    for module in (state.require_supernet(), state.normalize, state.relaxation):
        assert module is not None
        module.double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        a = torch.randn(2, 2, generator=generator, dtype=torch.float64)
        state.outer_parameters()["relaxation.logits"].copy_(a)
    for position in range(steps):
        WeightStep()(state, Batch(state.train, state.valid, position))
    state.epoch, state.step = 1, 1
    return state, Batch(state.train, state.valid, 2), Longhand(state), a


def gradient_of_step(state: SearchState, batch: Batch) -> Tensor:
    """What the outer step hands to the optimiser."""
    OuterStep()(state, batch)
    gradient = state.outer_parameters()["relaxation.logits"].grad
    assert gradient is not None
    return gradient


def relative(got: Tensor, expected: Tensor) -> float:
    assert got.dtype == torch.float64
    return float((got - expected).norm() / expected.norm())


def test_a_virtual_step_has_the_settings_of_this_point_of_the_run(data: ImageData) -> None:
    """The optimiser holds those of its last step."""
    weights = SGD(Linear(0.1, 0.0), momentum=Linear(0.0, 0.8), weight_decay=Linear(0.0, 0.4), nesterov=True, clip=None)
    state, batch, hand, a = make(data, replace(methods.darts(2), weights=weights))
    inner = {name: value.detach() for name, value in state.require_supernet().named_parameters()}
    step: Any = OneStep().at(state)
    assert step.inner_step.momentum == pytest.approx(0.8 * state.progress)
    flat = slope(hand.loss(batch.train), hand.weights(), a, 0)
    parts = flat.split([value.numel() for value in inner.values()])
    gradient = {name: part.view_as(inner[name]) for name, part in zip(inner, parts, strict=True)}
    ahead, _ = step.inner_step(inner, gradient, {}, step.inner_step.start(inner))
    WeightStep()(state, batch)
    for name, value in state.require_supernet().named_parameters():
        torch.testing.assert_close(value.detach(), ahead[name], rtol=0, atol=1e-12)


def with_weights(method: Method, nesterov: bool = False) -> Method:
    return replace(
        method,
        weights=SGD(Constant(RATE), momentum=MOMENTUM, weight_decay=DECAY, nesterov=nesterov, clip=None),
        outer=Adam(),
    )


def one_step_gradient(
    hand: Longhand, batch: Batch, a: Tensor, losses: list[tuple[float, Examples]], *, nesterov: bool = False
) -> Tensor:
    """DARTS, Eq. 7 and 8, for a sum of outer losses at ``w' = w - lr (momentum b + g + decay w)``."""
    w, train = hand.weights(), hand.loss(batch.train)
    buffer = MOMENTUM * hand.buffers() + slope(train, w, a, 0) + DECAY * w
    look = slope(train, w, a, 0) + DECAY * w
    update, factor = (look + MOMENTUM * buffer, 1 + MOMENTUM) if nesterov else (buffer, 1.0)
    moved = w - RATE * update
    total = torch.zeros_like(a)
    for weight, examples in losses:
        outer = hand.loss(examples)
        response = mixed(train, w, a) @ slope(outer, moved, a, 0)
        total += weight * (slope(outer, moved, a, 1) - RATE * factor * response)
    return total


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(("difference", "bound"), [(False, 1e-6), (True, 1e-3)])
def test_second_order_darts_is_the_gradient_through_one_step(
    data: ImageData, nesterov: bool, difference: bool, bound: float
) -> None:
    method = with_weights(methods.darts(2, central_difference=difference), nesterov)
    state, batch, hand, a = make(data, method)
    expected = one_step_gradient(hand, batch, a, [(1.0, batch.valid)], nesterov=nesterov)
    first = slope(hand.loss(batch.valid), hand.weights(), a, 1)
    assert hand.buffers().norm() > 0
    assert relative(first, expected) > 0.01  # the test can tell the second order from the first
    assert relative(gradient_of_step(state, batch), expected) < bound


def test_the_virtual_step_has_the_learning_rate_of_this_step(data: ImageData) -> None:
    rates = Ramp(0.5, 0.0)  # progress of the outer step is 0.375 of the run: epoch 1 of 4, step 1 of 2
    method = replace(with_weights(methods.darts(2)), weights=SGD(rates, MOMENTUM, DECAY, False, None))
    state, batch, hand, a = make(data, method)
    assert state.progress == 0.375
    w, train, valid = hand.weights(), hand.loss(batch.train), hand.loss(batch.valid)
    rate = rates(0.375)
    moved = w - rate * (MOMENTUM * hand.buffers() + slope(train, w, a, 0) + DECAY * w)
    expected = slope(valid, moved, a, 1) - rate * mixed(train, w, a) @ slope(valid, moved, a, 0)
    assert relative(gradient_of_step(state, batch), expected) < 1e-6


@pytest.mark.parametrize("momentum", [MOMENTUM, 0.0])  # DARTS' optimiser on text has none
@pytest.mark.parametrize(("difference", "bound"), [(False, 1e-6), (True, 1e-3)])
def test_the_virtual_step_is_clipped_as_the_real_one(
    data: ImageData, momentum: float, difference: bool, bound: float
) -> None:
    limit = 0.05
    weights = SGD(Constant(RATE), momentum, DECAY, False, limit)
    state, batch, hand, a = make(data, replace(methods.darts(2, central_difference=difference), weights=weights))
    w, train, valid = hand.weights(), hand.loss(batch.train), hand.loss(batch.valid)
    gradient = slope(train, w, a, 0)
    norm = gradient.norm()
    assert norm > 2 * limit
    moved = w - RATE * (momentum * hand.buffers() + limit / (norm + 1e-6) * gradient + DECAY * w)
    vector = slope(valid, moved, a, 0)
    # d(limit g / |g|) = limit (I - g g' / |g|^2) / |g| dg
    through = limit / (norm + 1e-6) * (vector - gradient * (gradient @ vector) / (norm * (norm + 1e-6)))
    expected = slope(valid, moved, a, 1) - RATE * mixed(train, w, a) @ through
    assert relative(gradient_of_step(state, batch), expected) < bound
    WeightStep()(state, batch)
    assert relative(hand.weights(), moved) < 1e-6


@pytest.mark.parametrize(("difference", "bound"), [(False, 1e-6), (True, 1e-3)])
def test_amended_darts_is_eq_7(data: ImageData, difference: bool, bound: float) -> None:
    state, batch, hand, a = make(data, with_weights(methods.amended_darts(0.3, central_difference=difference)))
    w, train, valid = hand.weights(), hand.loss(batch.train), hand.loss(batch.valid)
    amending = mixed(train, w, a) @ (hessian(train, w, a) @ slope(valid, w, a, 0))
    expected = slope(valid, w, a, 1) - 0.3 * amending
    assert relative(slope(valid, w, a, 1), expected) > 0.01
    assert relative(gradient_of_step(state, batch), expected) < bound


@pytest.mark.parametrize("terms", [0, 1, 2, 5])
@pytest.mark.parametrize(("difference", "bound"), [(False, 1e-6), (True, 1e-3)])
def test_idarts_is_the_series_of_eq_6_8(data: ImageData, terms: int, difference: bool, bound: float) -> None:
    state, batch, hand, a = make(data, with_weights(methods.idarts(terms=terms, central_difference=difference)))
    w, train, valid = hand.weights(), hand.loss(batch.train), hand.loss(batch.valid)
    factor = torch.eye(len(w), dtype=torch.float64) - RATE * hessian(train, w, a)
    series = torch.stack([torch.linalg.matrix_power(factor, k) for k in range(terms + 1)]).sum(dim=0)
    expected = slope(valid, w, a, 1) - RATE * mixed(train, w, a) @ (series @ slope(valid, w, a, 0))
    assert relative(gradient_of_step(state, batch), expected) < bound


def test_a_step_of_idarts_trains_on_fresh_batches_and_then_differentiates_on_another(data: ImageData) -> None:
    method = with_weights(methods.idarts(3, terms=1))
    state, _, hand, a = make(data, method, steps=0)
    state.epoch, state.step = 1, 0
    step = state.position
    w, buffer = hand.weights(), torch.zeros(len(hand.weights()), dtype=torch.float64)
    for index in range(3):
        train = hand.loss(state.train[4 * step + index])
        buffer = MOMENTUM * buffer + slope(train, w, a, 0) + DECAY * w
        w = w - RATE * buffer
    train, valid = hand.loss(state.train[4 * step + 3]), hand.loss(state.valid[step])
    vector = slope(valid, w, a, 0)
    response = mixed(train, w, a) @ (2 * vector - RATE * hessian(train, w, a) @ vector)
    expected = slope(valid, w, a, 1) - RATE * response
    figures = state.advance()
    assert relative(hand.weights(), w) < 1e-12
    gradient = state.outer_parameters()["relaxation.logits"].grad
    assert gradient is not None
    assert relative(gradient, expected) < 1e-6
    assert set(figures) == {
        "forward_passes",
        "train_loss",
        "train_accuracy",
        "gradient_norm",
        "valid_loss",
        "valid_accuracy",
        "unconverged",
    }


@pytest.mark.parametrize(("difference", "bound"), [(False, 1e-6), (True, 1e-3)])
def test_allegro_is_eq_5(data: ImageData, difference: bool, bound: float) -> None:
    method = with_weights(methods.allegro(chi_max=2.0, chi_min=0.5, chi_span=0.5, central_difference=difference))
    state, batch, hand, a = make(data, method)
    chi = 0.5 + 1.5 * 0.375 / 0.5
    expected = one_step_gradient(hand, batch, a, [(1.0, batch.valid), (chi, batch.train)])
    assert relative(one_step_gradient(hand, batch, a, [(1.0, batch.valid)]), expected) > 0.01
    assert relative(gradient_of_step(state, batch), expected) < bound


def test_a_regularizer_is_added_once_to_a_blended_loss(data: ImageData) -> None:
    gradients = []
    for regularizers in ((), (Entropy(Constant(2.0)),)):
        method = replace(with_weights(methods.allegro(chi_min=1.0)), regularizers=regularizers)
        state, batch, _, a = make(data, method)
        gradients.append(gradient_of_step(state, batch))
    at = a.clone().requires_grad_()
    weights = at.softmax(dim=1)
    (expected,) = torch.autograd.grad(-2.0 * (weights * weights.log()).sum(dim=1).mean(), at)
    torch.testing.assert_close(gradients[1] - gradients[0], expected)


def test_the_figures_are_those_of_the_validation_batch_alone(data: ImageData) -> None:
    state, batch, hand, a = make(data, with_weights(replace(methods.allegro(chi_min=1.0), hypergradient=FirstOrder())))
    w = hand.weights()
    figures = OuterStep()(state, batch)
    torch.testing.assert_close(figures["valid_loss"], hand.loss(batch.valid)(w, a))


def test_the_series_converges_to_the_implicit_gradient(data: ImageData) -> None:
    """With a strongly convex inner problem the error falls with every term (thesis, theorem 1)."""
    state, batch, hand, a = make(data, with_weights(methods.idarts()))
    w = hand.weights()
    decay = 1.0

    def convex(loss: Any) -> Any:
        return lambda inner, outer: (
            loss(inner, outer) + decay / 2 * sum(value.square().sum() for value in inner.values())
        )

    from nas_hypergrad import BilevelProblem
    from nas_search.objective import Objective

    objective = Objective(state, batch)
    problem = BilevelProblem(convex(objective.inner_loss), objective.outer_loss)
    inner, outer = dict(hand.supernet.named_parameters()), state.outer_parameters()
    exact = Implicit(conjugate_gradient(500, 1e-14))(problem, inner, outer)["relaxation.logits"]
    train, valid = hand.loss(batch.train), hand.loss(batch.valid)
    full = hessian(train, w, a) + decay * torch.eye(len(w), dtype=torch.float64)
    dense = slope(valid, w, a, 1) - mixed(train, w, a) @ torch.linalg.solve(full, slope(valid, w, a, 0))
    assert relative(exact, dense) < 1e-6
    errors = [
        relative(Implicit(neumann(terms, 0.3))(problem, inner, outer)["relaxation.logits"], dense)
        for terms in (0, 1, 2, 4, 8, 16)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-2


def test_an_estimator_leaves_the_weights_and_the_optimizer_as_they_were(data: ImageData) -> None:
    for method in (
        methods.darts(2),
        methods.darts(2, central_difference=True),
        methods.idarts(),
        methods.amended_darts(),
    ):
        state, batch, hand, _ = make(data, with_weights(method))
        before = hand.weights(), hand.buffers()
        OuterStep()(state, batch)
        assert torch.equal(hand.weights(), before[0])
        assert torch.equal(hand.buffers(), before[1])
        assert all(parameter.grad is not None for parameter in hand.supernet.parameters())  # of the weight steps before


def test_fewer_than_no_terms_are_refused() -> None:
    with pytest.raises(ConfigError, match="terms is -1; expected 0 or more"):
        methods.idarts(terms=-1)
    with pytest.raises(ConfigError, match="inner_steps is 0; expected 1 or more"):
        methods.idarts(0)


def test_the_factories_are_values() -> None:
    assert OneStep() == OneStep()
    assert NeumannSeries(3) != NeumannSeries(2)
