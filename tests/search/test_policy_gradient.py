"""DAAS' policy gradient, against the enumerated expectation and against differentiation through the unrolled step."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call
from torch.nn import functional as F

from nas_augment import LearnablePolicy, Operation, PolicySample, Space
from nas_hypergrad import BilevelProblem, Unrolled, Variables, sgd
from nas_search import ConfigError, ImageData, methods, search
from nas_search.batches import Batch
from nas_search.objective import Objective
from nas_search.optimizers import Adam
from nas_search.policies import LearnedOnTop
from nas_search.policy_gradient import PolicyStep, alignments_ahead
from nas_search.roles import ChoiceWeights
from nas_search.schedules import Constant
from nas_search.state import SearchState
from nas_search.text_sources import fake_text
from nas_search.updates import OuterStep, WeightStep
from nas_spaces import darts_rnn, nas_bench_201

PATH = "|nor_conv_1x1~0|+|nor_conv_3x3~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|"
TINY = Space("tiny", (Operation("Invert"), Operation("Rotate", -30.0, 30.0, "degrees", True)), 2)
RATE = 0.3


def fixed_path(state: SearchState) -> ChoiceWeights:
    architecture = state.space.parse(PATH)
    return ChoiceWeights(state.space.weights(architecture).double(), architecture.options)


def make(data: ImageData, per: Literal["image", "batch"] = "batch") -> tuple[SearchState, Batch]:
    """A search in float64 whose policy draws one of two operations; three quarters of the draws are the first one."""
    method = replace(
        methods.daas(learning_rate=RATE),
        sampler=fixed_path,
        policy=lambda: LearnablePolicy(TINY, 1, per=per),
    )
    sizes: dict[str, Any] = {"epochs": 1, "batch_size": 6, "channels": 2, "cells": 1}
    state = SearchState(nas_bench_201(), data, method, seed=0, device=torch.device("cpu"), **sizes)
    for module in (state.require_supernet(), state.normalize, state.policy):
        module.double()
    with torch.no_grad():
        policy_of(state).choice_logits.copy_(torch.tensor([[3.0, 1.0]], dtype=torch.float64).log())
    return state, Batch(state.train, state.valid, 0)


def policy_of(state: SearchState) -> LearnablePolicy:
    assert isinstance(state.policy, LearnablePolicy)
    return state.policy


def every_draw(policy: LearnablePolicy, batch: int) -> list[PolicySample]:
    """Each draw of the policy for a whole batch, as often among sixteen as its probability says."""
    draws, samples = policy.enumerate(), []
    log_prob = policy.log_prob(PolicySample((), len(draws), draws))
    for at, probability in enumerate(log_prob.exp().tolist()):
        rows = torch.full((batch,), at)
        sample = PolicySample((), batch, draws.map(lambda tensor, rows=rows: tensor[rows]))  # type: ignore[misc]
        assert 16 * probability == pytest.approx(round(16 * probability))
        samples += [sample] * round(16 * probability)
    assert len(samples) == 16
    return samples


def gradients(state: SearchState) -> dict[str, Tensor]:
    found = {name: parameter.grad for name, parameter in state.policy.named_parameters()}
    return {name: gradient for name, gradient in found.items() if gradient is not None}


def enumerated(state: SearchState, batch: Batch) -> dict[str, Tensor]:
    """``d L_valid(w - xi d/dw sum_Gamma p(Gamma) L_train(w, Gamma)) / d gamma`` by double backward, all draws at once."""
    policy, supernet = policy_of(state), state.require_supernet()
    choice = fixed_path(state)
    draws = policy.enumerate()
    size = len(batch.train.labels)
    probability = policy.log_prob(PolicySample((), len(draws), draws)).exp()
    weights = {name: value.detach().requires_grad_() for name, value in supernet.named_parameters()}
    expected = torch.zeros((), dtype=torch.float64)
    for at in range(len(draws)):
        rows = torch.full((size,), at)
        images = policy.apply(batch.train.images, PolicySample((), size, draws.map(lambda t, rows=rows: t[rows])))  # type: ignore[misc]
        logits = functional_call(supernet, weights, (state.normalize(images), *choice))
        expected = expected + probability[at] * F.cross_entropy(logits, batch.train.labels)
    slopes = torch.autograd.grad(expected, list(weights.values()), create_graph=True, allow_unused=True)
    ahead = {n: w if g is None else w - RATE * g for (n, w), g in zip(weights.items(), slopes, strict=True)}
    logits = functional_call(supernet, ahead, (state.normalize(batch.valid.images), *choice))
    names, parameters = zip(*policy.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(F.cross_entropy(logits, batch.valid.labels), parameters), strict=True))


@pytest.mark.parametrize("leave_one_out", [False, True])
def test_it_is_the_gradient_of_the_enumerated_expectation_through_the_step(
    data: ImageData, leave_one_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, batch = make(data)
    expected = enumerated(state, batch)
    draws = iter(every_draw(policy_of(state), len(batch.train.labels)))
    monkeypatch.setattr(state.policy, "sample", lambda batch, generator: next(draws))
    PolicyStep(architectures=1, policies=16, leave_one_out=leave_one_out)(state, batch)
    # Leaving one of sixteen out multiplies by 16/15 what is subtracted the mean of; the draws' scores sum to zero.
    factor = 16 / 15 if leave_one_out else 1
    assert set(gradients(state)) == {"choice_logits", "probability_logits", "level_logits"}
    for name, gradient in gradients(state).items():
        assert gradient.abs().max() > 1e-6
        torch.testing.assert_close(gradient, factor * expected[name], rtol=1e-8, atol=1e-14)


class OfDraws:
    """The mean of several draws' losses with their unit factors, as a bilevel problem for nas_hypergrad."""

    def __init__(self, draws: list[Objective]) -> None:
        self.draws = draws

    def inner(self, inner: Variables, outer: Variables) -> Tensor:
        return torch.stack([draw.inner_loss(inner, outer) for draw in self.draws]).mean()

    def outer(self, inner: Variables, outer: Variables) -> Tensor:
        return self.draws[0].valid_loss(inner, outer)


@pytest.mark.parametrize("per", ["batch", "image"])
def test_it_is_the_unrolled_estimator_with_the_unit_factor(data: ImageData, per: Literal["image", "batch"]) -> None:
    state, batch = make(data, per)
    start = state.generator.get_state()
    first = Objective(state, batch, fixed_path(state))
    draws = [first, first.redrawn(), first.redrawn()]
    for draw in draws:
        draw.log_prob()  # the samples are drawn one after another
    problem = OfDraws(draws)
    inner = dict(state.require_supernet().named_parameters())
    outer = {f"policy.{name}": parameter for name, parameter in state.policy.named_parameters()}
    expected = Unrolled(sgd(lr=RATE))(BilevelProblem(problem.inner, problem.outer), inner, outer)
    state.generator.set_state(start)
    PolicyStep(architectures=1, policies=3, leave_one_out=False)(state, batch)
    for name, gradient in gradients(state).items():
        torch.testing.assert_close(gradient, expected[f"policy.{name}"], rtol=1e-8, atol=1e-14)


def test_several_architectures_give_the_mean_of_their_gradients(data: ImageData) -> None:
    state, batch = make(data)
    before = {name: value.clone() for name, value in state.policy.state_dict().items() if isinstance(value, Tensor)}
    start, single = state.generator.get_state(), []
    for _ in range(2):
        PolicyStep(architectures=1)(state, batch)
        single.append(gradients(state))
        state.policy.load_state_dict(before, strict=False)
    state.generator.set_state(start)
    PolicyStep(architectures=2)(state, batch)
    for name, gradient in gradients(state).items():
        torch.testing.assert_close(gradient, (single[0][name] + single[1][name]) / 2, rtol=1e-10, atol=1e-16)


def test_weights_off_the_path_and_the_weights_themselves_are_left_alone(data: ImageData) -> None:
    state, batch = make(data)
    weights = {name: value.clone() for name, value in state.require_supernet().state_dict().items()}
    logits = state.outer_parameters()["relaxation.logits"].detach().clone()
    PolicyStep()(state, batch)
    assert all(torch.equal(value, weights[name]) for name, value in state.require_supernet().state_dict().items())
    assert all(parameter.grad is None for parameter in state.require_supernet().parameters())
    assert torch.equal(logits, state.outer_parameters()["relaxation.logits"])
    assert list(state.outer_parameters()) == ["relaxation.logits"]


def test_draws_that_help_become_likelier() -> None:
    """The train loss of draw 0 is the validation loss, that of draw 1 its opposite: `<h, g>` is positive, negative."""
    weights = {"w": torch.tensor([1.0, -2.0])}
    draws = [lambda sign=sign: lambda w: sign * w["w"].square().sum()[None] for sign in (1.0, -1.0)]
    products = alignments_ahead(draws, lambda w: w["w"].square().sum(), weights, 0.1)
    torch.testing.assert_close(products, torch.tensor([[20.0], [-20.0]]))


class Alive:
    """Counts what autograd keeps: the bytes of the tensors that are saved for a backward pass at one time, at most."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def pack(self, tensor: Tensor) -> "Saved":
        return Saved(self, tensor)

    @staticmethod
    def unpack(saved: "Saved") -> Tensor:
        return saved.tensor


class Saved:
    def __init__(self, alive: Alive, tensor: Tensor) -> None:
        self.alive, self.tensor, self.bytes = alive, tensor, tensor.numel() * tensor.element_size()
        alive.now += self.bytes
        alive.most = max(alive.most, alive.now)

    def __del__(self) -> None:
        self.alive.now -= self.bytes


STEPS: dict[str, tuple[Any, Any]] = {
    "policies": (PolicyStep(1, 2), PolicyStep(1, 6)),
    "architectures of the policy": (PolicyStep(1, 2), PolicyStep(5, 2)),
    "architectures of the outer step": (OuterStep(1), OuterStep(5)),
    "paths of the weights": (WeightStep(1), WeightStep(5)),
}


@pytest.mark.parametrize("name", STEPS)
def test_one_graph_is_alive_at_a_time(data: ImageData, name: str) -> None:
    most = []
    for update in STEPS[name]:
        state, batch = make(data)
        alive = Alive()
        with saved_tensors_hooks(alive.pack, alive.unpack):
            update(state, batch)
        most.append(alive.most)
    # What the policy's log-probabilities keep is a hundred numbers a draw.
    assert most[0] > 50_000
    assert most[1] < 1.1 * most[0]


def test_what_cannot_be_learned_is_refused(data: ImageData, small: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="leave-one-out baseline needs 2 policies or more for an architecture, not 1"):
        methods.daas(policies=1)
    with pytest.raises(ConfigError, match="weight_architectures is 0"):
        methods.daas(weight_architectures=0)
    for settings in ({"warmup": 1.0}, {"warmup": -0.1}, {"warmup": 0.0, "independent": True}):
        with pytest.raises(ConfigError, match=rf"warmup is {settings['warmup']}; expected a part of the run below 1"):
            methods.daas(**settings)  # type: ignore[arg-type]
    for samples, independent in ((-1, False), (2, True)):
        with pytest.raises(ConfigError, match=rf"samples is {samples}; expected how many architectures"):
            methods.daas(samples=samples, independent=independent)
    with pytest.raises(ConfigError, match=r"warmup is 1\.0; expected a part of the run from 0 to below 1"):
        methods.augment_only(warmup=1.0)
    with pytest.raises(ConfigError, match="policies is 0"):
        PolicyStep(1, 0, leave_one_out=False)
    with pytest.raises(ConfigError, match="unknown space 'fast_a'; did you mean 'fast_aa'"):
        methods.daas(operations="fast_a")
    with pytest.raises(ConfigError, match="share is 'pairs'; expected one of position"):
        methods.daas(share="pairs")  # type: ignore[arg-type]
    without = replace(methods.daas(warmup=0.0), policy_optimizer=None)
    with pytest.raises(ConfigError, match="has a PolicyStep, which needs a supernet, a policy that learns"):
        search(nas_bench_201(), data, without, **small)
    by_outer_step = replace(methods.gdas(), policy=LearnedOnTop())
    with pytest.raises(ConfigError, match="learns a policy by the first-order gradient of the validation loss"):
        search(nas_bench_201(), data, by_outer_step, **small)
    with pytest.raises(ConfigError, match="learns an augmentation of images, and .* is made of tokens"):
        search(darts_rnn(), fake_text(8, count=400, time=4), methods.daas(), **small)


@pytest.mark.parametrize("per", ["batch", "image"])
def test_the_learned_policy_comes_before_what_is_customary(data: ImageData, per: Literal["image", "batch"]) -> None:
    from nas_augment import Policy
    from nas_augment.fixed import Crop

    made = LearnedOnTop("ops14_aa", share="operation", per=per).on(replace(data, policy=Policy((Crop(1),))))
    assert isinstance(made, LearnablePolicy)
    assert made.after.stages == (Crop(1),)
    assert made.space.name == "ops14_aa"
    assert (made.per, made.share, made.count) == (per, "operation", 2)


def draws_of(state: SearchState) -> Iterator[torch.Tensor]:
    yield from (parameter.detach().clone() for parameter in state.policy.parameters())


def test_the_warmup_uses_and_learns_no_policy(
    data: ImageData, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    method = replace(methods.daas(2, 2, 2, warmup=0.5, policy_learning_rate=0.1), steps=2)
    state = SearchState(nas_bench_201(), data, method, seed=0, **small | {"device": torch.device("cpu")})
    before = list(draws_of(state))
    used: list[bool] = []
    draw: Any = state.policy.sample

    def sample(*arguments: Any, **more: Any) -> Any:
        used.append(True)
        return draw(*arguments, **more)

    monkeypatch.setattr(state.policy, "sample", sample)
    for step in range(4):
        figures = state.advance()
        moved = any(not torch.equal(old, new) for old, new in zip(before, draws_of(state), strict=True))
        assert moved == ("policy_gradient_norm" in figures) == bool(used) == (step >= 2)
        state.step += 1
        if state.step == state.steps:
            state.close_epoch()


def test_weights_are_stepped_along_the_gradient_of_all_paths(data: ImageData, small: dict[str, Any]) -> None:
    """Eq. 14: the accumulated gradient is that of the sum of the paths' losses on one augmented batch; or of their mean."""
    found = {}
    for average in (True, False):
        method = replace(methods.daas(clip=1e9), weights=replace(methods.gdas().weights, clip=None))  # type: ignore[type-var]
        state = SearchState(nas_bench_201(), data, method, seed=0, **small | {"device": torch.device("cpu")})
        batch = Batch(state.train, state.valid, 0)
        start = state.generator.get_state()
        figures = WeightStep(3, average)(state, batch)
        got = {name: p.grad for name, p in state.require_supernet().named_parameters() if p.grad is not None}
        assert state.images == len(batch.train.labels)
        # Longhand, at the weights of the beginning.
        other = SearchState(nas_bench_201(), data, method, seed=0, **small | {"device": torch.device("cpu")})
        other.generator.set_state(start)
        choices = [other.method.sampler(other) for _ in range(3)]
        images = other.normalize(other.policy(batch.train.images, generator=other.generator).images)
        losses = [F.cross_entropy(other.require_supernet()(images, *choice), batch.train.labels) for choice in choices]
        total = torch.stack(losses).sum() / (3 if average else 1)
        names = list(got)
        parameters = dict(other.require_supernet().named_parameters())
        for name, expected in zip(names, torch.autograd.grad(total, [parameters[n] for n in names]), strict=True):
            torch.testing.assert_close(got[name], expected, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(figures["train_loss"], torch.stack(losses).mean().detach())
        found[average] = got
    name = next(iter(found[True]))
    torch.testing.assert_close(3 * found[True][name], found[False][name], rtol=1e-4, atol=1e-6)


def test_the_outer_step_is_along_the_mean_over_paths(data: ImageData, small: dict[str, Any]) -> None:
    """Eq. 9, with the draws of the relaxation one after the other."""
    method = replace(methods.daas(), outer=Adam(Constant(0.0), weight_decay=0.0))
    state = SearchState(nas_bench_201(), data, method, seed=0, **small | {"device": torch.device("cpu")})
    batch = Batch(state.train, state.valid, 0)
    logits = state.outer_parameters()["relaxation.logits"]
    start, single = state.generator.get_state(), []
    for _ in range(3):
        OuterStep()(state, batch)
        assert logits.grad is not None
        single.append(logits.grad.clone())
    state.generator.set_state(start)
    OuterStep(3)(state, batch)
    assert logits.grad is not None
    assert not torch.equal(single[0], single[1])
    torch.testing.assert_close(logits.grad, torch.stack(single).mean(dim=0))
